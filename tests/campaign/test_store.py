"""The store keeps what it is given, and notices whatever happens to it."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_type_hints

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

ROOT = Path(__file__).parents[2]
DATA = "5" * 64
RUN = Run(learning_rate=0.5, epochs=2, measures=(Measure(metrics=("train_loss",), every=1),))
PROGRAM = Program(function="somewhere:something", arguments=(("epochs", 3), ("sizes", (1, 2))))


def why(store: Store, job: Job, data: str = DATA) -> str:
    """Why the store has no result."""
    with pytest.raises(CacheMiss) as caught:
        store.read(job, data)
    with pytest.raises(CacheMiss):
        store.provenance(job, data)
    return str(caught.value)


@pytest.mark.parametrize("job", [RUN, PROGRAM])
def test_a_result_comes_back_as_it_was(
    store: Store, job: Job, rows: pd.DataFrame, provenance: Provenance
) -> None:
    assert why(store, job) == "not computed yet"
    store.write(job, DATA, rows, provenance)
    result = store.read(job, DATA)
    pd.testing.assert_frame_equal(result.rows, rows)
    assert result.provenance == provenance == store.provenance(job, DATA)
    assert why(store, dataclasses.replace(RUN, seed=1)) == "not computed yet"


def test_not_a_number_and_both_infinities_come_back(store: Store, provenance: Provenance) -> None:
    rows = pd.DataFrame({"value": [float("nan"), float("inf"), float("-inf"), -0.0, 5e-324]})
    store.write(RUN, DATA, rows, provenance)
    pd.testing.assert_frame_equal(store.read(RUN, DATA).rows, rows)


def test_pandas_alone_reads_a_result(store: Store, rows: pd.DataFrame, provenance: Provenance) -> None:
    store.write(RUN, DATA, rows, provenance)
    pd.testing.assert_frame_equal(pd.read_parquet(store.path(key(RUN, DATA))), rows)


def test_the_file_says_which_run_in_full_and_how_it_was_computed(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    store.write(RUN, DATA, rows, provenance)
    text = parquet.read_metadata(store.path(key(RUN, DATA))).metadata[b"result"].decode()
    described = json.loads(text)
    assert set(described["job"]) == {"kind", "version"} | {each.name for each in dataclasses.fields(Run)}
    assert described["provenance"] == dataclasses.asdict(provenance)
    assert described["data"] == DATA


def test_short_results_are_small(store: Store, rows: pd.DataFrame, provenance: Provenance) -> None:
    """So that thousands of them fit into 20 MB."""
    store.write(RUN, DATA, rows, provenance)
    assert store.path(key(RUN, DATA)).stat().st_size < 4_000


# What happens to files


@pytest.fixture
def damaged(store: Store, rows: pd.DataFrame, provenance: Provenance) -> tuple[Store, Path, bytes]:
    """A store, its result's file and the bytes in it."""
    store.write(RUN, DATA, rows, provenance)
    path = store.path(key(RUN, DATA))
    return store, path, path.read_bytes()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(damaged: tuple[Store, Path, bytes], place: float, bit: int) -> None:
    store, path, raw = damaged
    at = int(place * len(raw))
    path.write_bytes(raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :])
    assert why_once(store).startswith(f"damaged: {path}")
    assert not path.exists()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(left=st.floats(0, 1, exclude_max=True))
def test_any_truncation_is_noticed(damaged: tuple[Store, Path, bytes], left: float) -> None:
    store, path, raw = damaged
    path.write_bytes(raw[: int(left * len(raw))])
    assert why_once(store).startswith(f"damaged: {path}")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300))
def test_whatever_a_file_holds_reading_says_missing(
    damaged: tuple[Store, Path, bytes], content: bytes
) -> None:
    store, path, _ = damaged
    path.write_bytes(content)
    assert why_once(store).startswith("damaged")
    path.write_bytes(b'{"digest":"' + content)
    assert why_once(store).startswith("damaged")


def why_once(store: Store) -> str:
    """Why the store has no result of RUN, asked once."""
    with pytest.raises(CacheMiss) as caught:
        store.read(RUN, DATA)
    return str(caught.value)


