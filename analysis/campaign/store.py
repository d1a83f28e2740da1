"""The cache on disk: one Parquet file per result, written once and verified on every read.

`<cache>/runs/<first two digits of the key>/<key>.parquet` holds a job's tidy rows.
The file's metadata, under `result`, is JSON: the full description of the job, the provenance, and a digest, SHA-256
over the key and the file's bytes with zeros in place of the digest itself.
Any flipped bit is detected before anything is parsed, and so is a file stored under another job's key.
Reading executes nothing: Parquet and JSON only, no pickle.

Files appear complete or not at all: written under a temporary name, flushed, then renamed.
A damaged file is moved to `<cache>/damaged/`, kept there, and treated as missing.
Several processes may fill one cache concurrently: `Store.lock` gives each job to one of them.
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

from analysis.campaign.keys import Job, identifying_fields, identity, key
from analysis.errors import StoreError
from analysis.files import TEMPORARY_SUFFIX, write_atomically

if TYPE_CHECKING:
    import pandas as pd

FOLDER = Path(__file__).resolve().parents[2] / "cache"
SCHEMA = 1  # to be raised when the file format changes

log = logging.getLogger(__name__)

_BLANK = b"0" * 64  # stands for the digest while the digest is computed
_MARK = b'{"digest":"'  # start of the description; its digest follows
_ORPHANED_SECONDS = 3600.0  # the writer of a temporary file older than this is taken for dead


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """How a result was computed. New attributes need defaults, so that older files stay readable.

    Attributes:
        date: Time of computation, UTC, ISO 8601.
        commit: Git commit of the code; None if unknown, as outside a git checkout.
        dirty: Whether the code differed from that commit; False if it is unknown.
        torch, numba: Versions; `numba` is None if it is not installed.
        device: `cpu`, `cuda` or `mps`.
        device_name: Model name of the processor or GPU.
        threads: Number of CPU threads.
        backend: Back end of the engine; `program` for programs.
        stack: Number of runs trained together.
        seconds: Training time of the stack, divided by its number of runs.
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
    """A job's tidy rows and their provenance."""

    rows: pd.DataFrame
    provenance: Provenance


class CacheMiss(Exception):  # noqa: N818 (an expected outcome, not an error)
    """The store holds no usable result; the message is the reason."""


