"""Jobs, and the keys under which the store keeps their results.

A job is a run of the engine or a program.
Its identity is a hash of its canonical JSON; its key adds what else the result depends on: the version of the code that
computes it, and the data.
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
        name: Permanent name, part of the identity: the code may move without orphaning its results.
        function: Called as `function(data, device, **arguments)`; returns a tidy frame. Not part of the identity.
        arguments: Keyword arguments of the function, as sorted pairs.
        version: To be raised when the results change.
    """

    name: str
    function: Callable[..., pd.DataFrame] = field(compare=False, repr=False)
    arguments: tuple[tuple[str, Any], ...] = ()
    version: int = 1


Job: TypeAlias = Run | Program


def identifying_fields(job: Job) -> dict[str, Any]:
    """Return the fields that make up the job's identity, by name."""
    return {field.name: getattr(job, field.name) for field in dataclasses.fields(job) if field.compare}


def canonical_json(job: Job) -> str:
    """Return the job as JSON: the same text on every machine and Python version.

    Keys are sorted. Fields at their defaults are omitted, so that adding a field does not invalidate old results.
    (The store compares the full description on reading, so a changed default is detected.)
    """
    defaults = {field.name: field.default for field in dataclasses.fields(job)}
    fields = {
        name: value
        for name, value in identifying_fields(job).items()
        if value != defaults[name] and name != "version"
    }
    description = {"kind": type(job).__name__, **fields}
    return json.dumps(description, default=vars, sort_keys=True, separators=(",", ":"), allow_nan=False)


def identity(job: Job) -> str:
    """Return the job's identity, which is independent of code and data: 16 hexadecimal digits."""
    return hashlib.sha256(canonical_json(job).encode()).hexdigest()[:16]


def key(job: Job, data_digest: str) -> str:
    """Return the key of the job's result in the store: `identity-context`.

    Args:
        job: The run or program.
        data_digest: Digest of the data set that it is computed from.
    """
    context = hashlib.sha256(f"{job.version}:{data_digest}".encode()).hexdigest()[:8]
    return f"{identity(job)}-{context}"


def describe(job: Job) -> str:
    """Return a short description of the job for messages."""
    if isinstance(job, Run):
        batch = "full batch" if job.batch_size is None else f"batch {job.batch_size}"
        sizes = "-".join(map(str, job.sizes))
        return f"{sizes} {job.optimizer} η={job.learning_rate:g} {batch} seed {job.seed}"
    return f"{job.name}({', '.join(f'{name}={value}' for name, value in job.arguments)})"