def test_a_damaged_file_is_named_kept_and_replaced(
    damaged: tuple[Store, Path, bytes],
    rows: pd.DataFrame,
    provenance: Provenance,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, path, raw = damaged
    path.write_bytes(raw[:-1])
    reason = why_once(store)
    (aside,) = (store.folder / "damaged").iterdir()
    assert str(path) in reason
    assert str(aside) in reason
    assert reason in caplog.text
    assert aside.read_bytes() == raw[:-1]
    assert why_once(store) == f"damaged: set aside as {aside}"  # still known later

    store.write(RUN, DATA, rows, provenance)
    pd.testing.assert_frame_equal(store.read(RUN, DATA).rows, rows)
    assert aside.exists()


def test_results_under_each_others_names_are_noticed(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    other = dataclasses.replace(RUN, learning_rate=0.6)
    store.write(RUN, DATA, rows, provenance)
    store.write(other, DATA, rows, provenance)
    ours, theirs = store.path(key(RUN, DATA)), store.path(key(other, DATA))
    mine, its = ours.read_bytes(), theirs.read_bytes()
    ours.write_bytes(its)
    theirs.write_bytes(mine)
    for job in (RUN, other):
        assert "its digest does not fit its content and key" in str(_missing(store, job))
    assert len(list((store.folder / "damaged").iterdir())) == 2


def _missing(store: Store, job: Job) -> CacheMiss:
    with pytest.raises(CacheMiss) as caught:
        store.read(job, DATA)
    return caught.value


def test_a_folder_in_a_results_place_is_only_missing(store: Store) -> None:
    store.path(key(RUN, DATA)).mkdir(parents=True)
    assert why(store, RUN).startswith("not readable")


def test_reading_a_cache_that_cannot_be_changed_still_names_the_damage(
    damaged: tuple[Store, Path, bytes],
) -> None:
    store, path, raw = damaged
    path.write_bytes(raw[:100])
    (store.folder / "damaged").write_text("not a folder")  # even root cannot move anything into it
    assert "not set aside" in why_once(store)
    assert path.exists()


# Files from strangers, who can compute a digest as well

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PARTS = [
    "schema", "key", "data", "job", "provenance", "job.version", "job.kind", "job.epochs",
    *(f"provenance.{field.name}" for field in dataclasses.fields(Provenance)), "provenance.more",
]  # fmt: skip


def forge(store: Store, job: Job, rows: pd.DataFrame, description: str) -> Path:
    """Puts a file with this description and a right digest in the result's place, as the format says."""
    name, blank = key(job, DATA), "0" * 64
    path = store.path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pandas(rows)
    with parquet.ParquetWriter(path, table.schema, store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"result": f'{{"digest":"{blank}",{description[1:]}'})
    raw = path.read_bytes()
    digest = hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()
    path.write_bytes(raw.replace(blank.encode(), digest.encode()))
    return path


@pytest.fixture
def description(store: Store, rows: pd.DataFrame, provenance: Provenance) -> dict[str, Any]:
    """What an honest file says of RUN."""
    store.write(RUN, DATA, rows, provenance)
    text = parquet.read_metadata(store.path(key(RUN, DATA))).metadata[b"result"].decode()
    described: dict[str, Any] = json.loads(text)
    del described["digest"]
    return described


def test_a_file_in_the_format_is_read_whoever_wrote_it(
    store: Store, rows: pd.DataFrame, provenance: Provenance, description: dict[str, Any]
) -> None:
    forge(store, RUN, rows, json.dumps(description))
    assert store.read(RUN, DATA).provenance == provenance


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=st.sampled_from(PARTS), value=ANYTHING)
def test_whatever_a_stranger_describes_it_is_a_result_or_missing(
    store: Store, rows: pd.DataFrame, description: dict[str, Any], part: str, value: object
) -> None:
    described = copy.deepcopy(description)
    outer, _, inner = part.partition(".")
    if inner:
        described[outer][inner] = value
    else:
        described[outer] = value
    forge(store, RUN, rows, json.dumps(described))
    with contextlib.suppress(CacheMiss):
        store.read(RUN, "6" * 64)  # which looks at what there is from other data
    with contextlib.suppress(CacheMiss):
        told = store.read(RUN, DATA).provenance
        for name, kind in get_type_hints(Provenance).items():
            assert isinstance(getattr(told, name), kind)


def test_a_description_nested_too_deep_is_damage(store: Store, rows: pd.DataFrame) -> None:
    forge(store, RUN, rows, '{"schema":' + "[" * 100_000)
    assert why_once(store).startswith("damaged")


# Stale results


