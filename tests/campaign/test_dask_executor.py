"""Workers of a Dask cluster compute a campaign, whatever happens to them; the driver alone writes the cache."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from digits import DIGEST
from test_run_all import ONE_THREAD, computed, rows, start

from analysis.campaign.store import Store
from tests.helpers import campaigns

pytest.importorskip("torch")
distributed = pytest.importorskip("distributed")
cluster = pytest.importorskip("analysis.campaign.dask_executor")

ROOT = Path(__file__).parents[2]
# Workers under test cannot write results or checkpoints.
ONLY_READ = """
from analysis.campaign import checkpoints
from analysis.campaign import store

store.Store.write = store.Store.claim = checkpoints.save = None
"""


def dask(folder: Path, *arguments: str, path: str = "") -> subprocess.Popen[bytes]:
    """A process of the cluster, which imports from `path` first."""
    with open(folder / "log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments, "--no-dashboard"],
            cwd=folder,
            stdout=log,
            stderr=log,
            env={**os.environ, **ONE_THREAD, "PYTHONPATH": f"{path}:{ROOT}"},
        )


class Workers:
    """A scheduler and its workers, all processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes = [
            dask(folder, "scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", "file")
        ]
        while not (folder / "file").exists():
            assert self.processes[0].poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        self.address = json.loads((folder / "file").read_text())["address"]
        self.client = distributed.Client(self.address, set_as_default=False)

    def bring(self, count: int, path: str = "") -> None:
        """Start workers until there are so many; they import from `path` first."""
        for _ in range(count - len(self.client.nthreads())):
            options = ("--nthreads", "1", "--no-nanny", "--preload", ONLY_READ)
            self.processes.append(dask(self.folder, "worker", self.address, *options, path=path))
        self.client.wait_for_workers(count, timeout=60)

    def busy(self) -> list[int]:
        """Process ids of the workers that compute."""
        found = self.client.run(lambda dask_worker: (os.getpid(), len(dask_worker.state.executing)))
        return [pid for pid, executing in found.values() if executing]

    def wait_until_busy(self, count: int) -> list[int]:
        """Wait until so many workers compute; gives their process ids."""
        deadline = time.monotonic() + 60
        while len(found := self.busy()) != count:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return found

    @contextlib.contextmanager
    def kill_one(self, number: int, count: int) -> Iterator[None]:
        """Kill a process (0: the scheduler) as soon as so many workers compute what the block sends to them."""

        def kill() -> None:
            self.wait_until_busy(count)
            time.sleep(0.2)
            self.processes[number].kill()

        killer = threading.Thread(target=kill)
        killer.start()
        yield
        killer.join()

    def stop(self) -> None:
        """End all processes."""
        self.client.close()
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """A cluster, without workers at first."""
    started = Workers(tmp_path_factory.mktemp("workers"))
    yield started
    started.stop()


