"""A worker computes tasks, each a stack of runs or a program, on one device and returns the results.

It knows neither which jobs are needed nor where results go: the scheduler drives one in its own process, or the workers
of a Dask cluster.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import logging
import os
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

GIT_SECONDS = 60.0  # until git, which may hang on a network's disk, is given up
PACKAGE = Path(__file__).resolve().parents[1]  # all code that results depend on

log = logging.getLogger(__name__)

Outcome: TypeAlias = tuple[str, Result | str]  # a job's key, and its result or why it failed


@dataclass(frozen=True)
class Environment:
    """Hardware and software that results are computed with; for the attributes, see `Provenance`."""

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
        data: The data set.
        device: The device.
        environment: Recorded in the provenance of results.
        checkpoints: The cache to keep checkpoints in; None for no checkpoints.
        resume: Whether stacks resume from their checkpoints.
    """

    data: Data
    device: torch.device
    environment: Environment
    checkpoints: Path | None = None
    resume: bool = False

    def form_stacks(self, runs: list[Run]) -> list[tuple[list[Run], str]]:
        """Group runs into stacks for this device; return each with the engine's back end for it."""
        stacks = training.form_stacks(runs, self.data, self.device)
        return [(stack, training.backend_name(stack, self.device)) for stack in stacks]

    def compute(self, jobs: Mapping[str, Job], progress: Callable[[int, int], None]) -> Iterator[Outcome]:
        """Compute one task's jobs. Failures are reported; other jobs continue.

        Args:
            jobs: The jobs by key.
            progress: Called with the numbers of steps done and in total.

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
                    raise TypeError(f"a program must return a DataFrame, not {rows!r}")
            except AnalysisError:
                raise
            except Exception as error:
                yield name, error_summary(error)
            else:
                rows = rows.infer_objects()  # melting, for one, leaves numbers in a column of objects
                yield name, self._result(rows, "program", 1, time.monotonic() - started)
        stack = {name: job for name, job in jobs.items() if isinstance(job, Run)}
        if stack:
            yield from self._train(stack, progress, self.resume)

    def _train(
        self, stack: dict[str, Run], progress: Callable[[int, int], None], resume: bool
    ) -> Iterator[Outcome]:
        """Train a stack, from its checkpoint if it has one. If that fails, bisect it to isolate the failing runs."""
        names, runs = tuple(stack), list(stack.values())
        folder = self.checkpoints
        state, seconds_before = None, 0.0
        checkpoint = checkpoints.find(folder, names) if folder and resume else None
        if checkpoint and checkpoint.backend == self._backend(runs):
            state = checkpoint.state()
            seconds_before = 0.0 if state is None else checkpoint.seconds
        started = time.monotonic() - seconds_before
        failure = None

        def save(state: dict[str, Any]) -> None:
            if folder:
                checkpoints.save(folder, names, self._backend(runs), time.monotonic() - started, state)

        try:
            trained = training.train(
                runs, self.data, self.device, state=state, save=save if folder else None, progress=progress
            )
        except AnalysisError:
            raise
        except Exception as error:
            failure = error_summary(error)
        else:
            seconds = (time.monotonic() - started) / len(runs)
            for name, result in zip(names, trained, strict=True):
                yield name, self._result(result.rows, self._backend(runs), len(runs), seconds)
        if folder:
            checkpoints.delete(folder, names)
        if failure and state is not None:
            yield from self._train(stack, progress, False)  # restart: the checkpoint may be the cause
        elif failure and len(runs) == 1:
            yield names[0], failure
        elif failure:
            half = len(runs) // 2
            for part in (names[:half], names[half:]):
                yield from self._train({name: stack[name] for name in part}, progress, resume)

    def _backend(self, runs: list[Run]) -> str:
        """Return the name of a stack's back end; it changes if numba turns out not to work."""
        return training.backend_name(runs, self.device)

    def _result(self, rows: pd.DataFrame, backend: str, stack: int, seconds: float) -> Result:
        """Return the rows with their provenance."""
        provenance = Provenance(
            date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            **dataclasses.asdict(self.environment),
            backend=backend,
            stack=stack,
            seconds=round(seconds, 3),
        )
        return Result(rows, provenance)


