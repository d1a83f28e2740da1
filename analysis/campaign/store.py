"""The cache on disk: one Parquet file per result, written once, verified whenever it is read.

`<cache>/runs/<first two digits of the key>/<key>.parquet` holds a job's tidy rows.
The file's own metadata, under `result`, says as JSON which job it is in full, how it was computed, and the
digest: SHA-256 over the key and the file's bytes, taken with the digest's own place filled with zeros.
So every flipped bit is noticed, and a file under another job's name as well, before anything is parsed.
Reading executes nothing: Parquet and JSON only, no pickle.

A file appears under its name whole or not at all: written under a temporary name, flushed, then renamed.
What is found damaged is moved to `<cache>/damaged/`, kept there, and counts as missing.
Several campaigns may fill one cache at once: `Store.claim` gives each job to one of them.
No torch here: the report reads its results through this module.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import logging
import os
import secrets
import time
import typing
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.campaign.keys import Job, identifying, identity, key
from analysis.errors import StoreError
from analysis.files import TEMPORARY, write_atomically

if TYPE_CHECKING:
    import pandas as pd

FOLDER = Path(__file__).resolve().parents[2] / "cache"
SCHEMA = 1  # raise when the layout of the files changes

log = logging.getLogger(__name__)

_BLANK = b"0" * 64
_MARK = b'{"digest":"'  # how the description begins; its digest follows
_TEMPORARY_SECONDS = 3600.0  # a temporary file older than this has lost its writer


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """How a result came about. A new attribute needs a default, so that older files can still be read.

    Attributes:
        date: When it was computed, UTC, ISO 8601.
        commit: Git commit of the code, None outside a git checkout.
        dirty: Whether the code differed from that commit.
        torch, numba: Their versions; `numba` is None where it is not installed.
        device: `cpu`, `cuda` or `mps`.
        device_name: The processor's own name.
        threads: Number of CPU threads.
        backend: Which of the engine's back ends computed it; `program` for programs.
        stack: Number of runs that were trained together.
        seconds: The result's share of the time that its stack took.
    """

    date: str
    commit: str | None
    dirty: bool
    torch: str
    numba: str | None
    device: str
    device_name: str
    threads: int
    backend: str
    stack: int
    seconds: float


@dataclass(frozen=True)
class Result:
    """A job's tidy rows and how they came about."""

    rows: pd.DataFrame
    provenance: Provenance


class CacheMiss(Exception):  # noqa: N818 (not an error: the answer to a question)
    """The store holds no result that may be used; the message says why."""


