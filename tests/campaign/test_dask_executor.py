"""Workers of a Dask cluster compute the results, despite deaths and failures; only the driver writes the cache."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from analysis.campaign.scheduler import Task
from analysis.campaign.store import Store
from analysis.errors import ClusterError
from tests.helpers import campaigns
from tests.helpers.campaigns import ONE_THREAD, computed, interrupt_once, once, rows, wait_until
from tests.helpers.digits import DIGEST

pytest.importorskip("torch")
distributed = pytest.importorskip("distributed")
dask_executor = pytest.importorskip("analysis.campaign.dask_executor")
ROOT = Path(__file__).parents[2]
# Workers under test cannot write results or checkpoints.
READ_ONLY = """
from analysis.campaign import checkpoints
from analysis.campaign import store

store.Store.write = store.Store.lock = checkpoints.save = None
"""


def dask(folder: Path, *arguments: str, path: str = "") -> subprocess.Popen[bytes]:
    """Start a process of the cluster, which imports from `path` first."""
    with open(folder / "log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments, "--no-dashboard"],
            cwd=folder,
            stdout=log,
            stderr=log,
            env={**os.environ, **ONE_THREAD, "PYTHONPATH": f"{path}:{ROOT}"},
        )


class Cluster:
    """A Dask scheduler and its workers, each a separate process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes = [
            dask(folder, "scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", "file")
        ]
        wait_until(lambda: self._address() or self.processes[0].poll() is not None)
        assert self.processes[0].returncode is None, (folder / "log").read_text()
        self.address = self._address()
        self.client = distributed.Client(self.address, set_as_default=False)

    def _address(self) -> str:
        """Return the scheduler's address; empty before it has written all of its file."""
        try:
            return str(json.loads((self.folder / "file").read_text())["address"])
        except (FileNotFoundError, json.JSONDecodeError):
            return ""

    def scale(self, count: int, path: str = "") -> None:
        """Start workers until there are that many; they import from `path` first."""
        for _ in range(count - len(self.client.nthreads())):
            options = ("--nthreads", "1", "--no-nanny", "--preload", READ_ONLY)
            self.processes.append(dask(self.folder, "worker", self.address, *options, path=path))
        self.client.wait_for_workers(count, timeout=60)

    def busy(self) -> int:
        """Return how many workers are computing."""
        executing = self.client.run(lambda dask_worker: len(dask_worker.state.executing))
        return sum(map(bool, executing.values()))

    def stop(self) -> None:
        """End all processes."""
        self.client.close()
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster, without workers at first."""
    started = Cluster(tmp_path_factory.mktemp("cluster"))
    yield started
    started.stop()


@pytest.fixture(autouse=True)
def frequent_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the driver detect dead workers soon."""
    monkeypatch.setattr(dask_executor, "POLL_SECONDS", 0.1)


