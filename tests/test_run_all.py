"""`run_all` fills the cache despite failures and interruptions, and prints what it computes and why."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest

from analysis import results, run_all
from analysis.campaign.keys import Program, key
from analysis.campaign.store import Provenance, Store
from analysis.engine.run import Run
from tests.helpers import campaigns
from tests.helpers.campaigns import (
    ONE_THREAD,
    computed,
    interrupt_once,
    newest_checkpoint,
    once,
    rows,
    start,
    wait_for_checkpoint,
    wait_until,
)
from tests.helpers.digits import DIGEST

torch = pytest.importorskip("torch")

from analysis.campaign import checkpoints, scheduler  # noqa: E402 (needs torch)
from analysis.engine import training  # noqa: E402 (needs torch)


def test_it_computes_missing_results(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaigns.main("--only", "small", "--cache", store.folder) == 0
    printed = capsys.readouterr().out
    assert "small: 0 of 4 results cached\n  4 not computed yet" in printed
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
    assert capsys.readouterr().out == "small: 4 of 4 results cached\n"


def test_experiments_share_runs(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaigns.main("--only", "small", "shared", "--cache", store.folder) == 0
    assert "5 results to compute" in capsys.readouterr().out


def test_presets_are_separate(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaigns.main("--only", "shared", "--preset", "quick", "--cache", store.folder) == 0
    assert campaigns.main("--only", "shared", "--list", "--cache", store.folder) == 0
    assert "shared: 0 of 2 results cached\n  2 not computed yet" in capsys.readouterr().out


def test_list_prints_every_reason_and_computes_nothing(
    store: Store, provenance: Provenance, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.DataFrame({"value": [1.0]})
    stale, damaged, fine, _ = campaigns.small("full")
    store.write(stale, "6" * 64, table, provenance)
    store.write(fine, DIGEST, table, provenance)
    store.write(damaged, DIGEST, table, provenance)
    path = store.path(key(damaged, DIGEST))
    path.write_bytes(path.read_bytes()[:-8])
    for _ in range(2):  # the damage is reported the second time as well
        assert campaigns.main("--list", "--only", "small", "--cache", store.folder) == 0
        printed = capsys.readouterr().out
        assert "small: 1 of 4 results cached" in printed
        assert "1 stale: data 66666666…, now 55555555…" in printed
        assert "1 damaged: " in printed
        assert "1 not computed yet" in printed
        assert "computed\n" not in printed


@pytest.mark.parametrize("encoding", ["ascii", "gbk"])
def test_it_prints_utf8_whatever_the_locale(
    store: Store, provenance: Provenance, rows: pd.DataFrame, encoding: str
) -> None:
    stale, *_ = campaigns.small("full")
    store.write(stale, "6" * 64, rows, provenance)
    code = (
        "from analysis.engine import training; training.train = None\n"
        "import sys; from tests.helpers import campaigns\n"
        "sys.exit(campaigns.main('--only', 'small', '--device', 'cpu', '--cache', sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, store.folder],
        env={**os.environ, **ONE_THREAD, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert "stale: data 66666666…" in done.stdout.decode("utf-8")
    assert "failed: small: 784-8-10 sgd η=0.1" in done.stderr.decode("utf-8")


def test_damaged_results_are_computed_again(store: Store) -> None:
    assert campaigns.main("--only", "shared", "--cache", store.folder) == 0
    before = rows(store, campaigns.shared("full"))
    path = store.path(key(campaigns.shared("full")[0], DIGEST))
    path.write_bytes(path.read_bytes()[:99])
    assert campaigns.main("--only", "shared", "--cache", store.folder) == 0
    pd.testing.assert_frame_equal(rows(store, campaigns.shared("full")), before, rtol=1e-4)
    assert len(list((store.folder / "damaged").iterdir())) == 1


def test_results_of_older_versions_are_computed_again(
    store: Store, provenance: Provenance, capsys: pytest.CaptureFixture[str]
) -> None:
    older, newer = (
        Program(
            name="campaigns.mean", function=campaigns.mean, arguments=(("part", "train"),), version=version
        )
        for version in (0, 1)
    )
    store.write(older, DIGEST, pd.DataFrame({"value": [-1.0]}), provenance)
    assert campaigns.main("--only", "small", "--cache", store.folder) == 0
    assert "1 stale: version 0 of the code, now 1" in capsys.readouterr().out
    assert store.read(newer, DIGEST).rows["value"][0] > 0


def test_force_recomputes_existing_results(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaigns.main("--only", "shared", "--cache", store.folder) == 0
    before = rows(store, campaigns.shared("full"))
    capsys.readouterr()
    assert campaigns.main("--only", "shared", "--force", "--cache", store.folder) == 0
    printed = capsys.readouterr().out
    assert "shared: 2 of 2 results cached\n  2 to recompute (--force)" in printed
    assert computed(printed) == 2
    pd.testing.assert_frame_equal(rows(store, campaigns.shared("full")), before)


# Failures


def test_a_failing_job_is_reported_and_others_continue(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert campaigns.main("--only", "broken", "--cache", store.folder) == 1
    printed = capsys.readouterr()
    assert computed(printed.out) == 1
    failure, no_table = [line for line in printed.err.splitlines() if "failed" in line]
    assert failure.startswith("run_all: failed: broken: campaigns.fail(): RuntimeError: this one cannot work")
    assert "campaigns.py, line" in failure
    assert "a program must return a DataFrame, not None" in no_table


def test_a_failing_run_does_not_affect_the_rest_of_its_stack(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
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
        (["--only", "smal"], "unknown experiment 'smal' (did you mean small?): choose from small, shared"),
        (["--preset", "huge"], "invalid choice: 'huge'"),
        (["--device", "abacus"], "invalid choice: 'abacus' (choose from auto, cpu, cuda, cuda:N"),
        (["--device", "cuda:first"], "invalid choice: 'cuda:first'"),
        (["--unknown"], "unrecognized arguments: --unknown"),
    ],
)
def test_wrong_usage_exits_with_2(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        campaigns.main(*options)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_an_unavailable_device_exits_with_2(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    absent = "mps" if torch.cuda.is_available() else "cuda"
    assert campaigns.main("--device", absent, "--cache", store.folder) == 2
    assert f"run_all: no {absent} device is available" in capsys.readouterr().err
    assert not store.folder.exists()


def test_an_unwritable_cache_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert campaigns.main("--only", "small", "--cache", tmp_path / "file" / "cache") == 2
    assert "run_all: cannot write" in capsys.readouterr().err


def test_a_full_disk_exits_with_2_and_leaves_nothing_incomplete(tmp_path: Path) -> None:
    """No file can grow beyond 1,024 bytes, less than a result needs."""
    command = (
        f"ulimit -f 1; exec {sys.executable} -m tests.helpers.campaigns --only shared --cache {tmp_path}"
    )
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, check=False, env={**os.environ, **ONE_THREAD}
    )
    assert done.returncode == 2, done.stderr
    assert "run_all: cannot write" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["jobs.lock"]


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


def test_a_reader_that_exits_early_is_not_an_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "analysis.run_all", "--list", "--cache", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # long before anything is written
        errors = process.stderr.read()
    assert process.returncode == 0
    assert errors == ""


def test_computing_without_torch_exits_with_2(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from analysis import run_all\n"
        "sys.exit(run_all.main(['--cache', sys.argv[1]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "none"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "computing requires torch: pip install '.[train]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_list_reads_each_cached_result_once_and_no_other(
    store: Store, provenance: Provenance, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the time that it takes does not depend on what else the cache holds."""
    programs = [
        Program(name="many.program", function=campaigns.mean, arguments=(("n", n),)) for n in range(20)
    ]
    for program in programs[:10]:
        store.write(program, DIGEST, pd.DataFrame({"value": [1.0]}), provenance)
    cached = [store.path(key(program, DIGEST)) for program in programs[:10]]
    for number, program in enumerate(programs):  # beside each of them, and where each of them would be
        path = store.path(key(program, DIGEST))
        path.parent.mkdir(exist_ok=True)
        os.link(cached[0], path.with_name(f"{path.name[:2]}{number:014x}-01234567.parquet"))
    read, read_bytes = [], Path.read_bytes

    def counting(path: Path) -> bytes:
        content = read_bytes(path)
        read.append(path)
        return content

    monkeypatch.setattr(Path, "read_bytes", counting)
    experiments = {"many": lambda preset: tuple(programs)}
    arguments = ["--list", "--cache", str(store.folder)]
    assert run_all.main(arguments, experiments=experiments, data_digest=DIGEST) == 0
    assert "many: 10 of 20 results cached\n  10 not computed yet\n" in capsys.readouterr().out
    assert read == cached