class Store:
    """The results in a folder. Creates nothing before the first write."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        self._lock_file: int | None = None

    def path(self, name: str) -> Path:
        """Where the result with the key `name` lies, or would lie."""
        return self.folder / "runs" / name[:2] / f"{name}.parquet"

    def provenance(self, job: Job, data_digest: str) -> Provenance:
        """How the job's result came about; the whole file is verified, its rows are not parsed.

        Raises:
            CacheMiss: There is no result, or it is stale (older code, other data), or it was damaged and has
                been set aside.
        """
        return self._load(job, data_digest)[1]

    def read(self, job: Job, data_digest: str) -> Result:
        """The job's result.

        Raises:
            CacheMiss: As for `provenance`.
        """
        import pyarrow as pa
        from pyarrow import parquet

        raw, provenance = self._load(job, data_digest)
        try:
            table = parquet.ParquetFile(pa.BufferReader(raw)).read(use_threads=False)
            rows = table.replace_schema_metadata(None).to_pandas()
        except (pa.ArrowException, ValueError, OSError) as error:  # a right digest over wrong content
            raise self._quarantine(self.path(key(job, data_digest)), f"not readable ({error})") from error
        return Result(rows, provenance)

    def write(self, job: Job, data_digest: str, rows: pd.DataFrame, provenance: Provenance) -> None:
        """Put a result in its place, whole or not at all; one that older code computed from the data goes.

        Raises:
            StoreError: The cache cannot be written.
        """
        name = key(job, data_digest)
        described = {
            "digest": _BLANK.decode(),
            "schema": SCHEMA,
            "key": name,
            "data": data_digest,
            "job": _describe(job),
            "provenance": dataclasses.asdict(provenance),
        }
        raw = _parquet(rows, json.dumps(described, separators=(",", ":")))
        at = raw.rindex(_MARK) + len(_MARK)
        raw = raw[:at] + _digest(name, raw, at).encode() + raw[at + len(_BLANK) :]
        with store_errors(self.path(name)):
            write_atomically(self.path(name), raw)
            for path, other in self._siblings(job):
                if other["data"] == data_digest and other["job"]["version"] < job.version:
                    path.unlink(missing_ok=True)

    def prepare(self) -> None:
        """Make sure that the cache can be written, and clear what killed writers left behind.

        Raises:
            StoreError: The cache cannot be written.
        """
        probe = self.folder / "runs" / f"probe-{secrets.token_hex(4)}"
        with store_errors(probe.parent):
            write_atomically(probe, b"")
            probe.unlink()
        for leftover in self.folder.glob(f"*/**/.*{TEMPORARY}"):
            with contextlib.suppress(OSError):  # another campaign may clear it as well
                if time.time() - leftover.stat().st_mtime > _TEMPORARY_SECONDS:
                    leftover.unlink()

    @contextlib.contextmanager
    def claim(self, keys: Collection[str]) -> Iterator[set[str]]:
        """Take jobs for this process while the block lasts; gives those that no other process has taken.

        A claim ends with its process, however that ends. Threads of one process share their claims.

        Raises:
            StoreError: The cache cannot be written.
        """
        import fcntl  # here: results can be read where there is none

        if self._lock_file is None:
            path = self.folder / "checkpoints" / "claims.lock"
            with store_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                # Never closed: closing any descriptor of a file gives up all of the process's locks on it.
                self._lock_file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        taken = {}
        for name in keys:
            offset = int(name[:15], 16)  # a job's lock is one byte of the file, far beyond its end
            with contextlib.suppress(BlockingIOError, PermissionError):
                fcntl.lockf(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
                taken[name] = offset
        try:
            yield set(taken)
        finally:
            for offset in taken.values():
                fcntl.lockf(self._lock_file, fcntl.LOCK_UN, 1, offset)

    def _load(self, job: Job, data_digest: str) -> tuple[bytes, Provenance]:
        """A verified result file and its provenance. Raises CacheMiss."""
        name = key(job, data_digest)
        path = self.path(name)
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            raise CacheMiss(self._why_absent(job, data_digest)) from None
        except OSError as error:
            raise CacheMiss(f"not readable: {path}: {error.strerror}") from error
        try:
            described = _verify(name, raw)
            if described["schema"] != SCHEMA:
                raise CacheMiss(f"stale: file format {described['schema']}, now {SCHEMA}")
            asked = _describe(job)
            if described["job"] != asked:
                stored = {**_defaults(job), **described["job"]}
                if differing := [field for field in asked if stored.get(field) != asked[field]]:
                    raise CacheMiss(f"stale: computed with another {', '.join(differing)}")
            return raw, _provenance(described["provenance"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._quarantine(path, str(error)) from error

    def _why_absent(self, job: Job, data_digest: str) -> str:
        """Why there is no file with the job's key."""
        name = key(job, data_digest)
        reasons = []
        for _, described in self._siblings(job):
            if (version := described["job"]["version"]) != job.version:
                reasons.append(f"stale: version {version} of the code, now {job.version}")
            else:
                reasons.append(f"stale: data {described['data'][:8]}…, now {data_digest[:8]}…")
        if reasons:
            return reasons[-1]
        if aside := sorted((self.folder / "damaged").glob(f"{name}.*")):
            return f"damaged: set aside as {aside[-1]}"
        return "not computed yet"

    def _siblings(self, job: Job) -> Iterator[tuple[Path, dict[str, Any]]]:
        """The job's results from other code or data: their files, and what these say."""
        name = identity(job)
        for path in sorted((self.folder / "runs" / name[:2]).glob(f"{name}-*.parquet")):
            with contextlib.suppress(ValueError, OSError):  # a damaged file is nobody's result
                described = _verify(path.stem, path.read_bytes())
                if described["schema"] == SCHEMA:
                    yield path, described

    def _quarantine(self, path: Path, reason: str) -> CacheMiss:
        """Move a damaged file out of the way; gives what to raise."""
        aside = self.folder / "damaged" / f"{path.stem}.{secrets.token_hex(4)}.parquet"
        try:
            aside.parent.mkdir(exist_ok=True)
            os.replace(path, aside)
            message = f"damaged: {path}: {reason}; set aside as {aside}"
        except OSError as error:  # a read-only cache, or somebody else has just moved it
            message = f"damaged: {path}: {reason}; not set aside ({error.strerror})"
        log.warning(message)
        return CacheMiss(message)