class Store:
    """The results in a folder. Nothing is created before the first write."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        self._lock_file: int | None = None

    def path(self, name: str) -> Path:
        """Return the path of the result with the key `name`, whether or not it exists."""
        return self.folder / "runs" / name[:2] / f"{name}.parquet"

    def provenance(self, job: Job, data_digest: str) -> Provenance:
        """Return the provenance of the job's result; verify the whole file, but do not parse its rows.

        Raises:
            CacheMiss: There is no result, it is stale (other version of the code, other data), or it is damaged and
                was moved to quarantine.
        """
        return self._load(job, data_digest)[1]

    def read(self, job: Job, data_digest: str) -> Result:
        """Return the job's result.

        Raises:
            CacheMiss: As for `provenance`.
        """
        import pyarrow as pa
        from pyarrow import parquet

        raw, provenance = self._load(job, data_digest)
        try:
            table = parquet.ParquetFile(pa.BufferReader(raw)).read(use_threads=False)
            rows = table.replace_schema_metadata(None).to_pandas()
        except (pa.ArrowException, ValueError, OSError) as error:  # a valid digest over invalid content
            raise self._quarantine(self.path(key(job, data_digest)), f"cannot be parsed ({error})") from error
        return Result(rows, provenance)

    def write(self, job: Job, data_digest: str, rows: pd.DataFrame, provenance: Provenance) -> None:
        """Store a result atomically; delete results of older versions of the code from the same data.

        Raises:
            StoreError: The cache cannot be written.
        """
        name = key(job, data_digest)
        description = {
            "digest": _BLANK.decode(),
            "schema": SCHEMA,
            "key": name,
            "data": data_digest,
            "job": _full_description(job),
            "provenance": dataclasses.asdict(provenance),
        }
        raw = _parquet(rows, json.dumps(description, separators=(",", ":")))
        at = raw.rindex(_MARK) + len(_MARK)
        raw = raw[:at] + _digest(name, raw, at).encode() + raw[at + len(_BLANK) :]
        with store_errors(self.path(name)):
            write_atomically(self.path(name), raw)
            for path, other in self._stored_versions(job):
                if other["data"] == data_digest and other["job"]["version"] < job.version:
                    path.unlink(missing_ok=True)

    def check_writable(self) -> None:
        """Check that the cache can be written, and delete temporary files that killed writers left behind.

        Raises:
            StoreError: The cache cannot be written.
        """
        probe = self.folder / "runs" / f"probe-{secrets.token_hex(4)}"
        with store_errors(probe.parent):
            write_atomically(probe, b"")
            probe.unlink()
        for leftover in self.folder.glob(f"*/**/.*{TEMPORARY_SUFFIX}"):
            with contextlib.suppress(OSError):  # another process may delete it at the same time
                if time.time() - leftover.stat().st_mtime > _ORPHANED_SECONDS:
                    leftover.unlink()

    @contextlib.contextmanager
    def lock(self, keys: Collection[str]) -> Iterator[set[str]]:
        """Lock jobs for this process for the duration of the block; yield the keys of those that were free.

        The operating system releases the locks of a process that dies. Threads of one process share its locks.

        Raises:
            StoreError: The cache cannot be written.
        """
        import fcntl  # not at the top: results can be read on systems without it

        if self._lock_file is None:
            path = self.folder / "checkpoints" / "jobs.lock"
            with store_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                # Never closed: closing any descriptor of a file releases all locks of the process on it.
                self._lock_file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        acquired = {}
        for name in keys:
            offset = int(name[:15], 16)  # one byte per job, far beyond the end of the file
            with contextlib.suppress(BlockingIOError, PermissionError):
                fcntl.lockf(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
                acquired[name] = offset
        try:
            yield set(acquired)
        finally:
            for offset in acquired.values():
                fcntl.lockf(self._lock_file, fcntl.LOCK_UN, 1, offset)

    def _load(self, job: Job, data_digest: str) -> tuple[bytes, Provenance]:
        """Return the verified content of a result file, and its provenance. Raise CacheMiss if there is none."""
        name = key(job, data_digest)
        path = self.path(name)
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            raise CacheMiss(self._absence_reason(job, data_digest)) from None
        except OSError as error:
            raise CacheMiss(f"not readable: {path}: {error.strerror}") from error
        try:
            description = _verify(name, raw)
            if description["schema"] != SCHEMA:
                raise CacheMiss(f"stale: file format {description['schema']}, now {SCHEMA}")
            requested = _full_description(job)
            if description["job"] != requested:
                stored = {**_defaults(job), **description["job"]}
                if differing := [field for field in requested if stored.get(field) != requested[field]]:
                    raise CacheMiss(f"stale: computed with another {', '.join(differing)}")
            return raw, _parse_provenance(description["provenance"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._quarantine(path, str(error)) from error

    def _absence_reason(self, job: Job, data_digest: str) -> str:
        """Return why there is no file with the job's key."""
        name = key(job, data_digest)
        reasons = []
        for _, stored in self._stored_versions(job):
            if (version := stored["job"]["version"]) != job.version:
                reasons.append(f"stale: version {version} of the code, now {job.version}")
            else:
                reasons.append(f"stale: data {stored['data'][:8]}…, now {data_digest[:8]}…")
        if reasons:
            return reasons[-1]
        if quarantined := sorted((self.folder / "damaged").glob(f"{name}.*")):
            return f"damaged: moved to {quarantined[-1]}"
        return "not computed yet"

    def _stored_versions(self, job: Job) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield the job's results of any version of code and data: their files and descriptions."""
        name = identity(job)
        for path in sorted((self.folder / "runs" / name[:2]).glob(f"{name}-*.parquet")):
            with contextlib.suppress(ValueError, OSError):  # damaged files do not count
                description = _verify(path.stem, path.read_bytes())
                if description["schema"] == SCHEMA:
                    yield path, description

    def _quarantine(self, path: Path, reason: str) -> CacheMiss:
        """Move a damaged file to quarantine; return the exception to raise."""
        quarantined = self.folder / "damaged" / f"{path.stem}.{secrets.token_hex(4)}.parquet"
        try:
            quarantined.parent.mkdir(exist_ok=True)
            os.replace(path, quarantined)
            message = f"damaged: {path}: {reason}; moved to {quarantined}"
        except OSError as error:  # a read-only cache, or another process has just moved it
            message = f"damaged: {path}: {reason}; could not be moved to quarantine ({error.strerror})"
        log.warning(message)
        return CacheMiss(message)