def test_a_result_of_older_code_is_stale_then_replaced(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    newer = dataclasses.replace(PROGRAM, version=2)
    store.write(PROGRAM, DATA, rows, provenance)
    assert why(store, newer) == "stale: version 1 of the code, now 2"
    store.write(newer, DATA, rows, provenance)
    assert store.read(newer, DATA).provenance == provenance
    assert not store.path(key(PROGRAM, DATA)).exists()


def test_a_result_from_other_data_is_stale_but_stays(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    store.write(RUN, DATA, rows, provenance)
    assert why(store, RUN, "6" * 64) == "stale: data 55555555…, now 66666666…"
    store.write(RUN, "6" * 64, rows, provenance)
    assert store.read(RUN, DATA).provenance == store.read(RUN, "6" * 64).provenance


def test_a_result_in_another_file_format_is_stale(
    store: Store, rows: pd.DataFrame, provenance: Provenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(RUN, DATA, rows, provenance)
    monkeypatch.setattr("analysis.campaign.store.SCHEMA", 99)
    assert why(store, RUN) == "stale: file format 1, now 99"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Later(Program):
    """A program as a later version of the code may describe it, with one more field."""

    precision: str = "single"


def test_a_new_field_at_its_default_keeps_old_results(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    Later.__name__ = "Program"  # the kind of a job is its class's name
    store.write(PROGRAM, DATA, rows, provenance)
    later = Later(**vars(PROGRAM))
    pd.testing.assert_frame_equal(store.read(later, DATA).rows, rows)
    assert why(store, dataclasses.replace(later, precision="double")) == "not computed yet"


def test_a_changed_default_does_not_pass_for_the_old_one(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Changed(Program):
        precision: str = "double"

    Later.__name__ = Changed.__name__ = "Program"
    store.write(Later(**vars(PROGRAM)), DATA, rows, provenance)
    assert why(store, Changed(**vars(PROGRAM))) == "stale: computed with another precision"


# Writers that die, disks that are full


@pytest.mark.parametrize("kills", [int(os.environ.get("KILLS", "200"))])
def test_a_writer_killed_at_any_moment_leaves_only_whole_results(tmp_path: Path, kills: int) -> None:
    """Each of the writers is a process of its own. KILLS=2000 kills more of them."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.writer", tmp_path, str(kills), str(time.time_ns())],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_what_killed_writers_leave_behind_is_cleared_later(
    store: Store, rows: pd.DataFrame, provenance: Provenance
) -> None:
    store.write(RUN, DATA, rows, provenance)
    folder = store.path(key(RUN, DATA)).parent
    old, new = folder / ".some.parquet.1234.tmp", folder / ".other.parquet.1234.tmp"
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(old, (0, 0))
    store.prepare()
    assert not old.exists()
    assert new.exists()  # its writer may be alive
    assert why(store, dataclasses.replace(RUN, seed=5)) == "not computed yet"


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, rows: pd.DataFrame, provenance: Provenance
) -> None:
    (tmp_path / "file").write_text("")  # below a file nothing can be created, not even by root
    store = Store(tmp_path / "file" / "cache")
    with pytest.raises(StoreError, match=r"cannot write .*cache.*--cache"):
        store.prepare()
    with pytest.raises(StoreError, match=r"cannot write .*parquet"):
        store.write(RUN, DATA, rows, provenance)
    with pytest.raises(StoreError, match=r"claims\.lock"), store.claim(["0" * 25]):
        pass
    assert why(store, RUN).startswith("not readable")


FULL_DISK = """
import resource, sys
from pathlib import Path
import pandas as pd
from pyarrow import parquet
sys.path.insert(0, sys.argv[2])
from writer import DATA, HOW, RUNS
from analysis.errors import StoreError
from analysis.campaign.store import Store
store = Store(Path(sys.argv[1]))
rows = pd.DataFrame({"update": range(2000), "value": [1 / (n + 1) for n in range(2000)]})
store.write(RUNS[0], DATA, rows, HOW)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # no file can grow beyond that: as on a full disk
for run in (RUNS[0], RUNS[1]):
    try:
        store.write(run, DATA, rows, HOW)
    except StoreError as error:
        print(error)
"""


def test_a_full_disk_ends_with_a_message_and_nothing_half_written(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, tmp_path, ROOT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("cannot write") == 2
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 1  # the result that was there, and nothing beside it
    assert len(pd.read_parquet(files[0])) == 2_000


# Claims

CLAIM = """
import sys, time
from pathlib import Path
from analysis.campaign.store import Store
with Store(Path(sys.argv[1])).claim(sys.argv[2:]) as mine:
    print(*sorted(mine), flush=True)
    time.sleep(60)
"""


def test_a_claim_excludes_other_processes_until_its_own_ends(store: Store) -> None:
    names = [f"{n:015x}0-00000000" for n in (1, 2, 3, 2**59)]
    with subprocess.Popen(
        [sys.executable, "-c", CLAIM, store.folder, *names[:2]], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline().split() == names[:2]
        with store.claim(names) as mine:
            assert mine == set(names[2:])
        other.kill()
    with store.claim(names) as mine:
        assert mine == set(names)


# Checkpoints

KEYS = ("a" * 25, "b" * 25)


def test_a_checkpoint_comes_back_and_goes(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    assert checkpoints.find(tmp_path, KEYS) is None
    checkpoints.save(tmp_path, KEYS, "torch on cpu", 12.5, {"weights": torch.arange(3.0), "update": 7})
    (found,) = checkpoints.present(tmp_path)
    assert found == checkpoints.find(tmp_path, KEYS)
    assert (found.keys, found.backend, found.seconds) == (KEYS, "torch on cpu", 12.5)
    state = found.state()
    assert state is not None
    assert torch.equal(state["weights"], torch.arange(3.0))
    assert state["update"] == 7
    assert checkpoints.find(tmp_path, KEYS[::-1]) is None
    checkpoints.drop(tmp_path, KEYS)
    checkpoints.drop(tmp_path, KEYS)
    assert checkpoints.present(tmp_path) == []


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
    """Pickled, it would create a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_checkpoint_executes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("torch")
    checkpoints.save(tmp_path, KEYS, "torch on cpu", 1.0, {"weights": Malicious(tmp_path / "executed")})
    found = checkpoints.find(tmp_path, KEYS)
    assert found is not None
    assert found.state() is None
    assert "start anew" in caplog.text
    assert not (tmp_path / "executed").exists()
