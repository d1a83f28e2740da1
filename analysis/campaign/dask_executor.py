"""Compute tasks on a Dask cluster: `python -m analysis.run_all --dask tcp://host:8786`.

Install this same code on every machine of the cluster (`pip install '.[train,cluster]'`) and start one worker per GPU;
`--nthreads` is the number of CPU threads per task, and OMP_WAIT_POLICY keeps waiting threads from busy cores:

    dask scheduler                                                              # on host
    CUDA_VISIBLE_DEVICES=0 dask worker tcp://host:8786 --nworkers 1 --nthreads 4  # one for each GPU
    OMP_WAIT_POLICY=PASSIVE dask worker tcp://host:8786 --nworkers 1 --nthreads 16  # or a machine's 16 cores

Under Slurm, dask-jobqueue starts such workers as jobs; keep this script running beside `run_all`:

    from dask_jobqueue import SLURMCluster

    cluster = SLURMCluster(
        cores=8, processes=1, memory="16GB", walltime="08:00:00",  # of one job: one worker
        queue="gpu", job_extra_directives=["--gres=gpu:1"],        # with one GPU
        scheduler_options={"port": 8786},
    )
    cluster.scale(jobs=8)
    input("Press Enter to shut the cluster down")

Workers may join and leave at any time: each computes one task at a time, and the task of a worker that dies restarts on
another.
Workers download and verify MNIST themselves; only the driver, the process of `run_all`, writes the cache.
Programs are sent as references to their functions, so workers with other code than the driver's are refused.
Driver and workers exchange pickles, as always in Dask: use only clusters whose users you trust.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import logging
import math
import queue
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from distributed import Client, Future, KilledWorker, Security, get_worker, rpc

from analysis import data
from analysis.campaign.keys import Job
from analysis.campaign.scheduler import Report, Task
from analysis.campaign.worker import (
    PACKAGE,
    Environment,
    Outcome,
    Worker,
    current_environment,
    find_device,
    measure_speed,
)
from analysis.engine import training
from analysis.engine.run import ENGINE_VERSION, Run
from analysis.errors import AnalysisError, ClusterError

if TYPE_CHECKING:
    from distributed import Worker as DaskWorker

CONNECT_SECONDS = 5.0
GATHER_SECONDS = 60.0  # a worker that takes longer to hand over a result counts as dead
POLL_SECONDS = 1.0  # between checks which workers are connected, and between progress messages of a worker
MAX_DEATHS = 3  # of workers computing a task, until the task is considered the cause

log = logging.getLogger(__name__)


def source_digest(package: Path = PACKAGE) -> str:
    """Return SHA-256 over all code of a package."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


_SOURCE = source_digest()  # of the code as loaded by this process


@dataclass(frozen=True)
class WorkerConfig:
    """What the driver sends to workers.

    Attributes:
        device: Name of the device to use.
        load: Loads the data set from a folder.
        folder: Folder of the data on the workers; None for their default.
        engine, source: Version and digest of the driver's code.
        topic: Dask topic of the progress messages.
    """

    device: str
    load: Callable[[Path], data.Data]
    folder: Path | None
    engine: int = ENGINE_VERSION
    source: str = _SOURCE
    topic: str = field(default_factory=lambda: f"progress-{uuid.uuid4().hex}")


# On workers


class _Cancelled(BaseException):
    """The driver no longer wants the result. (Not an Exception, which would count as a failure of the job.)"""


_task_lock = threading.Lock()  # one task at a time, even if several drivers share a worker


def _worker_info(config: WorkerConfig, dask_worker: DaskWorker) -> tuple[Environment, float]:
    """Return the worker's environment and expected speed."""
    device = _device(config, dask_worker)
    return _environment(device), measure_speed(device)


def _form_stacks(runs: list[Run], config: WorkerConfig) -> list[tuple[list[Run], str]]:
    """Group runs into stacks for this worker's device."""
    with _task_lock:
        return _worker(config).form_stacks(runs)


def _compute(jobs: dict[str, Job], config: WorkerConfig) -> list[Outcome]:
    """Compute one task's jobs."""
    dask_worker = get_worker()
    name = dask_worker.get_current_task()
    reported = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal reported
        task = dask_worker.state.tasks.get(name)
        if task is None or task.state != "executing":
            raise _Cancelled
        if time.monotonic() - reported > POLL_SECONDS:
            reported = time.monotonic()
            dask_worker.log_event(config.topic, [name, done, total])

    with _task_lock:
        return list(_worker(config).compute(jobs, progress))


