"""Plans which jobs are computed together, has an executor compute them, and stores each result as soon as it arrives.

A task is computed as a whole: a stack of runs, or one program.
An interruption loses at most the work that the current tasks have done since their last checkpoints.
Several schedulers may share one cache: each locks a task's jobs before computing them.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

from analysis.campaign import checkpoints
from analysis.campaign.keys import Job, describe
from analysis.campaign.progress import Progress
from analysis.campaign.store import CacheMiss, Provenance, Result, Store
from analysis.campaign.worker import Environment, Outcome, Worker, error_summary, measure_speed
from analysis.engine import training
from analysis.engine.run import Run
from analysis.errors import AnalysisError

PROGRAM_SECONDS = 20.0  # a guess: the cost of a program is not known in advance
POLL_SECONDS = 2.0  # between checks of jobs that another process has locked

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Task:
    """Jobs that are computed together.

    Attributes:
        jobs: A stack of runs, or one program, by key.
        seconds: Estimated duration.
    """

    jobs: dict[str, Job]
    seconds: float

    @property
    def label(self) -> str:
        """A short description for messages."""
        first = describe(next(iter(self.jobs.values())))
        return first if len(self.jobs) == 1 else f"{first} and {len(self.jobs) - 1} more"


Report: TypeAlias = Callable[
    [Task, int, int], None
]  # receives a task and its numbers of steps done and in total


class Executor(Protocol):
    """Computes tasks: in this process, or on the workers of a cluster. Its text names the hardware.

    Attributes:
        environment: Environment that one task is computed in.
        speed: Expected floating-point operations per second of one task.
        size: Number of tasks computed at once.
    """

    @property
    def environment(self) -> Environment: ...
    @property
    def speed(self) -> float: ...
    @property
    def size(self) -> int: ...

    def form_stacks(self, runs: list[Run]) -> list[tuple[list[Run], str]]:
        """Group runs into stacks; return each with the engine's back end for it."""

    def order(self, tasks: list[Task]) -> list[Task]:
        """Return the tasks in the order in which to compute them."""

    def compute(self, tasks: Iterator[Task], report: Report) -> Iterator[Outcome]:
        """Compute the tasks, drawing each from the iterator only when it can start.

        Raises:
            AnalysisError: No further task can be computed.
        """


@dataclass(frozen=True)
class LocalExecutor:
    """Computes one task after the other in this process."""

    worker: Worker
    size = 1

    def __str__(self) -> str:
        return str(self.environment)

    @property
    def environment(self) -> Environment:
        return self.worker.environment

    @property
    def speed(self) -> float:
        return measure_speed(self.worker.device)

    def form_stacks(self, runs: list[Run]) -> list[tuple[list[Run], str]]:
        return self.worker.form_stacks(runs)

    def order(self, tasks: list[Task]) -> list[Task]:
        """Put short tasks first, so that first results arrive early."""
        return sorted(tasks, key=lambda task: task.seconds)

    def compute(self, tasks: Iterator[Task], report: Report) -> Iterator[Outcome]:
        for task in tasks:
            report(task, 0, 1)
            yield from self.worker.compute(task.jobs, functools.partial(report, task))
            report(task, 1, 1)