@contextlib.contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Turn an operating system's refusal into a StoreError that says what to do."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror}. What the cache holds is safe. Make room or allow "
            "writing there, or name another folder with --cache, and give the same command again."
        ) from error


def _parquet(rows: pd.DataFrame, description: str) -> bytes:
    """The rows as a small Parquet file with the description in its metadata."""
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
    # Few different values: a dictionary. Else floats split into byte planes, which compress (the low bytes of
    # what was computed in single precision are zeros), and integers as differences.
    encodings = {}
    for field, column in zip(table.schema, table.columns, strict=True):
        if len(column.unique()) > len(column) / 2:
            if pa.types.is_floating(field.type):
                encodings[field.name] = "BYTE_STREAM_SPLIT"
            elif pa.types.is_integer(field.type):
                encodings[field.name] = "DELTA_BINARY_PACKED"
    file = io.BytesIO()
    with parquet.ParquetWriter(
        file,
        table.schema,
        compression="zstd",
        compression_level=12,
        use_dictionary=[name for name in table.column_names if name not in encodings],
        column_encoding=encodings or None,
        write_statistics=False,
        store_schema=False,
    ) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"result": description})
    return file.getvalue()


def _digest(name: str, raw: bytes, at: int) -> str:
    """SHA-256 over the key and the file's bytes, with zeros for the digest that stands `at`."""
    digest = hashlib.sha256(name.encode() + b"\n")
    digest.update(raw[:at])
    digest.update(_BLANK)
    digest.update(raw[at + len(_BLANK) :])
    return digest.hexdigest()


def _verify(name: str, raw: bytes) -> dict[str, Any]:
    """The description in a result file, once its digest has been found right for this content and key.

    Raises:
        ValueError: The file is damaged, it is another key's, or its description is none: anybody can write a digest.
    """
    start = raw.rfind(_MARK)
    if start < 0:
        raise ValueError("it ends too early or is no result")
    at = start + len(_MARK)
    if raw[at : at + len(_BLANK)] != _digest(name, raw, at).encode():
        raise ValueError("its digest does not fit its content and key")
    # The metadata is plain ASCII within the file's last, binary part.
    try:
        described: dict[str, Any] = json.JSONDecoder().raw_decode(raw[start:].decode("latin-1"))[0]
    except RecursionError:
        raise ValueError("its description is nested too deep") from None
    if "schema" not in described or (described["schema"] == SCHEMA and not _is_whole(described)):
        raise ValueError("its description is not that of a result")
    return described


def _is_whole(described: dict[str, Any]) -> bool:
    """Whether a description has what is read of it before the job is compared."""
    job = described.get("job")
    return (
        isinstance(job, dict)
        and isinstance(job.get("version"), int)
        and isinstance(described.get("data"), str)
        and isinstance(described.get("provenance"), dict)
    )


def _provenance(described: dict[str, Any]) -> Provenance:
    """The provenance that a file tells. Raises TypeError if it is of other fields or types."""
    provenance = Provenance(**described)
    for name, kind in typing.get_type_hints(Provenance).items():
        if not isinstance(getattr(provenance, name), kind):
            raise TypeError(f"its provenance has no such {name}: {described[name]!r}")
    return provenance


def _describe(job: Job) -> dict[str, Any]:
    """The job in full, as it comes back from JSON."""
    described = {"kind": type(job).__name__, "version": job.version, **identifying(job)}
    normal: dict[str, Any] = json.loads(json.dumps(described, default=vars))
    return normal


def _defaults(job: Job) -> dict[str, Any]:
    """Default of each of the job's fields that has one, as it comes back from JSON.

    A result stored before a field existed was computed as if with the field's default.
    """
    defaults = {
        field.name: field.default
        for field in dataclasses.fields(job)
        if field.default is not dataclasses.MISSING
    }
    normal: dict[str, Any] = json.loads(json.dumps(defaults, default=vars))
    return normal