def _worker(config: WorkerConfig) -> Worker:
    """Return the worker of this process."""
    device = _device(config, get_worker())
    return Worker(_data(config.load, config.folder or data.FOLDER), device, _environment(device))


def _device(config: WorkerConfig, dask_worker: DaskWorker) -> torch.device:
    """Set the number of threads and return the device.

    Raises:
        ClusterError: The worker runs other code than the driver.
        DeviceError: The worker has no such device.
    """
    if (config.engine, config.source) != (ENGINE_VERSION, _SOURCE):
        raise ClusterError(
            f"its code differs from the driver's: engine {ENGINE_VERSION}, source {_SOURCE[:12]}… instead of "
            f"engine {config.engine}, source {config.source[:12]}…; install the same code and restart the worker"
        )
    torch.set_num_threads(dask_worker.state.nthreads)
    return find_device(config.device)


@functools.cache
def _data(load: Callable[[Path], data.Data], folder: Path) -> data.Data:
    """Return the data set, loaded once per worker process."""
    return load(folder)


@functools.cache
def _environment(device: torch.device) -> Environment:
    """Return the environment, with the commit at the time when the code was loaded."""
    return current_environment(device)


# On the driver


@dataclass(frozen=True)
class DaskExecutor:
    """Computes tasks on the workers of a cluster, one at a time on each.

    Attributes:
        client: Connection to the Dask scheduler.
        address: Address of the Dask scheduler.
        config: Sent to workers.
        environment: Environment of one worker; all should be alike.
        speed: Expected floating-point operations per second of one worker.
        size: Number of workers at the start.
    """

    client: Client
    address: str
    config: WorkerConfig
    environment: Environment
    speed: float
    size: int

    def __str__(self) -> str:
        workers = "1 worker" if self.size == 1 else f"{self.size} workers"
        return f"{workers} of {self.address}, {self.environment}"

    def form_stacks(self, runs: list[Run]) -> list[tuple[list[Run], str]]:
        """Form stacks as a worker would; split any that exceeds one worker's share of the work."""
        if not runs:
            return []
        with _wrap_connection_errors(self.address):
            future = self.client.submit(_form_stacks, runs, self.config, pure=False)
        try:
            stacks = future.result()
        except Exception as error:
            if _is_lost(future, error):
                raise self._lost_connection() from error
            raise ClusterError(_worker_error(self.address, error)) from error
        share = sum(map(training.estimate_flops, runs)) / self.size
        pieces = []
        for stack, backend in stacks:
            count = min(len(stack), math.ceil(sum(map(training.estimate_flops, stack)) / share))
            length = math.ceil(len(stack) / count)
            pieces += [(stack[begin : begin + length], backend) for begin in range(0, len(stack), length)]
        return pieces

    def order(self, tasks: list[Task]) -> list[Task]:
        """Put long tasks first, so that all workers finish at about the same time."""
        return sorted(tasks, key=lambda task: -task.seconds)

    def compute(self, tasks: Iterator[Task], report: Report) -> Iterator[Outcome]:
        """Keep all workers busy; restart the task of a worker that dies on another."""
        events: queue.SimpleQueue[tuple[str, int, int]] = queue.SimpleQueue()  # a future's key, done, total
        self.client.subscribe_topic(self.config.topic, lambda event: events.put(event[1]))
        connected: set[str] = set()
        checked = -math.inf
        running: dict[str, tuple[Task, Future[list[Outcome]]]] = {}  # by address of the worker
        waiting: deque[Task] = deque()  # for a worker; first those to be restarted
        deaths: Counter[Task] = Counter()
        unresponsive: set[str] = set()  # workers that do not hand over a result
        unfit: dict[str, str] = {}  # errors of workers that cannot compute
        while True:
            if time.monotonic() - checked > POLL_SECONDS:
                before, connected = connected, self._workers()
                checked = time.monotonic()
                if before and not connected:
                    log.warning("all workers are gone: waiting for new ones")
                if connected and connected <= unfit.keys():
                    raise ClusterError(unfit[min(connected)])
            for address in running.keys() - (connected - unresponsive):
                task, future = running.pop(address)
                future.cancel()
                deaths[task] += 1
                if deaths[task] < MAX_DEATHS:
                    log.warning("worker %s is gone: restarting %s on another", address, task.label)
                    waiting.appendleft(task)
                else:
                    workers = "1 worker" if deaths[task] == 1 else f"{deaths[task]} workers"
                    yield from ((name, f"{workers} died while computing it") for name in task.jobs)
            idle = sorted(connected - unresponsive - unfit.keys() - running.keys())
            while len(waiting) < max(len(idle), 1) and (new := next(tasks, None)) is not None:
                waiting.append(new)
            if not waiting and not running:
                return
            for address in idle[: len(waiting)]:
                task = waiting.popleft()
                running[address] = task, self._submit(task, address, events)
                report(task, 0, 1)
            with contextlib.suppress(queue.Empty):
                key, done, total = events.get(timeout=POLL_SECONDS)
                address = next((at for at, (_, future) in running.items() if future.key == key), "")
                if not address:
                    continue  # from a worker that was given up
                task, future = running[address]
                if total:
                    report(task, done, total)
                    continue
                try:
                    outcomes = future.result(timeout=GATHER_SECONDS)
                except (TimeoutError, KilledWorker):
                    unresponsive.add(address)
                except Exception as error:
                    if _is_lost(future, error):
                        raise self._lost_connection() from error
                    unfit[address] = _worker_error(address, error)
                    log.warning("%s", unfit[address])
                    del running[address]
                    waiting.appendleft(task)
                else:
                    del running[address]
                    report(task, 1, 1)
                    yield from outcomes

    def _lost_connection(self) -> ClusterError:
        """Return the error to raise when the scheduler is gone."""
        return ClusterError(
            f"lost the connection to the Dask scheduler {self.address}; results received so far are stored: "
            "start the scheduler again, then run the same command again"
        )

    def _workers(self) -> set[str]:
        """Return the addresses of the workers that are connected."""
        with _wrap_connection_errors(self.address):
            return set(self.client.nthreads())

    def _submit(
        self, task: Task, address: str, events: queue.SimpleQueue[tuple[str, int, int]]
    ) -> Future[list[Outcome]]:
        """Submit a task to a worker; its completion is an event with a total of 0."""
        with _wrap_connection_errors(self.address):
            future = self.client.submit(_compute, task.jobs, self.config, pure=False, workers=[address])
        future.add_done_callback(lambda future: events.put((future.key, 0, 0)))
        return future