@dataclass
class Scheduler:
    """Computes jobs into a store.

    Attributes:
        store: Receives the results.
        data_digest: Digest of the data set.
        executor: Computes the tasks.
        rates: Expected floating-point operations per second of the engine, by back end; under "" for others.
        known: All jobs that a checkpoint may hold, by key.
        force: Whether to recompute existing results, ignoring checkpoints.
        computed: Keys of the results written so far.
        failed: Reasons of failures, by key.
    """

    store: Store
    data_digest: str
    executor: Executor
    rates: Mapping[str, float]
    known: Mapping[str, Job]
    force: bool = False
    computed: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)

    def plan(self, jobs: Mapping[str, Job]) -> list[Task]:
        """Return ordered tasks for these jobs; stacks with a checkpoint are kept as they were."""
        left = dict(jobs)
        tasks = []
        for checkpoint in [] if self.force else checkpoints.find_all(self.store.folder):
            stack = {name: run for name in checkpoint.keys if isinstance(run := self.known.get(name), Run)}
            if len(stack) < len(checkpoint.keys):
                continue  # from another version of the code, or other data
            if not left.keys().isdisjoint(stack):
                tasks.append(Task({**stack}, self._estimate_seconds(stack.values(), checkpoint.backend)))
                left = {name: job for name, job in left.items() if name not in stack}
            elif not any(self._is_needed(name, run) for name, run in stack.items()):
                checkpoints.delete(self.store.folder, checkpoint.keys)
        names = {job: name for name, job in left.items()}
        for runs, backend in self.executor.form_stacks([job for job in names if isinstance(job, Run)]):
            tasks.append(Task({names[run]: run for run in runs}, self._estimate_seconds(runs, backend)))
        tasks += [Task({names[job]: job}, PROGRAM_SECONDS) for job in names if not isinstance(job, Run)]
        return self.executor.order(tasks)

    def compute(self, tasks: list[Task], progress: Progress) -> None:
        """Compute the tasks. Wait for jobs that another process has locked; compute them if it gives up.

        Failures are recorded in `failed`; other jobs continue.

        Raises:
            AnalysisError: The cache cannot be written, or no further task can be computed.
        """

        def report(task: Task, done: int, total: int) -> None:
            progress.update(task, task.label, task.seconds, done, total)

        while tasks:
            with contextlib.ExitStack() as locks:
                for name, result in self.executor.compute(self._lock_needed(tasks, locks, report), report):
                    self._keep(name, result)
            waiting = {
                name: job for task in tasks for name, job in task.jobs.items() if self._is_needed(name, job)
            }
            tasks = self.plan(waiting)
            if tasks:
                log.info("waiting for %d results that another process is computing", len(waiting))
                time.sleep(POLL_SECONDS)

    def _lock_needed(self, tasks: list[Task], locks: contextlib.ExitStack, report: Report) -> Iterator[Task]:
        """Yield what is still needed of each task and not locked elsewhere; lock it when it is drawn."""
        for task in tasks:
            locked = locks.enter_context(self.store.lock(task.jobs))
            jobs = {name: job for name, job in task.jobs.items() if name in locked}
            needed = {name: job for name, job in jobs.items() if self._is_needed(name, job)}
            if 0 < len(needed) < len(jobs) and checkpoints.find(self.store.folder, tuple(jobs)):
                needed = jobs  # interrupted while its results were being written: resume the whole stack
            if needed:
                yield replace(task, jobs=needed)
            else:
                report(task, 1, 1)

    def _estimate_seconds(self, stack: Iterable[Run], backend: str) -> float:
        """Return the expected duration of a stack."""
        return sum(map(training.estimate_flops, stack)) / self.rates.get(backend, self.rates[""])

    def _is_needed(self, name: str, job: Job) -> bool:
        """Return whether the job still has to be computed."""
        if name in self.computed or name in self.failed:
            return False
        try:
            self.store.provenance(job, self.data_digest)
        except CacheMiss:
            return True
        return self.force

    def _keep(self, name: str, result: Result | str) -> None:
        """Store a result, or record the reason of a failure."""
        if isinstance(result, str):
            self.failed[name] = result
            return
        try:
            self.store.write(self.known[name], self.data_digest, result.rows, result.provenance)
        except AnalysisError:
            raise
        except Exception as error:  # a program may return a frame that Parquet cannot hold
            self.failed[name] = error_summary(error)
        else:
            self.computed.add(name)


def expected_rates(executor: Executor, cached: Iterable[tuple[Job, Provenance]]) -> dict[str, float]:
    """Return `Scheduler.rates`: those of cached results from the same hardware, and the executor's expected speed."""
    rates: dict[str, list[float]] = {}
    hardware = executor.environment.device_name, executor.environment.threads
    for job, provenance in cached:
        same = (provenance.device_name, provenance.threads) == hardware
        if isinstance(job, Run) and same and provenance.seconds > 0:
            rates.setdefault(provenance.backend, []).append(training.estimate_flops(job) / provenance.seconds)
    known = {backend: statistics.median(each) for backend, each in rates.items()}
    return {"": executor.speed, **known}
