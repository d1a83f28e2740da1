"""What can be computed, and under which key its result lies in the store.

A job is a run of the engine or a program.
Its identity is a hash of its canonical JSON; its key adds what the result also depends on, the version of
the code that computes it and the data.
Equal keys mean interchangeable results, so two questions that need the same run share it.
No torch here: the report reads cached results by these keys.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from analysis.engine.run import Run

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Program:
    """A computation other than a run of the engine.

    Attributes:
        name: Identifies it for good: code may move, and the results stay.
        function: Called as `function(data, device, **arguments)`; returns a tidy frame. No part of the identity.
        arguments: Its keyword arguments, as sorted pairs.
        version: Raised when the results change.
    """

    name: str
    function: Callable[..., pd.DataFrame] = field(compare=False, repr=False)
    arguments: tuple[tuple[str, Any], ...] = ()
    version: int = 1


Job: TypeAlias = Run | Program


def identifying(job: Job) -> dict[str, Any]:
    """The fields that say which job it is, by name."""
    return {field.name: getattr(job, field.name) for field in dataclasses.fields(job) if field.compare}


def canonical_json(job: Job) -> str:
    """The job as JSON: the same text on every machine and Python version.

    Keys are sorted; fields at their default are left out, so that a new field does not make old results stale.
    (The store compares the whole description on reading, so a changed default is noticed.)
    """
    defaults = {field.name: field.default for field in dataclasses.fields(job)}
    fields = {
        name: value
        for name, value in identifying(job).items()
        if value != defaults[name] and name != "version"
    }
    described = {"kind": type(job).__name__, **fields}
    return json.dumps(described, default=vars, sort_keys=True, separators=(",", ":"), allow_nan=False)


def identity(job: Job) -> str:
    """What the job is, whatever code and data compute it: 16 hexadecimal digits."""
    return hashlib.sha256(canonical_json(job).encode()).hexdigest()[:16]


def key(job: Job, data_digest: str) -> str:
    """Where the job's result lies in the store: `identity-context`.

    Args:
        job: What is computed.
        data_digest: Digest of the data set that it is computed from.
    """
    context = hashlib.sha256(f"{job.version}:{data_digest}".encode()).hexdigest()[:8]
    return f"{identity(job)}-{context}"
