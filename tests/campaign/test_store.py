"""The store returns what was written, and detects damage, forgery and staleness."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from analysis.campaign import checkpoints
from analysis.campaign.keys import Job, Program, key
from analysis.campaign.store import CacheMiss, Provenance, Store
from analysis.engine.run import Measure, Run
from analysis.errors import StoreError

DATA = "5" * 64
RUN = Run(learning_rate=0.5, epochs=2, measures=(Measure(metrics=("train_loss",), every=1),))
PROGRAM = Program(name="some.program", function=pd.DataFrame, arguments=(("epochs", 3), ("sizes", (1, 2))))


def miss(store: Store, job: Job, data: str = DATA) -> str:
    """Return why the store has no result, for its rows and for its provenance."""
    with pytest.raises(CacheMiss) as caught:
        store.read(job, data)
    with pytest.raises(CacheMiss):
        store.provenance(job, data)
    return str(caught.value)


@pytest.mark.parametrize("job", [RUN, PROGRAM])
def test_results_round_trip(store: Store, job: Job, rows: pd.DataFrame, provenance: Provenance) -> None:
    assert miss(store, job) == "not computed yet"
    store.write(job, DATA, rows, provenance)
    result = store.read(job, DATA)
    pd.testing.assert_frame_equal(result.rows, rows)
    assert result.provenance == provenance == store.provenance(job, DATA)
    assert miss(store, dataclasses.replace(RUN, seed=1)) == "not computed yet"


def test_nan_and_infinities_round_trip(store: Store, provenance: Provenance) -> None:
    rows = pd.DataFrame({"value": [float("nan"), float("inf"), float("-inf"), -0.0, 5e-324]})
    store.write(RUN, DATA, rows, provenance)
    pd.testing.assert_frame_equal(store.read(RUN, DATA).rows, rows)


def test_pandas_alone_reads_a_result(store: Store, rows: pd.DataFrame, provenance: Provenance) -> None:
    store.write(RUN, DATA, rows, provenance)
    pd.testing.assert_frame_equal(pd.read_parquet(store.path(key(RUN, DATA))), rows)


def test_the_metadata_holds_the_full_run_and_the_provenance(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    store.write(RUN, DATA, rows, provenance)
    text = parquet.read_metadata(store.path(key(RUN, DATA))).metadata[b"result"].decode()
    description = json.loads(text)
    assert set(description["job"]) == {"kind", "version"} | {each.name for each in dataclasses.fields(Run)}
    assert description["provenance"] == dataclasses.asdict(provenance)
    assert description["data"] == DATA


def test_short_results_are_small(store: Store, rows: pd.DataFrame, provenance: Provenance) -> None:
    """Thousands of them must fit into 20 MB."""
    store.write(RUN, DATA, rows, provenance)
    assert store.path(key(RUN, DATA)).stat().st_size < 4_000


TYPED = {
    "empty": {"number": pd.Series([], dtype="float64"), "name": pd.Series([], dtype=pd.Series(["a"]).dtype)},
    "small numbers": {"a": pd.Series([1, -1], dtype="int16"), "b": pd.Series([0.1, 2], dtype="float32")},
    "large numbers": {"a": pd.Series([2**64 - 1], dtype="uint64"), "b": [5e-324]},
    "truth": {"a": [True, False]},
    "strings": {"naïve.name": ["η", ""], "": ["a,b", "\n"]},
    "time": {"a": pd.to_datetime(["2026-01-31 12:00:00.000001"])},
}


@pytest.mark.parametrize("name", TYPED)
def test_types_round_trip(store: Store, provenance: Provenance, name: str) -> None:
    frame = pd.DataFrame(TYPED[name])
    store.write(RUN, DATA, frame, provenance)
    pd.testing.assert_frame_equal(store.read(RUN, DATA).rows, frame, check_exact=True)


CHANGING = {
    "duration": pd.DataFrame({"a": pd.to_timedelta(["3h", "4h"])}),
    "time zone": pd.DataFrame({"a": pd.date_range("2026-03-29", periods=2, tz="America/New_York")}),
    "period": pd.DataFrame({"a": pd.period_range("2026", periods=2, freq="Y")}),
    "category": pd.DataFrame({"a": pd.Categorical([3, 1, 3], ordered=True)}),
    "missing integer": pd.DataFrame({"a": pd.array([None, 7], dtype="Int32")}),
    "objects": pd.DataFrame({"a": pd.Series([1, 2], dtype=object)}),
    "arrays": pd.DataFrame({"a": [[1.0], [2.0, 3.0]]}),
    "bytes": pd.DataFrame({"a": [b"ab"]}),
    "mixture": pd.DataFrame({"a": ["1", 2.0]}),
    "complex numbers": pd.DataFrame({"a": [1 + 2j]}),
    "named rows": pd.DataFrame({"a": [1, 2]}, index=pd.Index([0, 1], name="epoch")),
    "selected rows": pd.DataFrame({"a": [1, 2, 3]}).loc[[0, 2]],
    "row levels": pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_tuples([(0, "train")])),
    "rows alone": pd.DataFrame(index=range(2)),
    "column levels": pd.DataFrame({("loss", "mean"): [1.0], ("loss", "max"): [2.0]}),
    "named columns": pd.DataFrame({"a": [1]}).rename_axis(columns="metric"),
    "numbered columns": pd.DataFrame([[1.0, 2.0]]),
    "equal columns": pd.DataFrame([[1, 2]], columns=["a", "a"]),
}


@pytest.mark.parametrize("name", CHANGING)
def test_rows_that_would_come_back_as_something_else_are_refused(
    store: Store, provenance: Provenance, name: str
) -> None:
    with pytest.raises((ValueError, pa.ArrowException)):
        store.write(RUN, DATA, CHANGING[name], provenance)
    assert miss(store, RUN) == "not computed yet"


def test_the_refusal_says_what_would_change(store: Store, provenance: Provenance) -> None:
    with pytest.raises(ValueError, match=r'would not come back as they are: .*column name="a".*timedelta'):
        store.write(RUN, DATA, CHANGING["duration"], provenance)
    with pytest.raises(ValueError, match=r"column 'a' holds list<.*>, not numbers or strings"):
        store.write(RUN, DATA, CHANGING["arrays"], provenance)


# Damaged files


@pytest.fixture
def damaged(store: Store, rows: pd.DataFrame, provenance: Provenance) -> tuple[Store, Path, bytes]:
    """A store, the file of its result and the content of that file, for tests to damage."""
    store.write(RUN, DATA, rows, provenance)
    path = store.path(key(RUN, DATA))
    return store, path, path.read_bytes()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_detected(damaged: tuple[Store, Path, bytes], place: float, bit: int) -> None:
    store, path, raw = damaged
    at = int(place * len(raw))
    path.write_bytes(raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :])
    assert read_miss(store).startswith(f"damaged: {path}")
    assert not path.exists()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(left=st.floats(0, 1, exclude_max=True))
def test_any_truncation_is_detected(damaged: tuple[Store, Path, bytes], left: float) -> None:
    store, path, raw = damaged
    path.write_bytes(raw[: int(left * len(raw))])
    assert read_miss(store).startswith(f"damaged: {path}")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300))
def test_arbitrary_content_counts_as_missing(damaged: tuple[Store, Path, bytes], content: bytes) -> None:
    store, path, _ = damaged
    path.write_bytes(content)
    assert read_miss(store).startswith("damaged")
    path.write_bytes(b'{"digest":"' + content)
    assert read_miss(store).startswith("damaged")


def read_miss(store: Store, job: Job = RUN) -> str:
    """Return why the store has no result, on the first read."""
    with pytest.raises(CacheMiss) as caught:
        store.read(job, DATA)
    return str(caught.value)


def test_a_damaged_file_is_named_quarantined_and_replaced(
    damaged: tuple[Store, Path, bytes],
    rows: pd.DataFrame,
    provenance: Provenance,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, path, raw = damaged
    path.write_bytes(raw[:-1])
    reason = read_miss(store)
    (quarantined,) = (store.folder / "damaged").iterdir()
    assert str(path) in reason
    assert str(quarantined) in reason
    assert reason in caplog.text
    assert quarantined.read_bytes() == raw[:-1]
    assert read_miss(store) == f"damaged: moved to {quarantined}"  # on later reads as well

    store.write(RUN, DATA, rows, provenance)
    pd.testing.assert_frame_equal(store.read(RUN, DATA).rows, rows)
    assert quarantined.exists()


def test_swapped_files_are_detected(store: Store, rows: pd.DataFrame, provenance: Provenance) -> None:
    other = dataclasses.replace(RUN, learning_rate=0.6)
    store.write(RUN, DATA, rows, provenance)
    store.write(other, DATA, rows, provenance)
    ours, theirs = store.path(key(RUN, DATA)), store.path(key(other, DATA))
    mine, its = ours.read_bytes(), theirs.read_bytes()
    ours.write_bytes(its)
    theirs.write_bytes(mine)
    for job in (RUN, other):
        assert "its digest does not match its content and key" in read_miss(store, job)
    assert len(list((store.folder / "damaged").iterdir())) == 2


def test_a_folder_in_place_of_a_result_counts_as_missing(store: Store) -> None:
    store.path(key(RUN, DATA)).mkdir(parents=True)
    assert miss(store, RUN).startswith("not readable")


def test_damage_in_a_read_only_cache_is_still_reported(
    damaged: tuple[Store, Path, bytes],
) -> None:
    store, path, raw = damaged
    path.write_bytes(raw[:100])
    (store.folder / "damaged").write_text("not a folder")  # even root cannot move anything into it
    assert "could not be moved to quarantine" in read_miss(store)
    assert path.exists()


# Forged files, whose digests are valid

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PARTS = [
    "schema", "key", "data", "job", "provenance", "job.version", "job.kind", "job.epochs",
    *(f"provenance.{field.name}" for field in dataclasses.fields(Provenance)), "provenance.more",
]  # fmt: skip


def forge(
    store: Store,
    job: Job,
    rows: pd.DataFrame | pa.Table,
    description: str,
    *,
    repeat: int = 1,
    **options: Any,
) -> Path:
    """Write a file with this description and a valid digest in place of the result, according to the format.

    Args:
        store, job: Of the result.
        rows: Its rows; other than in a result, of any Arrow type.
        description: Its metadata.
        repeat: How often the rows follow one another.
        options: For the Parquet writer.
    """
    name, blank = key(job, DATA), "0" * 64
    path = store.path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pandas(rows)
    with parquet.ParquetWriter(path, table.schema, store_schema=False, **options) as writer:
        for _ in range(repeat):
            writer.write_table(table)
        writer.add_key_value_metadata({"result": f'{{"digest":"{blank}",{description[1:]}'})
    raw = path.read_bytes()
    digest = hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()
    path.write_bytes(raw.replace(blank.encode(), digest.encode()))
    return path


@pytest.fixture
def description(store: Store, rows: pd.DataFrame, provenance: Provenance) -> dict[str, Any]:
    """The description in an authentic file of RUN."""
    store.write(RUN, DATA, rows, provenance)
    text = parquet.read_metadata(store.path(key(RUN, DATA))).metadata[b"result"].decode()
    content: dict[str, Any] = json.loads(text)
    del content["digest"]
    return content


def test_a_file_written_by_other_software_is_read(
    store: Store, rows: pd.DataFrame, provenance: Provenance, description: dict[str, Any]
) -> None:
    forge(store, RUN, rows, json.dumps(description))
    assert store.read(RUN, DATA).provenance == provenance


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=st.sampled_from(PARTS), value=ANYTHING)
def test_a_forged_description_gives_a_valid_result_or_a_miss(
    store: Store, rows: pd.DataFrame, description: dict[str, Any], part: str, value: object
) -> None:
    forged = copy.deepcopy(description)
    outer, _, inner = part.partition(".")
    if inner:
        forged[outer][inner] = value
    else:
        forged[outer] = value
    forge(store, RUN, rows, json.dumps(forged))
    with contextlib.suppress(CacheMiss):
        store.read(RUN, "6" * 64)  # which inspects the results from other data
    with contextlib.suppress(CacheMiss):
        read = store.read(RUN, DATA).provenance
        for name, kind in get_type_hints(Provenance).items():
            assert isinstance(getattr(read, name), kind)


def test_a_description_nested_too_deeply_counts_as_damaged(store: Store, rows: pd.DataFrame) -> None:
    forge(store, RUN, rows, '{"schema":' + "[" * 100_000)
    assert read_miss(store).startswith("damaged")


def nested(depth: int) -> pa.Array:
    """Return lists in lists."""
    array = pa.array([1])
    for _ in range(depth):
        array = pa.ListArray.from_arrays([0, 1], array)
    return array


MEGABYTE = 2**20
HOSTILE: dict[str, tuple[str, Callable[[], dict[str, Any]], dict[str, Any]]] = {
    "many equal numbers": ("134,217,728 values", lambda: {"a": np.zeros(MEGABYTE)}, {"repeat": 128}),
    "many equal strings": (
        "1,048,576 strings of up to 1,048,576 bytes",
        lambda: {
            "a": pa.DictionaryArray.from_arrays(np.zeros(MEGABYTE, np.int32), ["x" * MEGABYTE]),
            "b": pa.array(["y"]).take(np.zeros(MEGABYTE, np.int32)),
        },
        {},
    ),
    "a few large strings": (
        "its rows take",
        lambda: {"a": ["x" * (16 * MEGABYTE)]},
        {"repeat": 20, "use_dictionary": False, "compression": "zstd"},
    ),
    "strings that differ little": (
        "encoded as differences",
        lambda: {"a": [f"{'x' * MEGABYTE}{n}" for n in range(32)]},
        {"use_dictionary": False, "column_encoding": {"a": "DELTA_BYTE_ARRAY"}},
    ),
    "many columns": ("size limit", lambda: {f"column {n}": [n] for n in range(20_000)}, {}),
    "many row groups": ("size limit", lambda: {"a": [1]}, {"repeat": 2_000}),
    "lists": ("holds list", lambda: {"a": nested(1)}, {}),
    "lists in lists": ("holds list", lambda: {"a": nested(20)}, {}),
    "structures": ("holds struct", lambda: {"a": [{"b": {"c": 1}}]}, {}),
    "maps": ("holds map", lambda: {"a": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int8()))}, {}),
    "a long name": ("holds binary", lambda: {"x" * MEGABYTE: [b""]}, {}),
    "bytes": ("holds binary", lambda: {"a": [b"\x80"]}, {}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_rows_are_set_aside(store: Store, description: dict[str, Any], name: str) -> None:
    """Any of the large ones would otherwise take gigabytes."""
    reason, columns, options = HOSTILE[name]
    path = forge(store, RUN, pa.table(columns()), json.dumps(description), **options)
    message = read_miss(store)
    assert message.startswith(f"damaged: {path}: cannot be parsed")
    assert reason in message or name == "a long name"
    assert len(message) < 1_000
    assert not path.exists()
    assert len(list((store.folder / "damaged").iterdir())) == 1


def test_long_strings_and_many_rows_within_the_limits_are_read(
    store: Store, description: dict[str, Any]
) -> None:
    frame = pd.DataFrame({"metric": ["train_loss"] * 400_000 + ["x" * 500], "value": 0.5})
    forge(store, RUN, pa.Table.from_pandas(frame), json.dumps(description))
    pd.testing.assert_frame_equal(store.read(RUN, DATA).rows, frame)


def test_a_file_too_large_for_a_result_is_set_aside_unread(store: Store) -> None:
    path = store.path(key(RUN, DATA))
    path.parent.mkdir(parents=True)
    with open(path, "wb") as file:
        file.truncate(2**40)  # takes no room on the disk
    assert "it has 1,099,511,627,776 bytes" in read_miss(store)
    assert not path.exists()


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_not_read(store: Store, make: Callable[[Path], None]) -> None:
    path = store.path(key(RUN, DATA))
    path.parent.mkdir(parents=True)
    make(path)
    assert miss(store, RUN) == f"not readable: {path}: not a regular file"
    assert miss(store, RUN, "6" * 64) == "not computed yet"  # which looks at the results from other data


def test_a_huge_description_counts_as_damaged(store: Store, rows: pd.DataFrame) -> None:
    forge(store, RUN, rows, '{"schema":[' + "[]," * 1_000_000 + "0]}")
    assert read_miss(store).startswith("damaged")


# Stale results


def test_a_result_of_an_older_version_is_stale_and_then_replaced(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    newer = dataclasses.replace(PROGRAM, version=2)
    store.write(PROGRAM, DATA, rows, provenance)
    assert miss(store, newer) == "stale: version 1 of the code, now 2"
    store.write(newer, DATA, rows, provenance)
    assert store.read(newer, DATA).provenance == provenance
    assert not store.path(key(PROGRAM, DATA)).exists()


def test_a_result_from_other_data_is_stale_but_kept(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    store.write(RUN, DATA, rows, provenance)
    assert miss(store, RUN, "6" * 64) == "stale: data 55555555…, now 66666666…"
    store.write(RUN, "6" * 64, rows, provenance)
    assert store.read(RUN, DATA).provenance == store.read(RUN, "6" * 64).provenance


def test_a_result_in_another_file_format_is_stale(
    store: Store, rows: pd.DataFrame, provenance: Provenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(RUN, DATA, rows, provenance)
    monkeypatch.setattr("analysis.campaign.store.SCHEMA", 99)
    assert miss(store, RUN) == "stale: file format 1, now 99"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Later(Program):
    """A program in some later version of the code, with one more field."""

    precision: str = "single"


def test_a_new_field_at_its_default_keeps_old_results(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    Later.__name__ = "Program"  # the kind of a job is its class's name
    store.write(PROGRAM, DATA, rows, provenance)
    later = Later(**vars(PROGRAM))
    pd.testing.assert_frame_equal(store.read(later, DATA).rows, rows)
    assert miss(store, dataclasses.replace(later, precision="double")) == "not computed yet"


def test_a_changed_default_makes_results_stale(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Changed(Program):
        precision: str = "double"

    Later.__name__ = Changed.__name__ = "Program"
    store.write(Later(**vars(PROGRAM)), DATA, rows, provenance)
    assert miss(store, Changed(**vars(PROGRAM))) == "stale: computed with another precision"


# Killed writers, full disks


@pytest.mark.parametrize("kills", [int(os.environ.get("KILLS", "50"))])
def test_killed_writers_leave_only_complete_results(tmp_path: Path, kills: int) -> None:
    """Each writer is a process of its own. Set KILLS=2000 to kill more of them."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.writer", tmp_path, str(kills), str(time.time_ns())],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_temporary_files_of_killed_writers_are_deleted_later(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    store.write(RUN, DATA, rows, provenance)
    folder = store.path(key(RUN, DATA)).parent
    old, new = folder / ".some.parquet.1234.tmp", folder / ".other.parquet.1234.tmp"
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(old, (0, 0))
    store.check_writable()
    assert not old.exists()
    assert new.exists()  # its writer may still be alive
    assert miss(store, dataclasses.replace(RUN, seed=5)) == "not computed yet"


def test_an_unwritable_cache_is_reported(tmp_path: Path, rows: pd.DataFrame, provenance: Provenance) -> None:
    (tmp_path / "file").write_text("")  # below a file nothing can be created, not even by root
    store = Store(tmp_path / "file" / "cache")
    with pytest.raises(StoreError, match=r"cannot write .*cache.*--cache"):
        store.check_writable()
    with pytest.raises(StoreError, match=r"cannot write .*parquet"):
        store.write(RUN, DATA, rows, provenance)
    with pytest.raises(StoreError, match=r"jobs\.lock"), store.lock(["0" * 25]):
        pass
    assert miss(store, RUN).startswith("not readable")


FULL_DISK = """
import resource, sys
from pathlib import Path
import pandas as pd
from pyarrow import parquet
from tests.helpers.writer import DATA, PROVENANCE, RUNS
from analysis.errors import StoreError
from analysis.campaign.store import Store
store = Store(Path(sys.argv[1]))
rows = pd.DataFrame({"update": range(2000), "value": [1 / (n + 1) for n in range(2000)]})
store.write(RUNS[0], DATA, rows, PROVENANCE)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # no file can grow beyond that, as on a full disk
for run in (RUNS[0], RUNS[1]):
    try:
        store.write(run, DATA, rows, PROVENANCE)
    except StoreError as error:
        print(error)
"""


def test_a_full_disk_is_reported_and_leaves_nothing_incomplete(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("cannot write") == 2
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 1  # the earlier result, and nothing else
    assert len(pd.read_parquet(files[0])) == 2_000


# Locks

LOCK = """
import sys, time
from pathlib import Path
from analysis.campaign.store import Store
with Store(Path(sys.argv[1])).lock(sys.argv[2:]) as locked:
    print(*sorted(locked), flush=True)
    time.sleep(60)
"""


def test_a_lock_excludes_other_processes_until_its_own_dies(store: Store) -> None:
    names = [f"{n:015x}0-00000000" for n in (1, 2, 3, 2**59)]
    with subprocess.Popen(
        [sys.executable, "-c", LOCK, store.folder, *names[:2]], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline().split() == names[:2]
        with store.lock(names) as locked:
            assert locked == set(names[2:])
        other.kill()
    with store.lock(names) as locked:
        assert locked == set(names)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM])
def test_without_locks_every_job_is_free_and_a_warning_says_so(
    store: Store, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def lockf(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.lockf", lockf)
    names = {f"{n:015x}0-00000000" for n in (1, 2)}
    for _ in range(2):
        with store.lock(names) as locked:
            assert locked == names
    (line,) = caplog.messages
    assert f"no locks here ({os.strerror(number)})" in line


def test_a_system_without_file_locks_does_without(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with store.lock(["0" * 25]) as locked:
        assert locked == {"0" * 25}
    assert "no locks here" in caplog.text


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EACCES])
def test_a_lock_may_be_taken_under_either_number(
    store: Store, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lockf(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.lockf", lockf)
    with store.lock(["0" * 25]) as locked:
        assert not locked


def test_a_file_system_that_cannot_flush_folders_keeps_results(
    store: Store, rows: pd.DataFrame, provenance: Provenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def files_only(number: int) -> None:
        if stat.S_ISDIR(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(number)

    monkeypatch.setattr(os, "fsync", files_only)
    store.write(RUN, DATA, rows, provenance)
    assert store.read(RUN, DATA).provenance == provenance


# Checkpoints

KEYS = ("a" * 25, "b" * 25)


def test_checkpoints_round_trip_and_are_deleted(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    assert checkpoints.find(tmp_path, KEYS) is None
    checkpoints.save(tmp_path, KEYS, "torch on cpu", 12.5, {"weights": torch.arange(3.0), "update": 7})
    (found,) = checkpoints.find_all(tmp_path)
    assert found == checkpoints.find(tmp_path, KEYS)
    assert (found.keys, found.backend, found.seconds) == (KEYS, "torch on cpu", 12.5)
    state = found.state()
    assert state is not None
    assert torch.equal(state["weights"], torch.arange(3.0))
    assert state["update"] == 7
    assert checkpoints.find(tmp_path, KEYS[::-1]) is None
    checkpoints.delete(tmp_path, KEYS)
    checkpoints.delete(tmp_path, KEYS)
    assert checkpoints.find_all(tmp_path) == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_damaged_checkpoint_is_ignored(tmp_path: Path, place: float, bit: int) -> None:
    torch = pytest.importorskip("torch")
    checkpoints.save(tmp_path, KEYS, "torch on cpu", 12.5, {"weights": torch.arange(3.0)})
    path = checkpoints.path(tmp_path, KEYS)
    raw = bytearray(path.read_bytes())
    raw[int(place * len(raw))] ^= 1 << bit
    path.write_bytes(raw)
    found = checkpoints.find(tmp_path, KEYS)
    assert found is None or found.state() is None


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_loading_a_checkpoint_executes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("torch")
    checkpoints.save(tmp_path, KEYS, "torch on cpu", 1.0, {"weights": Malicious(tmp_path / "executed")})
    found = checkpoints.find(tmp_path, KEYS)
    assert found is not None
    assert found.state() is None
    assert "restarting its runs" in caplog.text
    assert not (tmp_path / "executed").exists()
