"""Has a Dask cluster compute a campaign's tasks: `python -m analysis.run_all --dask tcp://host:8786`.

On every machine of the cluster, with this same code installed (`pip install '.[train,cluster]'`), start one worker
per GPU; `--nthreads` is the number of CPU threads that a stack may use:

    dask scheduler                                                              # on host
    CUDA_VISIBLE_DEVICES=0 dask worker tcp://host:8786 --nworkers 1 --nthreads 4  # one for each GPU
    dask worker tcp://host:8786 --nworkers 1 --nthreads 16                        # or a machine's 16 cores

Under Slurm, dask-jobqueue starts such workers as jobs; keep this running beside `run_all`:

    from dask_jobqueue import SLURMCluster

    cluster = SLURMCluster(
        cores=8, processes=1, memory="16GB", walltime="08:00:00",  # of one job: one worker
        queue="gpu", job_extra_directives=["--gres=gpu:1"],        # with one GPU
        scheduler_options={"port": 8786},
    )
    cluster.scale(jobs=8)
    input("Enter ends the cluster")

Workers may come and go: each that is there gets one task at a time, and the task of one that dies is given to
another, from its start.
They fetch and verify MNIST themselves; the driver, where `run_all` runs, is alone in writing the cache.
Driver and workers exchange pickles, as always in Dask: keep to clusters whose users you trust.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from distributed import Client, Future, KilledWorker, Security, get_worker, rpc

from analysis import data
from analysis.campaign.keys import Job
from analysis.campaign.scheduler import Task
from analysis.campaign.worker import (
    Environment,
    Outcome,
    Worker,
    current_environment,
    expected_speed,
    find_device,
)
from analysis.engine import training
from analysis.engine.run import ENGINE_VERSION, Run
from analysis.errors import AnalysisError, ClusterError

if TYPE_CHECKING:
    from distributed import Worker as DaskWorker

    from analysis.campaign.progress import Progress

CONNECT_SECONDS = 5.0
GATHER_SECONDS = 60.0  # a worker that has a result but does not hand it over in that time counts as dead
POLL_SECONDS = 1.0  # between looks at which workers are there; between messages of one about its progress
DEATHS = 3  # of workers, until a task is to blame

log = logging.getLogger(__name__)


def _source_digest() -> str:
    """SHA-256 over this package's code."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


_SOURCE = _source_digest()  # as it is when a process loads it


@dataclass(frozen=True)
class WorkerConfig:
    """What workers have to know.

    Attributes:
        device: Name of the device that each of them uses.
        load: Gives the data from a folder.
        folder: Where the data lies on workers; None: where they keep it.
        engine, source: Version and digest of the driver's code.
        topic: Under which they tell their progress.
    """

    device: str
    load: Callable[[Path], data.Data]
    folder: Path | None
    engine: int = ENGINE_VERSION
    source: str = _SOURCE
    topic: str = field(default_factory=lambda: f"progress-{uuid.uuid4().hex}")


# What workers do


class _Cancelled(BaseException):
    """Nobody wants the result any more. (No Exception: jobs that fail raise those.)"""


_one_task = threading.Lock()  # at a time, also where several campaigns use a worker


def _worker_info(setting: WorkerConfig, dask_worker: DaskWorker) -> tuple[Environment, float]:
    """What the worker computes with, and the speed to expect."""
    device = _device(setting, dask_worker)
    return _machine(device), expected_speed(device)


def _stacks(runs: list[Run], setting: WorkerConfig) -> list[tuple[list[Run], str]]:
    """The stacks that the runs make on this worker."""
    with _one_task:
        return _computer(setting).stacks(runs)


def _compute(jobs: dict[str, Job], setting: WorkerConfig) -> list[Outcome]:
    """Compute one task's jobs."""
    worker = get_worker()
    name = worker.get_current_task()
    told = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal told
        task = worker.state.tasks.get(name)
        if task is None or task.state != "executing":
            raise _Cancelled
        if time.monotonic() - told > POLL_SECONDS:
            told = time.monotonic()
            worker.log_event(setting.topic, [name, done, total])

    with _one_task:
        return list(_computer(setting).compute(jobs, progress))