@contextlib.contextmanager
def connect(address: str, config: WorkerConfig) -> Iterator[DaskExecutor]:
    """Connect to the Dask scheduler at that address and wait for a worker.

    Raises:
        ClusterError: The scheduler cannot be reached, or a worker cannot compute.
    """
    for name in ("distributed", "distributed.client"):  # they log tracebacks of errors that are reported here
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with _wrap_connection_errors(address):
        asyncio.run(asyncio.wait_for(_ping(address), CONNECT_SECONDS))
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    with client:
        workers: dict[str, tuple[Environment, float]] = {}
        waiting = False
        while not workers:
            with _wrap_connection_errors(address):
                answers = client.run(_worker_info, config, on_error="return")
            for worker, answer in answers.items():
                if isinstance(answer, OSError):
                    continue  # it has just died
                if isinstance(answer, Exception):
                    raise ClusterError(_worker_error(worker, answer))
                workers[worker] = answer
            if not workers:
                if not waiting:
                    log.info("no worker is connected to %s yet: waiting", address)
                waiting = True
                time.sleep(POLL_SECONDS)
        environment, speed = next(iter(workers.values()))
        yield DaskExecutor(client, address, config, environment, speed, len(workers))


async def _ping(address: str) -> None:
    """Check that a Dask scheduler answers. (If something else listens there, a Client would wait forever.)"""
    async with rpc(address, connection_args=Security().get_connection_args("client")) as scheduler:
        await scheduler.identity()


@contextlib.contextmanager
def _wrap_connection_errors(address: str) -> Iterator[None]:
    """Convert errors of the connection to the scheduler into a ClusterError."""
    try:
        yield
    except Exception as error:  # an address may be wrong in many ways
        raise ClusterError(
            f"cannot reach the Dask scheduler {address} ({str(error) or type(error).__name__}); check the address "
            "and that it is running; results received so far are stored"
        ) from error


def _is_lost(future: Future[Any], error: Exception) -> bool:
    """Return whether a result is missing because the connection is lost, not because its task failed.

    The client fetches results by way of the scheduler, and cancels all futures once it gives up reconnecting.
    """
    return future.status != "error" and isinstance(error, OSError | CancelledError)


def _worker_error(worker: str, error: Exception) -> str:
    """Return the message for an error on a worker."""
    if isinstance(error, AnalysisError):
        return f"worker {worker}: {error}"
    return (
        f"worker {worker}: {type(error).__name__}: {error}; "
        "is the same code installed there (pip install '.[train,cluster]')?"
    )
