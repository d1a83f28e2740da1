"""Computes what belongs together, a stack of runs or a program, on one device, and hands the results back.

Nothing here knows what is needed or where results go: a campaign computes in its own process (campaign.py) or
has the workers of a cluster do it (cluster.py).
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import platform
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd

from analysis.campaign import checkpoints
from analysis.campaign.keys import Job
from analysis.campaign.store import Provenance, Result
from analysis.engine import training
from analysis.engine.run import Run
from analysis.errors import AnalysisError, DeviceError

if TYPE_CHECKING:
    import torch

    from analysis.data import Data

Outcome: TypeAlias = tuple[str, Result | str]  # a job's key; its result, or why it has none


@dataclass(frozen=True)
class Environment:
    """What computes, as the provenance of results tells it."""

    device: str
    device_name: str
    threads: int
    torch: str
    numba: str | None
    commit: str | None
    dirty: bool

    def __str__(self) -> str:
        return f"{self.device_name} ({self.device})"


@dataclass(frozen=True)
class Worker:
    """Computes jobs on one device.

    Attributes:
        data: What they are computed from.
        device: What computes.
        machine: The same, for provenance.
        checkpoints: The cache whose checkpoints are kept up; None: there are none.
        resume: Whether stacks go on from their checkpoints.
    """

    data: Data
    device: torch.device
    machine: Environment
    checkpoints: Path | None = None
    resume: bool = False

    def stacks(self, runs: list[Run]) -> list[tuple[list[Run], str]]:
        """The stacks that the runs make on this device, each with the engine's back end for it."""
        formed = training.form_stacks(runs, self.data, self.device)
        return [(stack, training.backend_name(stack, self.device)) for stack in formed]

    def compute(self, jobs: Mapping[str, Job], progress: Callable[[int, int], None]) -> Iterator[Outcome]:
        """Compute one task's jobs. What fails is told, and takes no other job with it.

        Raises:
            StoreError: A checkpoint cannot be written.
        """
        for name, job in jobs.items():
            if isinstance(job, Run):
                continue
            started = time.monotonic()
            try:
                rows = job.function(self.data, self.device, **dict(job.arguments))
                if not isinstance(rows, pd.DataFrame):
                    raise TypeError(f"a program returns a table, not {rows!r}")
            except AnalysisError:
                raise
            except Exception as error:
                yield name, reason(error)
            else:
                yield name, self._result(rows, "program", 1, time.monotonic() - started)
        stack = {name: job for name, job in jobs.items() if isinstance(job, Run)}
        if stack:
            yield from self._train(stack, progress, self.resume)

    def _train(
        self, stack: dict[str, Run], progress: Callable[[int, int], None], resume: bool
    ) -> Iterator[Outcome]:
        """Train a stack, from its checkpoint if it has one. If that fails, its halves: the others go on."""
        names, runs = tuple(stack), list(stack.values())
        folder = self.checkpoints
        backend = training.backend_name(runs, self.device)
        state, before = None, 0.0
        checkpoint = checkpoints.find(folder, names) if folder and resume else None
        if checkpoint and checkpoint.backend == backend and (state := checkpoint.state()) is not None:
            before = checkpoint.seconds
        started = time.monotonic() - before
        failure = None

        def save(state: dict[str, Any]) -> None:
            if folder:
                checkpoints.save(folder, names, backend, time.monotonic() - started, state)

        try:
            trained = training.train(
                runs, self.data, self.device, state=state, save=save if folder else None, progress=progress
            )
        except AnalysisError:
            raise
        except Exception as error:
            failure = reason(error)
        else:
            seconds = (time.monotonic() - started) / len(runs)
            for name, result in zip(names, trained, strict=True):
                yield name, self._result(result.rows, backend, len(runs), seconds)
        if folder:
            checkpoints.drop(folder, names)
        if failure and state is not None:
            yield from self._train(stack, progress, False)  # from the start: the state may be to blame
        elif failure and len(runs) == 1:
            yield names[0], failure
        elif failure:
            half = len(runs) // 2
            for part in (names[:half], names[half:]):
                yield from self._train({name: stack[name] for name in part}, progress, resume)

    def _result(self, rows: pd.DataFrame, backend: str, stack: int, seconds: float) -> Result:
        """Rows and how they came about."""
        provenance = Provenance(
            date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            **dataclasses.asdict(self.machine),
            backend=backend,
            stack=stack,
            seconds=round(seconds, 3),
        )
        return Result(rows, provenance)


def find_device(name: str) -> torch.device:
    """The device of that name; `auto` is the fastest that is there.

    Raises:
        DeviceError: It is not there.
    """
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, available in there.items() if available)
    if not there[name]:
        usable = ", ".join(device for device, available in there.items() if available)
        raise DeviceError(f"there is no {name} device here (torch {torch.__version__} finds {usable})")
    return torch.device(name)


def current_environment(device: torch.device) -> Environment:
    """What computes here."""
    import torch

    try:
        numba = importlib.metadata.version("numba")
    except importlib.metadata.PackageNotFoundError:
        numba = None
    return Environment(
        device=device.type,
        device_name=torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        numba=numba,
        commit=_git("rev-parse", "HEAD"),
        dirty=bool(_git("status", "--porcelain", "--", ".")),
    )


def expected_speed(device: torch.device) -> float:
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


def reason(error: Exception) -> str:
    """An error and where it was raised, in one line."""
    *_, last = traceback.extract_tb(error.__traceback__)
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text} ({Path(last.filename).name}, line {last.lineno})"


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
