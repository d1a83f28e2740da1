"""Computes jobs and writes each result the moment it is there.

A task is what is computed together: a stack of runs, or one program.
Whatever stops a campaign loses at most what its present task did since the last checkpoint.
Several campaigns may work on one cache: each task is claimed first.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib
import importlib.metadata
import logging
import platform
import statistics
import subprocess
import time
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from analysis import checkpoints, training
from analysis.errors import AnalysisError
from analysis.runs import Job, Run
from analysis.store import Missing, Provenance, Store

if TYPE_CHECKING:
    import torch

    from analysis.data import Data
    from analysis.progress import Progress

PROGRAM_SECONDS = 20.0  # a guess: what a program costs is not known before
POLL_SECONDS = 2.0  # between looks at what another campaign is computing


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Machine:
    """What computes, as the provenance of results tells it."""

    device: str
    device_name: str
    threads: int
    torch: str
    numba: str | None
    commit: str | None
    dirty: bool


@dataclass(frozen=True)
class Task:
    """What is computed together.

    Attributes:
        jobs: A stack of runs, or one program, by key.
        seconds: Estimated time.
    """

    jobs: dict[str, Job]
    seconds: float


@dataclass
class Campaign:
    """Computes jobs on one device into one store.

    Attributes:
        store: Where results go.
        data: What they are computed from.
        device: What computes.
        machine: The same, for provenance.
        rates: Floating-point operations per second that the engine is expected to make, by back end; a guess
            for others under "".
        known: All jobs that a checkpoint may hold, by key.
        force: Whether results that are there are computed all the same, from their beginning.
        computed: Keys of the results that this campaign has written.
        failed: Why other jobs have none, by key.
    """

    store: Store
    data: Data
    device: torch.device
    machine: Machine
    rates: Mapping[str, float]
    known: Mapping[str, Job]
    force: bool = False
    computed: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)

    def plan(self, jobs: Mapping[str, Job]) -> list[Task]:
        """The tasks for these jobs, cheap ones first; stacks that have a checkpoint stay as they were."""
        left = dict(jobs)
        stacks: list[dict[str, Run]] = []
        for checkpoint in [] if self.force else checkpoints.present(self.store.folder):
            stack = {name: run for name in checkpoint.keys if isinstance(run := self.known.get(name), Run)}
            if len(stack) < len(checkpoint.keys):
                continue  # of other code or other data
            if not left.keys().isdisjoint(stack):
                stacks.append(stack)
                left = {name: job for name, job in left.items() if name not in stack}
            elif not any(self._needed(name, run) for name, run in stack.items()):
                checkpoints.drop(self.store.folder, checkpoint.keys)
        names = {job: name for name, job in left.items()}
        fresh = [job for job in names if isinstance(job, Run)]
        stacks += [
            {names[run]: run for run in stack} for stack in training.stacks(fresh, self.data, self.device)
        ]
        tasks = [Task({**stack}, self._estimate(list(stack.values()))) for stack in stacks]
        tasks += [Task({names[job]: job}, PROGRAM_SECONDS) for job in names if not isinstance(job, Run)]
        return sorted(tasks, key=lambda task: task.seconds)

    def compute(self, tasks: list[Task], progress: Progress) -> None:
        """Compute the tasks; what another campaign is at is waited for, and computed if that one gives up.

        A job that fails is noted in `failed`, and the others go on.

        Raises:
            StoreError: The cache cannot be written.
        """
        while tasks:
            elsewhere: dict[str, Job] = {}
            for task in tasks:
                progress.begin(_label(task), task.seconds)
                with self.store.claim(task.jobs) as mine:
                    elsewhere |= {name: job for name, job in task.jobs.items() if name not in mine}
                    self._compute({name: job for name, job in task.jobs.items() if name in mine}, progress)
                progress.end()
            waiting = {name: job for name, job in elsewhere.items() if self._needed(name, job)}
            tasks = self.plan(waiting)
            if tasks:
                log.info(
                    "%d results are being computed by another campaign on this cache: waiting", len(waiting)
                )
                time.sleep(POLL_SECONDS)

    def _estimate(self, stack: list[Run]) -> float:
        """Seconds that a stack will take."""
        rate = self.rates.get(training.backend(stack, self.device), self.rates[""])
        return sum(map(training.work, stack)) / rate

    def _needed(self, name: str, job: Job) -> bool:
        """Whether the job still has to be computed."""
        if name in self.computed or name in self.failed:
            return False
        try:
            self.store.provenance(job, self.data.digest)
        except Missing:
            return True
        return self.force

    def _compute(self, jobs: dict[str, Job], progress: Progress) -> None:
        """Compute what is needed of one task's jobs, all of which are claimed."""
        needed = {name: job for name, job in jobs.items() if self._needed(name, job)}
        if not needed:
            return
        if len(jobs) > len(needed) and checkpoints.find(self.store.folder, tuple(jobs)):
            needed = jobs  # stopped while its results were being written: the whole stack goes on
        for name, job in needed.items():
            if isinstance(job, Run):
                continue
            try:
                started = time.monotonic()
                module, _, function = job.function.partition(":")
                program = getattr(importlib.import_module(module), function)
                rows = program(self.data, self.device, **dict(job.arguments))
                self._write(name, job, rows, "program", 1, time.monotonic() - started)
            except AnalysisError:
                raise
            except Exception as error:
                self.failed[name] = _reason(error)
        self._train({name: job for name, job in needed.items() if isinstance(job, Run)}, progress)

    def _train(self, stack: dict[str, Run], progress: Progress) -> None:
        """Train a stack, from its checkpoint if it has one. If that fails, its halves: the others go on."""
        if not stack:
            return
        names, runs = tuple(stack), list(stack.values())
        folder = self.store.folder
        backend = training.backend(runs, self.device)
        state, before = None, 0.0
        checkpoint = None if self.force else checkpoints.find(folder, names)
        if checkpoint and checkpoint.backend == backend and (state := checkpoint.state()) is not None:
            before = checkpoint.seconds
        started = time.monotonic() - before
        try:
            trained = training.train(
                runs,
                self.data,
                self.device,
                state=state,
                save=lambda state: checkpoints.save(
                    folder, names, backend, time.monotonic() - started, state
                ),
                progress=progress.update,
            )
            seconds = (time.monotonic() - started) / len(runs)
            for (name, run), result in zip(stack.items(), trained, strict=True):
                self._write(name, run, result.rows, backend, len(runs), seconds)
        except AnalysisError:
            raise
        except Exception as error:
            checkpoints.drop(folder, names)
            if state is not None:
                self._train(stack, progress)  # from the start: the state may be to blame
            elif len(runs) == 1:
                self.failed[names[0]] = _reason(error)
            else:
                half = len(runs) // 2
                for part in (names[:half], names[half:]):
                    self._train({name: stack[name] for name in part}, progress)
        else:
            checkpoints.drop(folder, names)

    def _write(
        self, name: str, job: Job, rows: pd.DataFrame, backend: str, stack: int, seconds: float
    ) -> None:
        """Write a result."""
        provenance = Provenance(
            date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            **dataclasses.asdict(self.machine),
            backend=backend,
            stack=stack,
            seconds=round(seconds, 3),
        )
        self.store.write(job, self.data.digest, rows, provenance)
        self.computed.add(name)