@contextlib.contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Convert an OSError into a StoreError that says what to do."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror}. Results already in the cache are safe. Free disk space, fix "
            "the permissions or choose another folder with --cache, then run the same command again."
        ) from error


def _parquet(rows: pd.DataFrame, description: str) -> bytes:
    """Return the rows as a small Parquet file with the description in its metadata."""
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
    # Columns of few distinct values get a dictionary; other floats are split into byte planes, which compress well
    # (the low bytes of values computed in single precision are zeros), and other integers are stored as differences.
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
    """Return SHA-256 over the key and the file's bytes, with zeros in place of the digest at offset `at`."""
    digest = hashlib.sha256(name.encode() + b"\n")
    digest.update(raw[:at])
    digest.update(_BLANK)
    digest.update(raw[at + len(_BLANK) :])
    return digest.hexdigest()


def _verify(name: str, raw: bytes) -> dict[str, Any]:
    """Verify the digest of a result file against its content and key; return its description.

    Raises:
        ValueError: The file is damaged, belongs to another key, or its description is malformed (a valid digest alone
            proves nothing: anybody can compute one).
    """
    start = raw.rfind(_MARK)
    if start < 0:
        raise ValueError("it is truncated or not a result")
    at = start + len(_MARK)
    if raw[at : at + len(_BLANK)] != _digest(name, raw, at).encode():
        raise ValueError("its digest does not match its content and key")
    # The metadata is ASCII text inside the binary footer of the file.
    try:
        description: dict[str, Any] = json.JSONDecoder().raw_decode(raw[start:].decode("latin-1"))[0]
    except RecursionError:
        raise ValueError("its description is nested too deeply") from None
    if "schema" not in description or (description["schema"] == SCHEMA and not _is_complete(description)):
        raise ValueError("its description is incomplete")
    return description


def _is_complete(description: dict[str, Any]) -> bool:
    """Return whether a description has the entries that are read before the job is compared."""
    job = description.get("job")
    return (
        isinstance(job, dict)
        and isinstance(job.get("version"), int)
        and isinstance(description.get("data"), str)
        and isinstance(description.get("provenance"), dict)
    )


def _parse_provenance(fields: dict[str, Any]) -> Provenance:
    """Return the provenance with these fields. Raise TypeError if a field or its type is wrong."""
    provenance = Provenance(**fields)
    for name, kind in typing.get_type_hints(Provenance).items():
        if not isinstance(getattr(provenance, name), kind):
            raise TypeError(f"its provenance has an invalid {name}: {fields[name]!r}")
    return provenance


def _full_description(job: Job) -> dict[str, Any]:
    """Return all fields of the job as they come back from JSON."""
    description = {"kind": type(job).__name__, "version": job.version, **identifying_fields(job)}
    normal: dict[str, Any] = json.loads(json.dumps(description, default=vars))
    return normal


def _defaults(job: Job) -> dict[str, Any]:
    """Return the defaults of the job's fields as they come back from JSON.

    Results stored before a field existed count as computed with its default.
    """
    defaults = {
        field.name: field.default
        for field in dataclasses.fields(job)
        if field.default is not dataclasses.MISSING
    }
    normal: dict[str, Any] = json.loads(json.dumps(defaults, default=vars))
    return normal