# Interrupted, killed, concurrent


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute with one thread in this process, as `start` does in others."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_killed_process_resumes_and_ends_with_the_same_curves(
    tmp_path: Path, one_thread: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bitwise, with the same number of threads; each part starts where the previous one ended."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    previous = 0
    for _ in range(2):
        with start(killed, "--only", "long") as process:
            wait_for_checkpoint(killed, process, previous)
            time.sleep(random.uniform(0, 0.1))
            process.kill()
        assert process.returncode == -signal.SIGKILL
        previous = newest_checkpoint(killed)
    options = ("--only", "long", "--device", "cpu", "--cache")
    assert campaigns.main(*options, killed) == 0
    assert computed(capsys.readouterr().out) == 2
    assert campaigns.main(*options, whole) == 0
    jobs = campaigns.long("full")
    pd.testing.assert_frame_equal(rows(Store(killed), jobs), rows(Store(whole), jobs), check_exact=True)
    assert not list((killed / "checkpoints").glob("*.pt"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_reported_in_one_line(
    tmp_path: Path,
    number: signal.Signals,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "SAVE_SECONDS", campaigns.SAVE_SECONDS)
    with interrupt_once(lambda: newest_checkpoint(tmp_path), number):
        assert campaigns.main("--only", "endless", "--device", "cpu", "--cache", tmp_path) == 130
    printed = capsys.readouterr()
    assert computed(printed.out) == 0
    assert printed.err.strip() == "run_all: interrupted; run the same command again to resume"


@pytest.mark.parametrize("damage", [False, True])
def test_a_damaged_or_meaningless_checkpoint_is_ignored(
    store: Store, damage: bool, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert campaigns.main("--only", "shared", "--device", "cpu", "--cache", store.folder) == 0
    jobs = campaigns.shared("full")
    keys = [key(job, DIGEST) for job in jobs]
    backend = training.backend_name([job for job in jobs if isinstance(job, Run)], torch.device("cpu"))
    before = rows(store, jobs)
    for name in keys:
        store.path(name).unlink()
    checkpoints.save(store.folder, keys, backend, 1.0, {"nonsense": torch.arange(3)})
    if damage:
        path = checkpoints.path(store.folder, keys)
        path.write_bytes(path.read_bytes()[:-1])
    capsys.readouterr()

    assert campaigns.main("--only", "shared", "--device", "cpu", "--cache", store.folder) == 0
    assert computed(capsys.readouterr().out) == 2
    assert ("is damaged" in caplog.text) == damage
    pd.testing.assert_frame_equal(rows(store, jobs), before, check_exact=True)
    assert not checkpoints.find_all(store.folder)


def test_two_processes_compute_each_job_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = tmp_path / "notes"
    cache = tmp_path / "cache"
    monkeypatch.setenv("NOTES", str(notes))
    monkeypatch.setattr(scheduler, "POLL_SECONDS", 0.05)
    with start(cache, "--only", "crowd") as other:
        wait_until(lambda: other.poll() is not None or list(cache.rglob("*.parquet")))
        assert campaigns.main("--only", "crowd", "--device", "cpu", "--cache", cache) == 0
        output, errors = other.communicate()
    assert other.returncode == 0, errors
    assert sorted(map(int, notes.read_text().split())) == list(range(12))
    jobs = campaigns.crowd("full")
    # A process that starts when all results are cached has nothing to compute.
    outputs = [each for each in (output, capsys.readouterr().out) if "to compute" in each]
    assert sum(map(computed, outputs)) == len(jobs)
    rows(Store(cache), jobs)  # all are cached


def test_the_jobs_of_a_killed_process_are_taken_over(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """This process waits for what another is computing, and computes it once the other is killed."""
    monkeypatch.setattr(scheduler, "POLL_SECONDS", 0.05)
    with start(tmp_path, "--only", "long") as other:
        wait_for_checkpoint(tmp_path, other)
        other.send_signal(signal.SIGSTOP)  # it must not finish before this process begins
        with once(lambda: "waiting for 2 results" in caplog.text, other.kill):
            assert campaigns.main("--only", "long", "--device", "cpu", "--cache", tmp_path) == 0
    assert other.returncode == -signal.SIGKILL
    assert computed(capsys.readouterr().out) == 2
