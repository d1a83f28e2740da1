"""A campaign fills the cache whatever happens to it, and says what it does and why."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from digits import DIGEST

from analysis import results
from analysis.campaign.keys import Job, Program, key
from analysis.campaign.store import Provenance, Store
from analysis.engine.run import Run
from analysis.question import Experiment
from tests.helpers import campaigns

pytest.importorskip("torch")

ONE_THREAD = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}  # several campaigns share the machine


def computed(text: str) -> int:
    """How many results a campaign says that it has computed."""
    (line,) = [line for line in text.splitlines() if line.endswith("results computed")]
    return int(line.split()[0])


def start(cache: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    """A campaign in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.campaigns", "--device", "cpu", "--cache", cache, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **ONE_THREAD, **environment},
    )


def rows(store: Store, jobs: Sequence[Job]) -> pd.DataFrame:
    """Results without the time that they took."""
    tables = [store.read(job, DIGEST).rows.drop(columns="seconds", errors="ignore") for job in jobs]
    return pd.concat(tables, ignore_index=True)


def test_it_computes_what_is_missing_and_says_so(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaigns.main("--only", "small", "--cache", store.folder) == 0
    printed = capsys.readouterr().out
    assert "small: 0 of 4 results are there\n  4 not computed yet" in printed
    assert "4 results to compute in 2 tasks on" in printed
    assert computed(printed) == 4

    found = results.load("small", store.folder, experiments=campaigns.EXPERIMENTS, data_digest=DIGEST)
    assert found.preset == "full"
    loss = found.rows.query("metric == 'train_loss'").pivot(columns="learning_rate", index="epoch")["value"]
    assert list(loss.index) == [0, 5, 10]
    assert (loss.loc[10] < loss.loc[0]).all()
    assert found.programs["mean"]["value"].between(0.1, 0.2).all()
    provenance = found.provenance[0]
    assert provenance.device == "cpu"
    assert provenance.stack == 3
    assert provenance.seconds > 0
    assert provenance.torch.startswith("2.")

    assert campaigns.main("--only", "small", "--cache", store.folder) == 0
    assert capsys.readouterr().out == "small: 4 of 4 results are there\n"


def test_experiments_share_runs(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaigns.main("--only", "small", "shared", "--cache", store.folder) == 0
    assert "5 results to compute" in capsys.readouterr().out


def test_presets_are_kept_apart(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaigns.main("--only", "shared", "--preset", "quick", "--cache", store.folder) == 0
    assert campaigns.main("--only", "shared", "--list", "--cache", store.folder) == 0
    assert "shared: 0 of 2 results are there\n  2 not computed yet" in capsys.readouterr().out


def test_list_names_every_reason_and_computes_nothing(
    store: Store, provenance: Provenance, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.DataFrame({"value": [1.0]})
    stale, damaged, fine, _ = campaigns.small("full")
    store.write(stale, "6" * 64, table, provenance)
    store.write(fine, DIGEST, table, provenance)
    store.write(damaged, DIGEST, table, provenance)
    path = store.path(key(damaged, DIGEST))
    path.write_bytes(path.read_bytes()[:-8])
    for _ in range(2):  # the damage is known the second time as well
        assert campaigns.main("--list", "--only", "small", "--cache", store.folder) == 0
        printed = capsys.readouterr().out
        assert "small: 1 of 4 results are there" in printed
        assert "1 stale: data 66666666…, now 55555555…" in printed
        assert "1 damaged: " in printed
        assert "1 not computed yet" in printed
        assert "computed\n" not in printed


def test_damaged_results_are_computed_again(store: Store) -> None:
    assert campaigns.main("--only", "shared", "--cache", store.folder) == 0
    before = rows(store, campaigns.shared("full"))
    path = store.path(key(campaigns.shared("full")[0], DIGEST))
    path.write_bytes(path.read_bytes()[:99])
    assert campaigns.main("--only", "shared", "--cache", store.folder) == 0
    pd.testing.assert_frame_equal(rows(store, campaigns.shared("full")), before, rtol=1e-4)
    assert len(list((store.folder / "damaged").iterdir())) == 1


def test_results_of_older_code_are_computed_again(
    store: Store, provenance: Provenance, capsys: pytest.CaptureFixture[str]
) -> None:
    older = Program(name="campaigns.mean", function=campaigns.mean, arguments=(("part", "train"),), version=0)
    newer = Program(name="campaigns.mean", function=campaigns.mean, arguments=(("part", "train"),), version=1)
    store.write(older, DIGEST, pd.DataFrame({"value": [-1.0]}), provenance)
    assert campaigns.main("--only", "small", "--cache", store.folder) == 0
    assert "1 stale: version 0 of the code, now 1" in capsys.readouterr().out
    assert store.read(newer, DIGEST).rows["value"][0] > 0


def test_force_computes_what_is_there(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaigns.main("--only", "shared", "--cache", store.folder) == 0
    before = rows(store, campaigns.shared("full"))
    capsys.readouterr()
    assert campaigns.main("--only", "shared", "--force", "--cache", store.folder) == 0
    printed = capsys.readouterr().out
    assert "shared: 2 of 2 results are there\n  2 computed again (--force)" in printed
    assert computed(printed) == 2
    pd.testing.assert_frame_equal(rows(store, campaigns.shared("full")), before)


# What goes wrong


def test_a_failing_job_is_named_and_the_others_go_on(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert campaigns.main("--only", "broken", "--cache", store.folder) == 1
    printed = capsys.readouterr()
    assert computed(printed.out) == 1
    failure, missing = [line for line in printed.err.splitlines() if "failed" in line]
    assert failure.startswith("run_all: failed: broken: campaigns.fail(): RuntimeError: this one cannot work")
    assert "campaigns.py, line" in failure
    assert "a program returns a table, not None" in missing


def test_a_failing_run_takes_no_other_run_of_its_stack_with_it(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from analysis.engine import training

    train = training.train

    def fails_at_one_half(runs: Sequence[Run], *arguments: object, **options: object) -> object:
        if any(run.learning_rate == 0.5 for run in runs):
            raise MemoryError("out of memory")
        return train(runs, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "train", fails_at_one_half)
    assert campaigns.main("--only", "small", "--cache", store.folder) == 1
    printed = capsys.readouterr()
    assert computed(printed.out) == 3
    (failure,) = [line for line in printed.err.splitlines() if "failed" in line]
    assert "small: 784-8-10 sgd η=0.5 full batch seed 0: MemoryError: out of memory" in failure


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "smal"], "no experiment is called 'smal' (is small meant?): choose from small, shared"),
        (["--preset", "huge"], "invalid choice: 'huge'"),
        (["--device", "abacus"], "invalid choice: 'abacus'"),
        (["--unknown"], "unrecognized arguments: --unknown"),
    ],
)
def test_wrong_usage_ends_with_2(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        campaigns.main(*options)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_a_device_that_is_not_there_ends_with_2(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    absent = "mps" if torch.cuda.is_available() else "cuda"
    assert campaigns.main("--device", absent, "--cache", store.folder) == 2
    assert f"run_all: there is no {absent} device here" in capsys.readouterr().err
    assert not store.folder.exists()


def test_an_unwritable_cache_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert campaigns.main("--only", "small", "--cache", tmp_path / "file" / "cache") == 2
    assert "run_all: cannot write" in capsys.readouterr().err


def test_a_full_disk_ends_with_2_and_nothing_half_written(tmp_path: Path) -> None:
    """No file can grow beyond 1,024 bytes, a result's beginning."""
    command = (
        f"ulimit -f 1; exec {sys.executable} -m tests.helpers.campaigns --only shared --cache {tmp_path}"
    )
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, check=False, env={**os.environ, **ONE_THREAD}
    )
    assert done.returncode == 2, done.stderr
    assert "run_all: cannot write" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["claims.lock"]


def test_list_needs_neither_torch_nor_data(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['torchvision'] = sys.modules['numba'] = None\n"
        "from analysis import run_all\n"
        "run_all.main(['--list', '--cache', sys.argv[1], '--data', sys.argv[1]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "none"], capture_output=True, text=True, check=True
    )
    assert "learning_rate: 0 of" in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_reader_that_has_seen_enough_of_the_list_is_no_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "analysis.run_all", "--list", "--cache", tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # long before anything is written
        errors = process.stderr.read()
    assert process.returncode == 0
    assert errors == ""


def test_without_torch_computing_ends_with_2(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from analysis import run_all\n"
        "sys.exit(run_all.main(['--cache', sys.argv[1]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "none"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "pip install '.[train]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_list_is_fast_with_ten_thousand_results(store: Store, provenance: Provenance) -> None:
    """Of which a tenth is asked for; half of a second is the interpreter's."""
    jobs = [Program(function="somewhere:something", arguments=(("n", n),)) for n in range(1_000)]
    fsync, os.fsync = os.fsync, lambda _: None  # making them must not take minutes
    try:
        for job in jobs:
            store.write(job, DIGEST, pd.DataFrame({"value": [1.0]}), provenance)
    finally:
        os.fsync = fsync
    a_result = store.path(key(jobs[0], DIGEST))
    for number in range(9_000):
        other = store.path(f"{number * 7919 % 65536:04x}{number:012x}-01234567")
        other.parent.mkdir(exist_ok=True)
        os.link(a_result, other)
    many = {"many": Experiment("many", "How fast?", lambda _: tuple(jobs))}
    from analysis import run_all

    started = time.monotonic()
    assert run_all.main(["--list", "--cache", str(store.folder)], experiments=many, data_digest=DIGEST) == 0
    assert time.monotonic() - started < 1


# Stopped, killed, two at once


def wait_for_checkpoint(cache: Path, process: subprocess.Popen[str], beyond: int = 0) -> None:
    """Until the process has written a checkpoint later than `beyond` (nanoseconds)."""
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if any(path.stat().st_mtime_ns > beyond for path in (cache / "checkpoints").glob("*.pt")):
            return
        time.sleep(0.005)
    pytest.fail(f"no checkpoint: {process.communicate()}")


def test_a_killed_campaign_goes_on_and_ends_with_the_same_curves(tmp_path: Path) -> None:
    """Bitwise, with the same number of threads; the last part starts where the part before it ended."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    uninterrupted = start(whole, "--only", "long")
    beyond = 0
    for _ in range(2):
        with start(killed, "--only", "long") as process:
            wait_for_checkpoint(killed, process, beyond)
            time.sleep(random.uniform(0, 0.1))
            process.kill()
        beyond = max(path.stat().st_mtime_ns for path in (killed / "checkpoints").glob("*.pt"))
    with start(killed, "--only", "long") as process:
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        assert computed(output) == 2
    assert uninterrupted.wait() == 0
    uninterrupted.communicate()
    jobs = campaigns.long("full")
    pd.testing.assert_frame_equal(rows(Store(killed), jobs), rows(Store(whole), jobs), check_exact=True)
    assert not list((killed / "checkpoints").glob("*.pt"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_campaign_says_so_in_one_line(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path, "--only", "long") as process:
        wait_for_checkpoint(tmp_path, process)
        process.send_signal(number)
        output, errors = process.communicate()
    assert process.returncode == 130
    assert computed(output) == 0
    assert errors.strip() == "run_all: stopped; give the same command again to go on from here"


@pytest.mark.parametrize("spoil", [False, True])
def test_a_checkpoint_that_is_damaged_or_makes_no_sense_costs_only_time(
    store: Store, spoil: bool, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    from analysis.campaign import checkpoints
    from analysis.engine import training

    assert campaigns.main("--only", "shared", "--device", "cpu", "--cache", store.folder) == 0
    jobs = campaigns.shared("full")
    keys = [key(job, DIGEST) for job in jobs]
    backend = training.backend_name([job for job in jobs if isinstance(job, Run)], torch.device("cpu"))
    before = rows(store, jobs)
    for name in keys:
        store.path(name).unlink()
    checkpoints.save(store.folder, keys, backend, 1.0, {"nonsense": torch.arange(3)})
    if spoil:
        path = checkpoints.path(store.folder, keys)
        path.write_bytes(path.read_bytes()[:-1])
    capsys.readouterr()

    assert campaigns.main("--only", "shared", "--device", "cpu", "--cache", store.folder) == 0
    assert computed(capsys.readouterr().out) == 2
    assert ("is damaged" in caplog.text) == spoil
    pd.testing.assert_frame_equal(rows(store, jobs), before, check_exact=True)
    assert not checkpoints.present(store.folder)


def test_two_campaigns_at_once_compute_each_job_once(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    cache = tmp_path / "cache"
    both = [start(cache, "--only", "crowd", NOTES=str(notes)) for _ in range(2)]
    outputs = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sorted(map(int, notes.read_text().split())) == list(range(12))
    jobs = campaigns.crowd("full")
    # One that comes when all is done has nothing to compute, and says so in other words.
    assert sum(computed(output) for output, _ in outputs if "to compute" in output) == len(jobs)
    rows(Store(cache), jobs)  # all are there


def test_what_a_killed_campaign_was_at_is_taken_over(tmp_path: Path) -> None:
    """One campaign waits for what the other computes, and computes it when the other is killed."""
    with start(tmp_path, "--only", "long") as first:
        wait_for_checkpoint(tmp_path, first)
        first.send_signal(signal.SIGSTOP)  # it must not be done before the other begins
        with start(tmp_path, "--only", "long") as second:
            assert second.stderr is not None
            assert "waiting" in second.stderr.readline()
            first.kill()
            output, errors = second.communicate()
    assert second.returncode == 0, errors
    assert computed(output) == 2
