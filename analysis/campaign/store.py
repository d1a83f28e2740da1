"""The cache on disk: one Parquet file per result, written once and verified on every read.

`<cache>/runs/<first two digits of the key>/<key>.parquet` holds a job's tidy rows.
The file's metadata, under `result`, is JSON: the full description of the job, the provenance, and a digest, SHA-256
over the key and the file's bytes with zeros in place of the digest itself.
Any flipped bit is detected before anything is parsed, and so is a file stored under another job's key.
Reading executes nothing: Parquet and JSON only, no pickle.

Files appear complete or not at all: written under a temporary name, flushed, then renamed.
A file that is damaged, or whose rows would take too much memory or are no flat table, is moved to `<cache>/damaged/`,
kept there, and treated as missing; rows that would not come back as they are are refused.
Several processes may fill one cache concurrently: `Store.lock` gives each job to one of them.
No torch here: the report reads its results through this module.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import hashlib
import io
import json
import logging
import os
import secrets
import stat
import time
import typing
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.campaign.keys import Job, identifying_fields, identity, key
from analysis.errors import StoreError
from analysis.files import TEMPORARY_SUFFIX, write_atomically

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyarrow import parquet

FOLDER = Path(__file__).resolve().parents[2] / "cache"
SCHEMA = 1  # to be raised when the file format changes

log = logging.getLogger(__name__)

_BLANK = b"0" * 64  # stands for the digest while the digest is computed
_MARK = b'{"digest":"'  # start of the description; its digest follows
# Of a result file; results have a hundredth of it.
_MAX_BYTES = 2**25  # on disk
_MAX_DESCRIPTION = 2**17  # bytes
_MAX_COLUMNS = 500  # and row groups
_MAX_VALUES = 2**25  # rows times columns
_MAX_DECODED = 2**28  # bytes, decompressed and, for strings, repeated
_MAX_REASON = 300  # characters
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
        self._has_locks = True  # until the operating system says otherwise

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
        table, provenance = self.read_table(job, data_digest)
        return Result(table.to_pandas(), provenance)

    def read_table(self, job: Job, data_digest: str) -> tuple[pa.Table, Provenance]:
        """Return the job's rows as an Arrow table, many of which make one data frame fast, and their provenance.

        Raises:
            CacheMiss: As for `provenance`.
        """
        raw, provenance = self._load(job, data_digest)
        try:
            table = _parse_table(raw)
        except Exception as error:  # a valid digest over any content
            raise self._quarantine(self.path(key(job, data_digest)), f"cannot be parsed ({error})") from error
        return table, provenance

    def write(self, job: Job, data_digest: str, rows: pd.DataFrame, provenance: Provenance) -> None:
        """Store a result atomically; delete results of older versions of the code from the same data.

        Raises:
            ValueError: The rows would not come back as they are.
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
        _check_round_trip(rows, raw)
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
        Where there are no locks, as on some network file systems, a warning says so, and every job counts as free: at
        worst two processes compute the same results.

        Raises:
            StoreError: The cache cannot be written.
        """
        offsets = {name: int(name[:15], 16) for name in keys}  # a byte each, far beyond the end of the file
        acquired = {name: offset for name, offset in offsets.items() if self._lock(offset)}
        try:
            yield set(acquired)
        finally:
            for offset in acquired.values():
                self._unlock(offset)

    def _lock(self, offset: int) -> bool:
        """Lock a byte of the lock file; return whether it was free."""
        if self._lock_file is None:
            path = self.folder / "checkpoints" / "jobs.lock"
            with store_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                # Never closed: closing any descriptor of a file releases all locks of the process on it.
                self._lock_file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            import fcntl  # not at the top: some systems do not have it

            fcntl.lockf(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
        except (OSError, ImportError) as error:
            if getattr(error, "errno", None) in (errno.EAGAIN, errno.EACCES):
                return False
            if self._has_locks:
                log.warning(
                    "%s: no locks here (%s); do not start several of these commands for one cache: they would "
                    "compute the same results", self.folder, getattr(error, "strerror", error),
                )  # fmt: skip
            self._has_locks = False
        return True

    def _unlock(self, offset: int) -> None:
        """Unlock a byte of the lock file; if that fails, it stays locked until this process ends."""
        assert self._lock_file is not None
        with contextlib.suppress(OSError, ImportError):
            import fcntl

            fcntl.lockf(self._lock_file, fcntl.LOCK_UN, 1, offset)

    def _load(self, job: Job, data_digest: str) -> tuple[bytes, Provenance]:
        """Return the verified content of a result file, and its provenance. Raise CacheMiss if there is none."""
        name = key(job, data_digest)
        path = self.path(name)
        try:
            raw = _read(path)
        except FileNotFoundError:
            raise CacheMiss(self._absence_reason(job, data_digest)) from None
        except OSError as error:
            raise CacheMiss(f"not readable: {path}: {error.strerror}") from error
        except ValueError as error:
            raise self._quarantine(path, str(error)) from error
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
                description = _verify(path.stem, _read(path))
                if description["schema"] == SCHEMA:
                    yield path, description

    def _quarantine(self, path: Path, reason: str) -> CacheMiss:
        """Move a damaged file to quarantine; return the exception to raise."""
        reason = reason[:_MAX_REASON]  # it may quote the file
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


def _read(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        OSError: It is not there, cannot be read, or is no regular file.
        ValueError: It is too large to be a result.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):  # reading a pipe or a device might never end
        raise OSError(errno.EINVAL, "not a regular file")
    if found.st_size > _MAX_BYTES:
        raise ValueError(f"it has {found.st_size:,} bytes, a result at most {_MAX_BYTES:,}")
    return path.read_bytes()


def _parse_table(raw: bytes) -> pa.Table:
    """Return the rows in a Parquet file, whoever made it, in bounded memory.

    Raises:
        Exception: It is malformed, too large or no flat table; pyarrow raises various errors.
    """
    import pyarrow as pa
    from pyarrow import parquet

    file = parquet.ParquetFile(pa.BufferReader(raw), thrift_container_size_limit=_MAX_COLUMNS)
    footer, schema = file.metadata, file.schema_arrow
    strings = _string_columns(schema)
    groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
    length, size = sum(group.num_rows for group in groups), sum(group.total_byte_size for group in groups)
    if length * len(schema) > _MAX_VALUES:
        raise ValueError(f"it has {length * len(schema):,} values, a result at most {_MAX_VALUES:,}")
    if size > _MAX_DECODED:
        raise ValueError(f"its rows take {size:,} bytes, a result's at most {_MAX_DECODED:,}")
    if any("DELTA_BYTE_ARRAY" in group.column(i).encodings for group in groups for i in range(len(schema))):
        raise ValueError("its strings are encoded as differences, which may take any size")
    if strings and length * size > _MAX_DECODED:  # the longest string may stand in every row
        repeated = parquet.ParquetFile(pa.BufferReader(raw), metadata=footer, read_dictionary=strings)
        _check_lengths(repeated, strings)
    return file.read(use_threads=False).replace_schema_metadata(None)


def _check_lengths(file: parquet.ParquetFile, names: Sequence[str]) -> None:
    """Raise ValueError if columns of strings, read as dictionaries, may take too much memory otherwise."""
    import pyarrow.compute as pc

    for name, column in zip(names, file.read(names, use_threads=False).columns, strict=True):
        longest = max(pc.max(pc.binary_length(part.dictionary)).as_py() or 0 for part in column.chunks)
        if longest * len(column) > _MAX_DECODED:
            raise ValueError(f"column {name!r} has {len(column):,} strings of up to {longest:,} bytes")


def _string_columns(schema: pa.Schema) -> list[str]:
    """Return the names of the columns of strings. Raise ValueError if others hold anything but numbers or times."""
    import pyarrow as pa

    strings = [
        each for each in schema if pa.types.is_string(each.type) or pa.types.is_large_string(each.type)
    ]
    for field in schema:
        if not pa.types.is_primitive(field.type) and field not in strings:
            raise ValueError(f"column {field.name!r} holds {field.type}, not numbers or strings")
    return [field.name for field in strings]


def _check_round_trip(rows: pd.DataFrame, raw: bytes) -> None:
    """Raise ValueError if a Parquet file of the rows would give other rows."""
    import pandas as pd

    try:
        pd.testing.assert_frame_equal(_parse_table(raw).to_pandas(), rows, check_exact=True)
    except (AssertionError, ValueError) as error:
        raise ValueError(
            f"these rows would not come back as they are: {' '.join(str(error).split())}"
        ) from error


def _parquet(rows: pd.DataFrame, description: str) -> bytes:
    """Return the rows as a small Parquet file with the description in its metadata."""
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
    _string_columns(table.schema)
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
        description: dict[str, Any] = json.JSONDecoder().raw_decode(
            raw[start : start + _MAX_DESCRIPTION].decode("latin-1")
        )[0]
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
    for name, kind in _provenance_types().items():
        if not isinstance(getattr(provenance, name), kind):
            raise TypeError(f"its provenance has an invalid {name}: {fields[name]!r}")
    return provenance


@functools.cache
def _provenance_types() -> dict[str, Any]:
    return typing.get_type_hints(Provenance)


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
