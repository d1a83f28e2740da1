"""Decides what is computed together, has it computed, and writes each result the moment it is there.

A task is what is computed together: a stack of runs, or one program.
Whatever stops a campaign loses at most what its present tasks did since their last checkpoint.
Several campaigns may work on one cache: each task is claimed first.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from analysis.campaign import checkpoints
from analysis.campaign.keys import Job
from analysis.campaign.store import CacheMiss, Provenance, Result, Store
from analysis.campaign.worker import Environment, Outcome, Worker, expected_speed, reason
from analysis.engine import training
from analysis.engine.run import Run
from analysis.errors import AnalysisError

if TYPE_CHECKING:
    from analysis.campaign.progress import Progress

PROGRAM_SECONDS = 20.0  # a guess: what a program costs is not known before
POLL_SECONDS = 2.0  # between looks at what another campaign is computing


log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Task:
    """What is computed together.

    Attributes:
        jobs: A stack of runs, or one program, by key.
        seconds: Estimated time.
    """

    jobs: dict[str, Job]
    seconds: float

    @property
    def label(self) -> str:
        """The task in a few words."""
        first = describe(next(iter(self.jobs.values())))
        return first if len(self.jobs) == 1 else f"{first} and {len(self.jobs) - 1} more"


class Executor(Protocol):
    """Who computes tasks: this process, or the workers of a cluster. As text: what computes.

    Attributes:
        machine: What one task is computed with.
        speed: Floating-point operations per second that it may reach.
        size: How many tasks are computed at once.
    """

    @property
    def machine(self) -> Environment: ...
    @property
    def speed(self) -> float: ...
    @property
    def size(self) -> int: ...

    def stacks(self, runs: list[Run]) -> list[tuple[list[Run], str]]:
        """The stacks that the runs make, each with the engine's back end for it."""

    def order(self, tasks: list[Task]) -> list[Task]:
        """The tasks, those first that are to be computed first."""

    def compute(self, tasks: Iterator[Task], progress: Progress) -> Iterator[Outcome]:
        """Compute the tasks, each drawn from the iterator when somebody is free for it.

        Raises:
            AnalysisError: Nothing more can be computed.
        """


@dataclass(frozen=True)
class LocalExecutor:
    """This process computes one task after the other."""

    computer: Worker
    size = 1

    def __str__(self) -> str:
        return str(self.machine)

    @property
    def machine(self) -> Environment:
        return self.computer.machine

    @property
    def speed(self) -> float:
        return expected_speed(self.computer.device)

    def stacks(self, runs: list[Run]) -> list[tuple[list[Run], str]]:
        return self.computer.stacks(runs)

    def order(self, tasks: list[Task]) -> list[Task]:
        """Cheap ones first: there is something to look at soon."""
        return sorted(tasks, key=lambda task: task.seconds)

    def compute(self, tasks: Iterator[Task], progress: Progress) -> Iterator[Outcome]:
        for task in tasks:
            progress.update(task, 0, 1)
            yield from self.computer.compute(task.jobs, functools.partial(progress.update, task))
            progress.update(task, 1, 1)