def test_interrupting_the_driver_stops_the_workers_and_keeps_results(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.scale(2)
    with interrupt_once(lambda: len(list(tmp_path.rglob("*.parquet"))) == 4 and cluster.busy() == 1):
        options = ("--only", "small", "endless", "--device", "cpu", "--cache", tmp_path)
        assert campaigns.main("--dask", cluster.address, *options) == 130
    printed = capsys.readouterr()
    assert computed(printed.out) == 4
    assert printed.err.strip() == "run_all: interrupted; run the same command again to resume"
    wait_until(lambda: cluster.busy() == 0)


def test_a_killed_worker_is_replaced_and_results_equal_local_ones(
    cluster: Cluster,
    tmp_path: Path,
    store: Store,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster.scale(2)
    options = ("--only", "small", "long", "--device", "cpu", "--cache")
    with once(lambda: cluster.busy() == 2, cluster.processes[-1].kill):
        assert campaigns.main("--dask", cluster.address, *options, tmp_path / "cluster") == 0
    printed = capsys.readouterr().out
    assert "6 results to compute in 4 tasks on 2 workers of tcp://127.0.0.1:" in printed
    assert computed(printed) == 6
    assert "is gone: restarting 784-8-10 sgd η=0." in caplog.text

    assert campaigns.main(*options, store.folder) == 0
    jobs = [*campaigns.small("full"), *campaigns.long("full")]
    found = Store(tmp_path / "cluster")
    pd.testing.assert_frame_equal(rows(found, jobs), rows(store, jobs), rtol=1e-4)
    provenance = found.provenance(jobs[0], DIGEST)
    assert (provenance.device, provenance.threads) == ("cpu", 1)
    assert provenance.backend == "torch on cpu"
    assert provenance.seconds > 0


def test_a_failing_job_is_reported_and_others_continue(
    cluster: Cluster, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.scale(2)
    assert campaigns.main("--only", "broken", "--dask", cluster.address, "--cache", store.folder) == 1
    printed = capsys.readouterr()
    assert computed(printed.out) == 1
    failure, no_table = sorted(line for line in printed.err.splitlines() if "failed" in line)
    assert failure.startswith("run_all: failed: broken: campaigns.fail(): RuntimeError: this one cannot work")
    assert "a program must return a DataFrame, not None" in no_table


def test_a_task_that_kills_its_workers_is_given_up(
    cluster: Cluster, store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_executor, "MAX_DEATHS", 1)
    cluster.scale(2)
    assert campaigns.main("--only", "deadly", "--dask", cluster.address, "--cache", store.folder) == 1
    printed = capsys.readouterr()
    assert computed(printed.out) == 1
    assert "run_all: failed: deadly: campaigns.die(): 1 worker died while computing it" in printed.err


def test_workers_without_data_exit_with_2(
    cluster: Cluster, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.scale(1)
    for name in ("small", "broken"):  # with and without runs
        options = ("--only", name, "--dask", cluster.address, "--cache", store.folder)
        assert campaigns.main(*options, load=campaigns.no_data) == 2
        assert "Could not obtain MNIST" in capsys.readouterr().err


def test_a_device_that_workers_lack_exits_with_2(
    cluster: Cluster, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.scale(1)
    options = ("--only", "small", "--dask", cluster.address, "--device", "mps", "--cache", store.folder)
    assert campaigns.main(*options) == 2
    assert "run_all: worker tcp://127.0.0.1:" in (error := capsys.readouterr().err)
    assert "no mps device is available" in error


def test_workers_with_another_engine_exit_with_2(
    cluster: Cluster, tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "analysis", tmp_path / "analysis")
    file = tmp_path / "analysis" / "engine" / "run.py"
    file.write_text(file.read_text().replace("ENGINE_VERSION = ", "ENGINE_VERSION = 1000 + "))
    cluster.scale(1)
    cluster.scale(2, path=str(tmp_path))
    options = ("--only", "small", "--dask", cluster.address, "--cache", store.folder)
    assert campaigns.main(*options) == 2
    cluster.processes[-1].kill()
    error = capsys.readouterr().err
    assert "its code differs from the driver's: engine 1001, source" in error
    assert "instead of engine 1, source" in error
    assert "Traceback" not in error
    assert not list(store.folder.rglob("*.parquet"))


def test_the_source_digest_covers_the_whole_package(tmp_path: Path) -> None:
    """Programs are sent by reference, so a worker must have the same code in every module."""
    package = shutil.copytree(ROOT / "analysis", tmp_path / "analysis")
    assert dask_executor.source_digest(package) == dask_executor.source_digest()
    digests = {dask_executor.source_digest()}
    modules = ["run_all.py", "engine/run.py", "campaign/worker.py", "questions/minibatch/runs.py"]
    for name in modules:
        with open(package / name, "a") as file:
            file.write("# changed\n")
        digests.add(dask_executor.source_digest(package))
    assert len(digests) == 1 + len(modules)


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:1", "127.0.0.1", "tls://127.0.0.1:1", "nonsense://127.0.0.1:1", ""]
)
def test_an_absent_scheduler_exits_with_2(
    address: str, store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After one attempt to connect; Dask's client, which retries for long, is never created."""
    clients: list[object] = []
    monkeypatch.setattr(dask_executor, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(dask_executor, "Client", lambda *arguments, **_: clients.append(arguments))
    assert campaigns.main("--only", "small", "--dask", address, "--cache", store.folder) == 2
    error = capsys.readouterr().err
    assert f"run_all: cannot reach the Dask scheduler {address}" in error
    assert "Traceback" not in error
    assert clients == []


def test_a_server_that_is_not_a_scheduler_exits_with_2(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_executor, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        assert campaigns.main("--only", "small", "--dask", address, "--cache", store.folder) == 2
    assert f"cannot reach the Dask scheduler {address} (TimeoutError)" in capsys.readouterr().err


def test_without_dask_it_exits_with_2(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "analysis.campaign.dask_executor")
    monkeypatch.delattr("analysis.campaign.dask_executor")
    assert campaigns.main("--only", "small", "--dask", "tcp://127.0.0.1:1", "--cache", store.folder) == 2
    assert "run_all: --dask requires Dask: pip install '.[train,cluster]'" in capsys.readouterr().err


class Lost:
    """A client whose scheduler is gone, and the future it gives: the task is pending, its result out of reach."""

    key, status = "task", "pending"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def submit(self, *_: object, **__: object) -> Lost:
        return self

    def add_done_callback(self, callback: Callable[[Lost], object]) -> None:
        callback(self)

    def result(self, timeout: float | None = None) -> None:
        raise self.error

    def nthreads(self) -> dict[str, int]:
        return {"tcp://127.0.0.1:1": 1}

    def subscribe_topic(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    "error",
    [
        distributed.comm.core.CommClosedError("in <TCP (closed) ConnectionPool.gather>: Stream is closed"),
        OSError("Timed out trying to connect to tcp://127.0.0.1:1 after 5 s"),
        distributed.CancelledError("task"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_losing_the_scheduler_is_told_however_the_client_notices(error: Exception) -> None:
    """While stacks are formed and while they are computed; such an error is no fault of a worker."""
    config = dask_executor.WorkerConfig("cpu", campaigns.no_data, None)
    executor = dask_executor.DaskExecutor(Lost(error), "tcp://127.0.0.1:1", config, None, 1.0, 1)
    jobs = campaigns.shared("full")
    tasks = iter([Task(dict(enumerate(jobs)), 1.0)])
    message = r"lost the connection .*; results received so far are stored"
    with pytest.raises(ClusterError, match=message):
        executor.form_stacks(list(jobs))
    with pytest.raises(ClusterError, match=message):
        list(executor.compute(tasks, lambda *_: None))


def test_losing_the_scheduler_exits_with_2(
    cluster: Cluster, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last test here: it kills the cluster."""
    cluster.scale(1)
    with once(lambda: cluster.busy() == 1, cluster.processes[0].kill):
        options = ("--dask", cluster.address, "--only", "endless", "--cache", store.folder)
        assert campaigns.main(*options) == 2
    error = capsys.readouterr().err
    assert "results received so far are stored" in error
    assert "Traceback" not in error