def _computer(setting: WorkerConfig) -> Worker:
    """What computes on this worker."""
    device = _device(setting, get_worker())
    return Worker(_data(setting.load, setting.folder or data.FOLDER), device, _machine(device))


def _device(setting: WorkerConfig, worker: DaskWorker) -> torch.device:
    """The worker's device, with its threads, if it has the driver's code.

    Raises:
        ClusterError: It has other code.
        DeviceError: It has no such device.
    """
    if (setting.engine, setting.source) != (ENGINE_VERSION, _SOURCE):
        raise ClusterError(
            f"its code is not the driver's: engine {ENGINE_VERSION}, source {_SOURCE[:12]}…, not engine "
            f"{setting.engine}, source {setting.source[:12]}…; install the same there and start it again"
        )
    torch.set_num_threads(worker.state.nthreads)
    return find_device(setting.device)


@functools.cache
def _data(load: Callable[[Path], data.Data], folder: Path) -> data.Data:
    """The data, loaded once in a worker's life."""
    return load(folder)


@functools.cache
def _machine(device: torch.device) -> Environment:
    """What computes here, with the commit of the time when the code was loaded."""
    return current_environment(device)


# What the driver does


@dataclass(frozen=True)
class Cluster:
    """The workers of a cluster, each of which computes one task at a time.

    Attributes:
        client: The connection to the scheduler.
        address: The scheduler's.
        setting: What workers have to know.
        machine: What one of them computes with; they should be alike.
        speed: Floating-point operations per second that one of them may reach.
        size: How many there were at the beginning.
    """

    client: Client
    address: str
    setting: WorkerConfig
    machine: Environment
    speed: float
    size: int

    def __str__(self) -> str:
        workers = "1 worker" if self.size == 1 else f"{self.size} workers"
        return f"{workers} of {self.address}, {self.machine}"

    def stacks(self, runs: list[Run]) -> list[tuple[list[Run], str]]:
        """The stacks that a worker would form, cut where one is more than a worker's share of all the work."""
        if not runs:
            return []
        try:
            formed = self.client.submit(_stacks, runs, self.setting, pure=False).result()
        except Exception as error:
            raise ClusterError(_named(self.address, error)) from error
        share = sum(map(training.estimate_flops, runs)) / self.size
        pieces = []
        for stack, backend in formed:
            count = min(len(stack), math.ceil(sum(map(training.estimate_flops, stack)) / share))
            length = math.ceil(len(stack) / count)
            pieces += [(stack[begin : begin + length], backend) for begin in range(0, len(stack), length)]
        return pieces

    def order(self, tasks: list[Task]) -> list[Task]:
        """Long ones first: at the end no worker has long to go."""
        return sorted(tasks, key=lambda task: -task.seconds)

    def compute(self, tasks: Iterator[Task], progress: Progress) -> Iterator[Outcome]:
        """Keep all workers busy, and give the task of one that dies to another."""
        events: queue.SimpleQueue[tuple[str, int, int]] = queue.SimpleQueue()  # a future's key; done, total
        self.client.subscribe_topic(self.setting.topic, lambda event: events.put(event[1]))
        present: set[str] = set()
        looked = -math.inf
        at_work: dict[str, tuple[Task, Future[list[Outcome]]]] = {}  # by the worker's address
        waiting: deque[Task] = deque()  # for a worker; first those whose workers died or were unfit
        deaths: Counter[Task] = Counter()
        silent: set[str] = set()  # workers that do not hand over what they have
        unfit: dict[str, str] = {}  # what workers that cannot compute said
        while True:
            if time.monotonic() - looked > POLL_SECONDS:
                before, present = present, self._workers()
                looked = time.monotonic()
                if before and not present:
                    log.warning("no worker is left: waiting for another")
                if present and present <= unfit.keys():
                    raise ClusterError(unfit[min(present)])
            for address in at_work.keys() - (present - silent):
                task, future = at_work.pop(address)
                future.cancel()
                deaths[task] += 1
                if deaths[task] < DEATHS:
                    log.warning("worker %s is gone: another does %s", address, task.label)
                    waiting.appendleft(task)
                else:
                    yield from ((name, f"{DEATHS} workers died while at it") for name in task.jobs)
            idle = sorted(present - silent - unfit.keys() - at_work.keys())
            while len(waiting) < max(len(idle), 1) and (new := next(tasks, None)) is not None:
                waiting.append(new)
            if not waiting and not at_work:
                return
            for address in idle[: len(waiting)]:
                task = waiting.popleft()
                at_work[address] = task, self._submit(task, address, events)
                progress.update(task, 0, 1)
            with contextlib.suppress(queue.Empty):
                key, done, total = events.get(timeout=POLL_SECONDS)
                address = next((at for at, (_, future) in at_work.items() if future.key == key), "")
                if not address:
                    continue  # from a worker that has been given up
                task, future = at_work[address]
                if total:
                    progress.update(task, done, total)
                    continue
                if future.status == "cancelled":
                    raise ClusterError(
                        f"the connection to {self.address} is lost; what has arrived is stored"
                    )
                try:
                    outcomes = future.result(timeout=GATHER_SECONDS)
                except (TimeoutError, KilledWorker):
                    silent.add(address)
                except Exception as error:
                    unfit[address] = _named(address, error)
                    log.warning("%s", unfit[address])
                    del at_work[address]
                    waiting.appendleft(task)
                else:
                    del at_work[address]
                    progress.update(task, 1, 1)
                    yield from outcomes

    def _workers(self) -> set[str]:
        """Addresses of the workers that are there now."""
        with _wrap_connection_errors(self.address):
            return set(self.client.nthreads())

    def _submit(
        self, task: Task, address: str, events: queue.SimpleQueue[tuple[str, int, int]]
    ) -> Future[list[Outcome]]:
        """Have a worker compute a task; its end is an event whose total is 0."""
        future = self.client.submit(_compute, task.jobs, self.setting, pure=False, workers=[address])
        future.add_done_callback(lambda future: events.put((future.key, 0, 0)))
        return future