@dataclass
class Campaign:
    """Has jobs computed into a store.

    Attributes:
        store: Where results go.
        data_digest: The digest of what they are computed from.
        executor: Who computes.
        rates: Floating-point operations per second that the engine is expected to make, by back end; a guess
            for others under "".
        known: All jobs that a checkpoint may hold, by key.
        force: Whether results that are there are computed all the same, from their beginning.
        computed: Keys of the results that this campaign has written.
        failed: Why other jobs have none, by key.
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
        """The tasks for these jobs in their order; stacks that have a checkpoint stay as they were."""
        left = dict(jobs)
        tasks = []
        for checkpoint in [] if self.force else checkpoints.present(self.store.folder):
            stack = {name: run for name in checkpoint.keys if isinstance(run := self.known.get(name), Run)}
            if len(stack) < len(checkpoint.keys):
                continue  # of other code or other data
            if not left.keys().isdisjoint(stack):
                tasks.append(Task({**stack}, self._seconds(stack.values(), checkpoint.backend)))
                left = {name: job for name, job in left.items() if name not in stack}
            elif not any(self._needed(name, run) for name, run in stack.items()):
                checkpoints.drop(self.store.folder, checkpoint.keys)
        names = {job: name for name, job in left.items()}
        for runs, backend in self.executor.stacks([job for job in names if isinstance(job, Run)]):
            tasks.append(Task({names[run]: run for run in runs}, self._seconds(runs, backend)))
        tasks += [Task({names[job]: job}, PROGRAM_SECONDS) for job in names if not isinstance(job, Run)]
        return self.executor.order(tasks)

    def compute(self, tasks: list[Task], progress: Progress) -> None:
        """Compute the tasks; what another campaign is at is waited for, and computed if that one gives up.

        A job that fails is noted in `failed`, and the others go on.

        Raises:
            AnalysisError: The cache cannot be written, or nothing more can be computed.
        """
        while tasks:
            with contextlib.ExitStack() as claims:
                for name, result in self.executor.compute(self._claimed(tasks, claims, progress), progress):
                    self._keep(name, result)
            waiting = {
                name: job for task in tasks for name, job in task.jobs.items() if self._needed(name, job)
            }
            tasks = self.plan(waiting)
            if tasks:
                log.info(
                    "%d results are being computed by another campaign on this cache: waiting", len(waiting)
                )
                time.sleep(POLL_SECONDS)

    def _claimed(self, tasks: list[Task], claims: contextlib.ExitStack, progress: Progress) -> Iterator[Task]:
        """What is needed of the tasks and not at work elsewhere, claimed when it is drawn."""
        for task in tasks:
            mine = claims.enter_context(self.store.claim(task.jobs))
            jobs = {name: job for name, job in task.jobs.items() if name in mine}
            needed = {name: job for name, job in jobs.items() if self._needed(name, job)}
            if 0 < len(needed) < len(jobs) and checkpoints.find(self.store.folder, tuple(jobs)):
                needed = jobs  # stopped while its results were being written: the whole stack goes on
            if needed:
                yield replace(task, jobs=needed)
            else:
                progress.update(task, 1, 1)

    def _seconds(self, stack: Iterable[Run], backend: str) -> float:
        """Seconds that a stack will take."""
        return sum(map(training.estimate_flops, stack)) / self.rates.get(backend, self.rates[""])

    def _needed(self, name: str, job: Job) -> bool:
        """Whether the job still has to be computed."""
        if name in self.computed or name in self.failed:
            return False
        try:
            self.store.provenance(job, self.data_digest)
        except CacheMiss:
            return True
        return self.force

    def _keep(self, name: str, result: Result | str) -> None:
        """Write a result, or take note why there is none."""
        if isinstance(result, str):
            self.failed[name] = result
            return
        try:
            self.store.write(self.known[name], self.data_digest, result.rows, result.provenance)
        except AnalysisError:
            raise
        except Exception as error:  # a program may return anything
            self.failed[name] = reason(error)
        else:
            self.computed.add(name)


def describe(job: Job) -> str:
    """A job in a few words."""
    if isinstance(job, Run):
        batch = "full batch" if job.batch_size is None else f"batch {job.batch_size}"
        sizes = "-".join(map(str, job.sizes))
        return f"{sizes} {job.optimizer} η={job.learning_rate:g} {batch} seed {job.seed}"
    return f"{job.name}({', '.join(f'{name}={value}' for name, value in job.arguments)})"


def expected_rates(executor: Executor, cached: Iterable[tuple[Job, Provenance]]) -> dict[str, float]:
    """`Campaign.rates`: as cached results of this machine took, and its expected speed as a guess."""
    rates: dict[str, list[float]] = {}
    machine = executor.machine
    for job, provenance in cached:
        here = (provenance.device_name, provenance.threads) == (machine.device_name, machine.threads)
        if isinstance(job, Run) and here and provenance.seconds > 0:
            rates.setdefault(provenance.backend, []).append(training.estimate_flops(job) / provenance.seconds)
    known = {backend: statistics.median(each) for backend, each in rates.items()}
    return {"": executor.speed, **known}