def describe(job: Job) -> str:
    """A job in a few words."""
    if isinstance(job, Run):
        batch = "full batch" if job.batch_size is None else f"batch {job.batch_size}"
        sizes = "-".join(map(str, job.sizes))
        return f"{sizes} {job.optimizer} η={job.learning_rate:g} {batch} seed {job.seed}"
    return f"{job.function}({', '.join(f'{name}={value}' for name, value in job.arguments)})"


def this_machine(device: torch.device) -> Machine:
    """What computes here."""
    import torch

    try:
        numba = importlib.metadata.version("numba")
    except importlib.metadata.PackageNotFoundError:
        numba = None
    commit = _git("rev-parse", "HEAD")
    return Machine(
        device=device.type,
        device_name=torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        numba=numba,
        commit=commit,
        dirty=bool(_git("status", "--porcelain", "--", ".")),
    )


def expected_rates(
    machine: Machine, device: torch.device, cached: Iterable[tuple[Job, Provenance]]
) -> dict[str, float]:
    """`Campaign.rates`: as cached results of this machine took, and a measured guess."""
    rates: dict[str, list[float]] = {}
    for job, provenance in cached:
        here = (provenance.device_name, provenance.threads) == (machine.device_name, machine.threads)
        if isinstance(job, Run) and here and provenance.seconds > 0:
            rates.setdefault(provenance.backend, []).append(training.work(job) / provenance.seconds)
    known = {backend: statistics.median(each) for backend, each in rates.items()}
    return {"": _matrix_rate(device), **known}


def _matrix_rate(device: torch.device) -> float:
    """Floating-point operations per second that training may reach: half of what a matrix product does."""
    import torch

    images, weights = torch.rand(784, 1000, device=device), torch.rand(300, 784, device=device)
    multiplications = 20
    (weights @ images).sum().item()
    started = time.monotonic()
    for _ in range(multiplications):
        product = weights @ images
    product.sum().item()  # waits for the device
    return multiplications * 2 * 784 * 1000 * 300 / max(time.monotonic() - started, 1e-6) / 2


def _reason(error: Exception) -> str:
    """An error and where it was raised, in one line."""
    *_, last = traceback.extract_tb(error.__traceback__)
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text} ({Path(last.filename).name}, line {last.lineno})"


def _label(task: Task) -> str:
    """A task in a few words."""
    first = describe(next(iter(task.jobs.values())))
    return first if len(task.jobs) == 1 else f"{first} and {len(task.jobs) - 1} more"


def _processor() -> str:
    """The processor's own name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str | None:
    """What git says about this package's code; None where there is no git or no checkout."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
