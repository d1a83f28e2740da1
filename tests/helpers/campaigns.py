"""Campaigns for the tests, small enough for seconds: python -m tests.helpers.campaigns [the options of run_all]

Those of run_all's tests that kill, stop or race campaigns start this as a process of its own.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from analysis import run_all
from analysis.campaign.keys import Job, Program
from analysis.data import Data
from analysis.engine.run import Measure, Run
from analysis.errors import DataError
from analysis.question import Jobs, Preset
from tests.helpers import digits

MEASURES = (Measure(metrics=("train_loss", "test_accuracy"), every=5),)
EPOCHS: dict[Preset, int] = {"full": 10, "quick": 2}


def small(preset: Preset) -> tuple[Job, ...]:
    """Three runs and a program, over at once."""
    return (
        *(
            Run(hidden=(8,), learning_rate=rate, epochs=EPOCHS[preset], measures=MEASURES)
            for rate in (0.1, 0.5, 1.0)
        ),
        Program(name="campaigns.mean", function=mean, arguments=(("part", "train"),)),
    )


def shared(preset: Preset) -> tuple[Job, ...]:
    """One of the runs of `small`, and one more."""
    return tuple(
        Run(hidden=(8,), learning_rate=rate, epochs=EPOCHS[preset], measures=MEASURES) for rate in (0.5, 2.0)
    )


def broken(preset: Preset) -> tuple[Job, ...]:
    """A program that fails among others."""
    return (
        Program(name="campaigns.fail", function=fail),
        Program(name="campaigns.mean", function=mean, arguments=(("part", "test"),)),
        Program(name="campaigns.nothing", function=nothing),
    )


def long(preset: Preset) -> tuple[Job, ...]:
    """A stack that takes seconds, so that it can be interrupted."""
    return tuple(Run(hidden=(8,), learning_rate=rate, epochs=1_000, measures=MEASURES) for rate in (0.1, 0.2))


def endless(preset: Preset) -> tuple[Job, ...]:
    """A run that has to be stopped."""
    return (Run(hidden=(8,), learning_rate=0.1, epochs=1_000_000, measures=MEASURES),)


def crowd(preset: Preset) -> tuple[Job, ...]:
    """Programs that take their time and note that they were called, and runs of several shapes."""
    return (
        *(Program(name="campaigns.note", function=note, arguments=(("number", n),)) for n in range(12)),
        *(
            Run(hidden=(h,), learning_rate=0.1, epochs=20, measures=MEASURES, seed=seed)
            for h in (4, 5, 6)
            for seed in (0, 1)
        ),
    )


def deadly(preset: Preset) -> tuple[Job, ...]:
    """A program that kills the process that computes it; only for workers of a cluster."""
    return (
        Program(name="campaigns.die", function=die),
        Program(name="campaigns.mean", function=mean, arguments=(("part", "test"),)),
    )


EXPERIMENTS: dict[str, Jobs] = {
    each.__name__: each for each in (small, shared, broken, long, endless, crowd, deadly)
}


def mean(data: Data, device: object, part: str) -> pd.DataFrame:
    """Mean pixel of a part of the data."""
    return pd.DataFrame({"value": [float(getattr(data, f"{part}_images").mean())]})


def fail(data: Data, device: object) -> pd.DataFrame:
    """Fails."""
    raise RuntimeError("this one\ncannot work")


def nothing(data: Data, device: object) -> None:
    """Returns no table."""


def die(data: Data, device: object) -> pd.DataFrame:
    """Is killed for want of memory, say."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def note(data: Data, device: object, number: int) -> pd.DataFrame:
    """Appends its number to the file that NOTES names."""
    with open(os.environ["NOTES"], "a") as file:
        file.write(f"{number}\n")
    time.sleep(0.05)
    return pd.DataFrame({"value": [number]})


def no_data(folder: Path) -> Data:
    """Finds none."""
    raise DataError("MNIST is not to be had")


def main(*argv: str | Path, load: Callable[[Path], Data] = digits.load) -> int:
    """`run_all` with these experiments on the small data set."""
    return run_all.main(list(map(str, argv)), experiments=EXPERIMENTS, load=load, data_digest=digits.DIGEST)


if __name__ == "__main__":
    from analysis.engine import training

    training.SAVE_SECONDS = 0.05  # type: ignore[assignment]  # so that there is something to resume from
    sys.exit(main(*sys.argv[1:]))