def test_a_worker_is_killed_and_the_results_are_those_of_one_machine(
    workers: Workers,
    tmp_path: Path,
    store: Store,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    workers.bring(2)
    options = ("--only", "small", "long", "--device", "cpu", "--cache")
    with workers.kill_one(-1, count=2):
        assert campaigns.main("--dask", workers.address, *options, tmp_path / "cluster") == 0
    printed = capsys.readouterr().out
    assert "6 results to compute in 4 tasks on 2 workers of tcp://127.0.0.1:" in printed
    assert computed(printed) == 6
    assert "is gone: another does 784-8-10 sgd η=0." in caplog.text

    assert campaigns.main(*options, store.folder) == 0
    jobs = [*campaigns.small("full"), *campaigns.long("full")]
    found = Store(tmp_path / "cluster")
    pd.testing.assert_frame_equal(rows(found, jobs), rows(store, jobs), rtol=1e-4)
    provenance = found.provenance(jobs[0], DIGEST)
    assert (provenance.device, provenance.threads) == ("cpu", 1)
    assert provenance.backend == "torch on cpu"
    assert provenance.seconds > 0


def test_stopping_the_driver_stops_the_workers_and_keeps_what_has_arrived(
    workers: Workers, tmp_path: Path
) -> None:
    workers.bring(2)
    with start(tmp_path, "--dask", workers.address, "--only", "small", "endless") as driver:
        while len(list(tmp_path.rglob("*.parquet"))) < 4:
            assert driver.poll() is None, driver.communicate()
            time.sleep(0.05)
        workers.wait_until_busy(1)
        driver.send_signal(signal.SIGINT)
        output, errors = driver.communicate()
    assert driver.returncode == 130
    assert computed(output) == 4
    assert errors.strip() == "run_all: stopped; give the same command again to go on from here"
    workers.wait_until_busy(0)


def test_a_failing_job_is_named_and_the_others_go_on(
    workers: Workers, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    workers.bring(2)
    assert campaigns.main("--only", "broken", "--dask", workers.address, "--cache", store.folder) == 1
    printed = capsys.readouterr()
    assert computed(printed.out) == 1
    failure, missing = sorted(line for line in printed.err.splitlines() if "failed" in line)
    assert failure.startswith("run_all: failed: broken: campaigns.fail(): RuntimeError: this one cannot work")
    assert "a program returns a table, not None" in missing


def test_what_kills_every_worker_is_given_up(
    workers: Workers, store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "DEATHS", 1)
    workers.bring(2)
    assert campaigns.main("--only", "deadly", "--dask", workers.address, "--cache", store.folder) == 1
    printed = capsys.readouterr()
    assert computed(printed.out) == 1
    assert "run_all: failed: deadly: campaigns.die(): 1 workers died while at it" in printed.err


def test_workers_without_data_end_with_2(
    workers: Workers, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    workers.bring(1)
    for name in ("small", "broken"):  # with and without runs
        options = ("--only", name, "--dask", workers.address, "--cache", store.folder)
        assert campaigns.main(*options, load=campaigns.no_data) == 2
        assert "MNIST is not to be had" in capsys.readouterr().err


def test_a_device_that_workers_do_not_have_ends_with_2(
    workers: Workers, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    workers.bring(1)
    options = ("--only", "small", "--dask", workers.address, "--device", "mps", "--cache", store.folder)
    assert campaigns.main(*options) == 2
    assert "run_all: worker tcp://127.0.0.1:" in (error := capsys.readouterr().err)
    assert "there is no mps device here" in error


def test_workers_with_another_engine_end_with_2(
    workers: Workers, tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "analysis", tmp_path / "analysis")
    file = tmp_path / "analysis" / "runs.py"
    file.write_text(file.read_text().replace("ENGINE_VERSION = ", "ENGINE_VERSION = 1000 + "))
    workers.bring(1)
    workers.bring(2, path=str(tmp_path))
    options = ("--only", "small", "--dask", workers.address, "--cache", store.folder)
    assert campaigns.main(*options) == 2
    workers.processes[-1].kill()
    error = capsys.readouterr().err
    assert "its code is not the driver's: engine 1001, source" in error
    assert "not engine 1, source" in error
    assert "Traceback" not in error
    assert not list(store.folder.rglob("*.parquet"))


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:1", "127.0.0.1", "tls://127.0.0.1:1", "nonsense://127.0.0.1:1", ""]
)
def test_a_scheduler_that_is_not_there_ends_with_2(
    address: str, store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
    started = time.monotonic()
    assert campaigns.main("--only", "small", "--dask", address, "--cache", store.folder) == 2
    assert time.monotonic() - started < 5
    error = capsys.readouterr().err
    assert f"run_all: the Dask scheduler {address} cannot be reached" in error
    assert "Traceback" not in error


def test_something_else_that_listens_is_no_scheduler(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        assert campaigns.main("--only", "small", "--dask", address, "--cache", store.folder) == 2
    assert f"the Dask scheduler {address} cannot be reached (TimeoutError)" in capsys.readouterr().err


def test_without_dask_it_ends_with_2(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "analysis.campaign.dask_executor")
    monkeypatch.delattr("analysis.campaign.dask_executor")
    assert campaigns.main("--only", "small", "--dask", "tcp://127.0.0.1:1", "--cache", store.folder) == 2
    assert "run_all: --dask needs Dask: pip install '.[train,cluster]'" in capsys.readouterr().err


def test_a_scheduler_that_goes_away_ends_with_2(
    workers: Workers, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last test here: the cluster is gone."""
    workers.bring(1)
    with workers.kill_one(0, count=1):
        options = ("--dask", workers.address, "--only", "endless", "--cache", store.folder)
        assert campaigns.main(*options) == 2
    error = capsys.readouterr().err
    assert "what has arrived" in error
    assert "Traceback" not in error