def find_device(name: str) -> torch.device:
    """Return the device of that name; `auto` is the fastest available, `cuda:1` the second GPU.

    Raises:
        DeviceError: It is not available.
    """
    import torch

    found = ["cpu"]
    if torch.backends.mps.is_available():
        found.insert(0, "mps")
    if torch.cuda.is_available():
        found[:0] = ["cuda", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    if name == "auto":
        return torch.device(found[0])
    if name not in found:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        raise DeviceError(
            f"no {name} device is available (torch {torch.__version__} finds {', '.join(found)}"
            f"{'' if visible is None else f'; CUDA_VISIBLE_DEVICES is {visible!r}'}); choose another with --device"
        )
    return torch.device(name)


def current_environment(device: torch.device) -> Environment:
    """Return the environment of this process, computing on that device."""
    import torch

    try:
        numba = importlib.metadata.version("numba")
    except importlib.metadata.PackageNotFoundError:
        numba = None
    commit, dirty = find_commit()
    return Environment(
        device=device.type,
        device_name=torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        numba=numba,
        commit=commit,
        dirty=dirty,
    )


def find_commit() -> tuple[str | None, bool]:
    """Return the checkout's commit, and whether the code differs from it.

    The commit is None, and a warning says why, where the project is no checkout of its own (an archive of it may lie in
    another repository) or git does not answer.
    """
    try:
        environment = dict(os.environ)
        for name in _git("rev-parse", "--local-env-vars", environment=environment).split():
            if not name.startswith("GIT_CONFIG"):  # by which users declare a folder safe
                environment.pop(name, None)  # hooks are told of their own repository in this way
        top = _git("rev-parse", "--show-toplevel", environment=environment)
        if not os.path.samefile(top, PACKAGE.parent):
            raise ValueError(f"{PACKAGE.parent} lies in another repository, {top}")
        commit = _git("rev-parse", "--verify", "HEAD", environment=environment)
        changed = _git("status", "--porcelain", "--untracked-files=all", "--", ".", environment=environment)
        # a letter other than H marks files whose changes git was told not to look for
        tags = {line[:1] for line in _git("ls-files", "-v", environment=environment).splitlines()}
        if not tags:
            raise ValueError(f"the repository does not track {PACKAGE}")
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        log.warning("the commit of the code is unknown: %s", _reason(error))
        return None, False
    return commit, bool(changed) or tags != {"H"}


def _git(*arguments: str, environment: dict[str, str]) -> str:
    """Return what git prints in the folder of the `analysis` package.

    Raises:
        OSError: It is not installed.
        SubprocessError: It fails, as outside a repository, or takes too long.
    """
    command = ["git", *arguments]
    done = subprocess.run(
        command, cwd=PACKAGE, env=environment, capture_output=True, check=True, timeout=GIT_SECONDS
    )
    return os.fsdecode(done.stdout).strip()


def _reason(error: Exception) -> str:
    """Return why git gave no answer, in one line."""
    if isinstance(error, subprocess.CalledProcessError):
        return next(iter(error.stderr.decode(errors="replace").splitlines()), str(error))
    return str(error)


def measure_speed(device: torch.device) -> float:
    """Measure matrix products; return half their floating-point operations per second, an estimate for training.

    Raises:
        DeviceError: The device is there and cannot compute.
    """
    import torch

    multiplications = 20
    try:
        images, weights = torch.rand(784, 1000, device=device), torch.rand(300, 784, device=device)
        (weights @ images).sum().item()
        started = time.monotonic()
        for _ in range(multiplications):
            product = weights @ images
        product.sum().item()  # waits for the device
    except RuntimeError as error:  # used up by others, or too old or too new for this torch
        raise DeviceError(f"{device} cannot compute ({error}); choose another with --device") from error
    return multiplications * 2 * 784 * 1000 * 300 / max(time.monotonic() - started, 1e-6) / 2


def error_summary(error: Exception) -> str:
    """Return an error and the place where it was raised, in one line."""
    *_, last = traceback.extract_tb(error.__traceback__)
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text} ({Path(last.filename).name}, line {last.lineno})"


def _processor() -> str:
    """Return the processor's model name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
