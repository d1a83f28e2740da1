"""Small experiments for the tests, and `run_all` with them: python -m tests.helpers.campaigns [options of run_all]

Tests that kill or race `run_all` start it as a separate process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from analysis import run_all
from analysis.campaign.keys import Job, Program
from analysis.campaign.store import Store
from analysis.data import Data
from analysis.engine.run import Measure, Run
from analysis.errors import DataError
from analysis.question import Jobs, Preset
from tests.helpers import digits

MEASURES = (Measure(metrics=("train_loss", "test_accuracy"), every=5),)
EPOCHS: dict[Preset, int] = {"full": 10, "quick": 2}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}  # several processes share the machine
SAVE_SECONDS = 0.05  # between checkpoints, so that there are some
TIMEOUT_SECONDS = 60.0  # until a test stops waiting for another process


# The experiments


def small(preset: Preset) -> tuple[Job, ...]:
    """Three runs and a program, all short."""
    return (
        *(
            Run(hidden=(8,), learning_rate=rate, epochs=EPOCHS[preset], measures=MEASURES)
            for rate in (0.1, 0.5, 1.0)
        ),
        Program(name="campaigns.mean", function=mean, arguments=(("part", "train"),)),
    )


def shared(preset: Preset) -> tuple[Job, ...]:
    """One of the runs of `small`, and another."""
    return tuple(
        Run(hidden=(8,), learning_rate=rate, epochs=EPOCHS[preset], measures=MEASURES) for rate in (0.5, 2.0)
    )


def broken(preset: Preset) -> tuple[Job, ...]:
    """Two programs that fail and one that does not."""
    return (
        Program(name="campaigns.fail", function=fail),
        Program(name="campaigns.mean", function=mean, arguments=(("part", "test"),)),
        Program(name="campaigns.no_table", function=no_table),
    )


def long(preset: Preset) -> tuple[Job, ...]:
    """A stack that takes a second or more, so that it can be interrupted."""
    return tuple(Run(hidden=(8,), learning_rate=rate, epochs=1_000, measures=MEASURES) for rate in (0.1, 0.2))


def endless(preset: Preset) -> tuple[Job, ...]:
    """A run that has to be interrupted."""
    return (Run(hidden=(8,), learning_rate=0.1, epochs=1_000_000, measures=MEASURES),)


def crowd(preset: Preset) -> tuple[Job, ...]:
    """Programs that record their calls, and runs of several shapes."""
    return (
        *(Program(name="campaigns.note", function=note, arguments=(("number", n),)) for n in range(12)),
        *(
            Run(hidden=(h,), learning_rate=0.1, epochs=20, measures=MEASURES, seed=seed)
            for h in (4, 5, 6)
            for seed in (0, 1)
        ),
    )


def deadly(preset: Preset) -> tuple[Job, ...]:
    """A program that kills its process, for workers of a cluster only, and another."""
    return (
        Program(name="campaigns.die", function=die),
        Program(name="campaigns.mean", function=mean, arguments=(("part", "test"),)),
    )


EXPERIMENTS: dict[str, Jobs] = {
    each.__name__: each for each in (small, shared, broken, long, endless, crowd, deadly)
}


# Their programs


def mean(data: Data, device: object, part: str) -> pd.DataFrame:
    """Return the mean pixel of a part of the data."""
    return pd.DataFrame({"value": [float(getattr(data, f"{part}_images").mean())]})


def fail(data: Data, device: object) -> pd.DataFrame:
    """Raise."""
    raise RuntimeError("this one\ncannot work")


def no_table(data: Data, device: object) -> None:
    """Return something other than a table."""


def die(data: Data, device: object) -> pd.DataFrame:
    """Die as if killed for lack of memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def note(data: Data, device: object, number: int) -> pd.DataFrame:
    """Append the number to the file named by NOTES."""
    with open(os.environ["NOTES"], "a") as file:
        file.write(f"{number}\n")
    time.sleep(0.05)
    return pd.DataFrame({"value": [number]})


def no_data(folder: Path) -> Data:
    """Fail to load the data."""
    raise DataError("Could not obtain MNIST")


# Running them


def main(*argv: str | Path, load: Callable[[Path], Data] = digits.load) -> int:
    """Run `run_all` with these experiments on the small data set; return its exit code."""
    return run_all.main(list(map(str, argv)), experiments=EXPERIMENTS, load=load, data_digest=digits.DIGEST)


def start(cache: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    """Start `main` in a separate process."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.campaigns", "--device", "cpu", "--cache", cache, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **ONE_THREAD, **environment},
    )


def wait_until(condition: Callable[[], object], interval: float = 0.005) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {TIMEOUT_SECONDS:.0f} s")
        time.sleep(interval)


@contextlib.contextmanager
def once(condition: Callable[[], object], action: Callable[[], object]) -> Iterator[None]:
    """Act as soon as a condition holds while the block runs; also after a timeout, so that the block ends."""
    ended = threading.Event()
    deadline = time.monotonic() + TIMEOUT_SECONDS

    def act() -> None:
        while not condition() and time.monotonic() < deadline:
            if ended.wait(0.01):
                return
        action()

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextlib.contextmanager
def interrupt_once(condition: Callable[[], object], number: signal.Signals = signal.SIGINT) -> Iterator[None]:
    """Send this process a signal as soon as a condition holds while the block runs."""
    previous = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # shells let background jobs ignore it
    try:
        with once(condition, lambda: os.kill(os.getpid(), number)):
            yield
    finally:
        signal.signal(signal.SIGINT, previous)


def newest_checkpoint(cache: Path) -> int:
    """Return when the last checkpoint was written, in nanoseconds; 0 if there is none."""
    times = []
    for path in (cache / "checkpoints").glob("*.pt"):
        try:
            times.append(path.stat().st_mtime_ns)
        except FileNotFoundError:  # deleted in the meantime
            continue
    return max(times, default=0)


def wait_for_checkpoint(cache: Path, process: subprocess.Popen[str], after: int = 0) -> None:
    """Wait until a process has written a checkpoint after that time."""
    wait_until(lambda: newest_checkpoint(cache) > after or process.poll() is not None)
    if process.returncode is not None:
        raise ChildProcessError(f"no checkpoint: {process.communicate()}")


def computed(text: str) -> int:
    """Return how many results `run_all` reports as computed."""
    (line,) = [line for line in text.splitlines() if line.endswith("results computed")]
    return int(line.split()[0])


def rows(store: Store, jobs: Sequence[Job]) -> pd.DataFrame:
    """Return the rows of all these jobs without training times."""
    tables = [store.read(job, digits.DIGEST).rows.drop(columns="seconds", errors="ignore") for job in jobs]
    return pd.concat(tables, ignore_index=True)


if __name__ == "__main__":
    from analysis.engine import training

    training.SAVE_SECONDS = SAVE_SECONDS
    sys.exit(main(*sys.argv[1:]))