@contextlib.contextmanager
def connect(address: str, setting: WorkerConfig) -> Iterator[Cluster]:
    """The cluster whose scheduler has that address, once a worker is there.

    Raises:
        ClusterError: It cannot be reached, or a worker cannot compute.
    """
    for name in ("distributed", "distributed.client"):  # would tell, with tracebacks, what is told here
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with _wrap_connection_errors(address):
        asyncio.run(asyncio.wait_for(_ping(address), CONNECT_SECONDS))
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    with client:
        machines: dict[str, tuple[Environment, float]] = {}
        waiting = False
        while not machines:
            with _wrap_connection_errors(address):
                answers = client.run(_worker_info, setting, on_error="return")
            for worker, answer in answers.items():
                if isinstance(answer, OSError):
                    continue  # it has just died
                if isinstance(answer, Exception):
                    raise ClusterError(_named(worker, answer))
                machines[worker] = answer
            if not machines:
                if not waiting:
                    log.info("no worker is at %s yet: waiting", address)
                waiting = True
                time.sleep(POLL_SECONDS)
        machine, speed = next(iter(machines.values()))
        yield Cluster(client, address, setting, machine, speed, len(machines))


async def _ping(address: str) -> None:
    """Ask the scheduler who it is. (A Client would wait for ever for something else that listens there.)"""
    async with rpc(address, connection_args=Security().get_connection_args("client")) as scheduler:
        await scheduler.identity()


@contextlib.contextmanager
def _wrap_connection_errors(address: str) -> Iterator[None]:
    """Turn what goes wrong in talking to the scheduler into a ClusterError."""
    try:
        yield
    except Exception as error:  # an address may be wrong in many ways
        raise ClusterError(
            f"the Dask scheduler {address} cannot be reached ({str(error) or type(error).__name__}); "
            "what has arrived from it is stored"
        ) from error


def _named(worker: str, error: Exception) -> str:
    """What a worker said."""
    if isinstance(error, AnalysisError):
        return f"worker {worker}: {error}"
    return f"worker {worker}: {type(error).__name__}: {error}; does it have this code (pip install '.[train,cluster]')?"
