"""Checkpoints of stacks in training, so that a long run that was stopped goes on where it was.

`<cache>/checkpoints/<hash of the keys>.pt`: one line of JSON (the stack's keys, its back end, how long it has
been training, the digest of the rest), then what `torch.save` makes of the engine's state.
It is read with `weights_only`, which executes nothing.
A checkpoint may be lost at any time: the price is time.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.campaign.store import store_errors
from analysis.files import write_atomically

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """What the first line of a checkpoint says.

    Attributes:
        path: Where it lies.
        keys: Keys of the stack's runs, in order.
        backend: The engine's back end, whose state it is.
        seconds: How long the stack had been trained.
        digest: SHA-256 over the first line without it, and the state.
    """

    path: Path
    keys: tuple[str, ...]
    backend: str
    seconds: float
    digest: str

    def state(self) -> dict[str, Any] | None:
        """The engine's state, on the CPU; None (and a message) if the file is damaged."""
        import torch

        try:
            payload = self.path.read_bytes().split(b"\n", 1)[1]
            if _digest(self.keys, self.backend, self.seconds, payload) != self.digest:
                raise ValueError("its digest does not fit")
            state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
            return state
        except Exception as error:  # whatever is wrong with it, the run can start anew
            log.warning("checkpoint %s is damaged (%s): its runs start anew", self.path, error)
            return None


def path(cache: Path, keys: Sequence[str]) -> Path:
    """Where the checkpoint of the stack with these keys lies."""
    return cache / "checkpoints" / f"{hashlib.sha256(','.join(keys).encode()).hexdigest()[:16]}.pt"


def save(cache: Path, keys: Sequence[str], backend: str, seconds: float, state: dict[str, Any]) -> None:
    """Replace the stack's checkpoint.

    Raises:
        StoreError: The cache cannot be written.
    """
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    digest = _digest(keys, backend, seconds, payload)
    head = {"keys": list(keys), "backend": backend, "seconds": seconds, "digest": digest}
    file = path(cache, keys)
    with store_errors(file):
        write_atomically(file, json.dumps(head).encode() + b"\n" + payload)


def present(cache: Path) -> list[Checkpoint]:
    """All checkpoints whose first line can be read; a message names the others."""
    files = sorted((cache / "checkpoints").glob("*.pt"))
    return [checkpoint for file in files if (checkpoint := _head(file)) is not None]


def find(cache: Path, keys: Sequence[str]) -> Checkpoint | None:
    """The stack's checkpoint; None if there is none, or (with a message) if it is damaged."""
    file = path(cache, keys)
    return _head(file) if file.exists() else None


def drop(cache: Path, keys: Sequence[str]) -> None:
    """Remove the stack's checkpoint, if there is one."""
    path(cache, keys).unlink(missing_ok=True)


def _head(file: Path) -> Checkpoint | None:
    """What a checkpoint's first line says; None (and a message) if it says nothing."""
    try:
        with open(file, "rb") as stream:
            head = json.loads(stream.readline())
        return Checkpoint(
            file, tuple(head["keys"]), str(head["backend"]), float(head["seconds"]), str(head["digest"])
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("checkpoint %s is damaged (%s): its runs start anew", file, error)
        return None


def _digest(keys: Sequence[str], backend: str, seconds: float, payload: bytes) -> str:
    """SHA-256 over all that a checkpoint says."""
    digest = hashlib.sha256(json.dumps([list(keys), backend, seconds]).encode())
    digest.update(payload)
    return digest.hexdigest()
