"""Checkpoints of stacks in training: an interrupted run resumes from its last one.

`<cache>/checkpoints/<hash of the keys>.pt`: one line of JSON (keys of the stack, back end, training time so far,
digest), then the engine's state as written by `torch.save`.
It is loaded with `weights_only`, which executes nothing.
Losing a checkpoint costs time, nothing else.
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
    """The first line of a checkpoint.

    Attributes:
        path: Its file.
        keys: Keys of the stack's runs, in order.
        backend: Back end of the engine that the state belongs to.
        seconds: Training time of the stack so far.
        digest: SHA-256 over the other entries and the state.
    """

    path: Path
    keys: tuple[str, ...]
    backend: str
    seconds: float
    digest: str

    def state(self) -> dict[str, Any] | None:
        """Return the engine's state, on the CPU; log a warning and return None if the file is damaged."""
        import torch

        try:
            payload = self.path.read_bytes().split(b"\n", 1)[1]
            if _digest(self.keys, self.backend, self.seconds, payload) != self.digest:
                raise ValueError("its digest does not match")
            state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
            return state
        except Exception as error:  # whatever the cause, the runs can restart
            _warn(self.path, error)
            return None


def path(cache: Path, keys: Sequence[str]) -> Path:
    """Return the path of the checkpoint of the stack with these keys, whether or not it exists."""
    return cache / "checkpoints" / f"{hashlib.sha256(','.join(keys).encode()).hexdigest()[:16]}.pt"


def save(cache: Path, keys: Sequence[str], backend: str, seconds: float, state: dict[str, Any]) -> None:
    """Write the stack's checkpoint, replacing an earlier one.

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


def find_all(cache: Path) -> list[Checkpoint]:
    """Return all checkpoints whose first line is readable; log a warning about each of the others."""
    files = sorted((cache / "checkpoints").glob("*.pt"))
    return [checkpoint for file in files if (checkpoint := _read_head(file)) is not None]


def find(cache: Path, keys: Sequence[str]) -> Checkpoint | None:
    """Return the stack's checkpoint; None if there is none or (with a warning) if it is damaged."""
    file = path(cache, keys)
    return _read_head(file) if file.exists() else None


def delete(cache: Path, keys: Sequence[str]) -> None:
    """Delete the stack's checkpoint if there is one."""
    path(cache, keys).unlink(missing_ok=True)


def _read_head(file: Path) -> Checkpoint | None:
    """Return the first line of a checkpoint; log a warning and return None if it is malformed."""
    try:
        with open(file, "rb") as stream:
            head = json.loads(stream.readline())
        return Checkpoint(
            file, tuple(head["keys"]), str(head["backend"]), float(head["seconds"]), str(head["digest"])
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        _warn(file, error)
        return None


def _warn(file: Path, error: Exception) -> None:
    """Log that a checkpoint is damaged."""
    log.warning("checkpoint %s is damaged (%s): restarting its runs", file, error)


def _digest(keys: Sequence[str], backend: str, seconds: float, payload: bytes) -> str:
    """Return SHA-256 over the content of a checkpoint."""
    digest = hashlib.sha256(json.dumps([list(keys), backend, seconds]).encode())
    digest.update(payload)
    return digest.hexdigest()
