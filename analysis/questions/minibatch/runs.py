"""Assignment 2, exercise 1: batch sizes from one example to all, each at its own best learning rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from analysis.campaign.keys import Job, Program
from analysis.engine.run import Measure, Run
from analysis.question import VALIDATION_EXAMPLES, Budget, Preset

if TYPE_CHECKING:
    import torch

    from analysis.data import Data

# Five rates for every batch size, a factor of about three apart, about where its best was expected; from 128 on also 2,
# which is fastest for gradient descent in assignment 1.
LEARNING_RATES: dict[int | None, tuple[float, ...]] = {
    1: (0.01, 0.03, 0.1, 0.3, 1.0),
    4: (0.01, 0.03, 0.1, 0.3, 1.0),
    16: (0.03, 0.1, 0.3, 1.0, 3.0),
    128: (0.1, 0.3, 1.0, 2.0, 3.0, 10.0),
    1_024: (0.3, 1.0, 2.0, 3.0, 10.0, 30.0),
    8_192: (0.3, 1.0, 2.0, 3.0, 10.0, 30.0),
    None: (0.1, 0.3, 1.0, 2.0, 3.0, 10.0),
}
DECAYING = (1, 16)  # batch sizes that are also trained with a decreasing rate
DECAYS = (0.1, 1.0)  # the rate is halved after 1/decay epochs, a third after twice as many, …
BUDGETS = {"full": Budget((0, 1, 2), 15), "quick": Budget((0,), 1, 1_000)}
# For longer, to a plateau: rates about the one that is best then, on both sides of it where that takes minutes and not
# hours, and the epochs.
LONG: dict[int | None, tuple[tuple[float, ...], int]] = {
    1: ((0.03, 0.1, 0.3), 60),
    4: ((0.03, 0.1, 0.3), 60),
    16: ((0.1, 0.3, 1.0), 60),
    128: ((0.3, 1.0, 2.0), 100),
    1_024: ((0.3, 1.0, 2.0), 300),
    8_192: ((0.5, 1.0, 2.0), 4_000),
    None: ((1.0, 2.0), 20_000),
}
LONG_MEASUREMENTS = 20
# Of large sizes, which do not get far in the short runs: the fastest of the long rates and the next larger one (of GD
# that is slower in assignment 1), until test accuracy is about 95 %, measured often.
DENSE: dict[int | None, tuple[tuple[float, ...], int]] = {
    1_024: ((2.0, 3.0), 30),
    8_192: ((2.0, 3.0), 180),
    None: ((2.0,), 900),
}
DENSE_MEASUREMENTS = 90
# A decreasing rate for as long: from the best constant one and the next larger one.
LONG_DECAYING: dict[int | None, tuple[float, ...]] = {1: (0.1, 0.3), 16: (0.3, 1.0)}
# Further seeds of these, up to the largest size that takes minutes on two cores: of three, the intervals are wide.
FURTHER_SEEDS: dict[Preset, tuple[int, ...]] = {"full": (3, 4), "quick": (1,)}
FURTHER_SIZE = 1_024
FULL_BATCH_FACTOR = 10  # the full batch gets so many times the epochs: its curve shows both budgets


def plain_seconds(data: Data, device: torch.device) -> pd.DataFrame:
    """Time an update of 784-300-10 in plain PyTorch: nn.Sequential, autograd and optim.SGD, without loader.

    Returns:
        One row per batch size (of all training examples: 60,000): batch_size, and the seconds of one update.
    """
    import torch

    from analysis.engine.plain import seconds_per_update

    rows = [
        (batch_size, seconds_per_update(data, device, batch_size, torch.optim.SGD))
        for batch_size in (size or len(data.train_images) for size in LEARNING_RATES)
    ]
    return pd.DataFrame(rows, columns=["batch_size", "seconds"])


def jobs(preset: Preset) -> tuple[Job, ...]:
    """Return every batch size at its rates, constant and, for the noisiest, decreasing; `dense_jobs`; `long_jobs`."""
    budget = BUDGETS[preset]
    runs: list[Job] = [Program(name="minibatch.plain_seconds", function=plain_seconds, version=2)]
    for batch_size, rates in LEARNING_RATES.items():
        updates = budget.updates(batch_size)
        measures = (
            Measure(metrics=("train_loss",), every=updates),
            Measure(
                metrics=("validation_accuracy", "test_loss", "test_accuracy"), every=max(1, updates // 4)
            ),
        )
        runs += [
            Run(
                learning_rate=rate,
                decay=decay,
                batch_size=batch_size,
                train_examples=budget.train_examples,
                validation_examples=VALIDATION_EXAMPLES,
                epochs=budget.epochs * (FULL_BATCH_FACTOR if batch_size is None else 1),
                measures=measures,
                seed=seed,
            )
            for decay in (0.0, *(DECAYS if batch_size in DECAYING else ()))
            for rate in rates
            for seed in budget.seeds
        ]
    return (*runs, *dense_jobs(preset), *long_jobs(preset))


def dense_jobs(preset: Preset) -> tuple[Run, ...]:
    """Return the runs of the large sizes that tell when they are fast."""
    budget = BUDGETS[preset]
    runs = []
    for batch_size, (rates, epochs) in DENSE.items():
        if preset == "quick":
            epochs = 11  # more than the short runs of the full batch
        every = budget.updates(batch_size) * max(1, epochs // DENSE_MEASUREMENTS)
        runs += [
            Run(
                learning_rate=rate,
                batch_size=batch_size,
                train_examples=budget.train_examples,
                validation_examples=VALIDATION_EXAMPLES,
                epochs=epochs,
                measures=(Measure(metrics=("validation_accuracy", "test_accuracy"), every=every),),
                seed=seed,
            )
            for rate in rates
            for seed in budget.seeds
        ]
    return tuple(runs)


def long_jobs(preset: Preset) -> tuple[Run, ...]:
    """Return the longer runs of every batch size, of the noisiest at decreasing rates as well."""
    budget = BUDGETS[preset]
    runs = []
    for batch_size, (rates, epochs) in LONG.items():
        if preset == "quick":
            epochs = 12
        seeds = budget.seeds + (FURTHER_SEEDS[preset] if (batch_size or math.inf) <= FURTHER_SIZE else ())
        every = budget.updates(batch_size) * max(1, epochs // LONG_MEASUREMENTS)
        measure = Measure(
            metrics=("train_loss", "validation_accuracy", "test_loss", "test_accuracy"), every=every
        )
        settings = [
            *((rate, 0.0, seed) for rate in rates for seed in seeds),
            *(
                (rate, decay, seed)
                for rate in LONG_DECAYING.get(batch_size, ())
                for decay in DECAYS
                for seed in budget.seeds
            ),
        ]
        runs += [
            Run(
                learning_rate=rate,
                decay=decay,
                batch_size=batch_size,
                train_examples=budget.train_examples,
                validation_examples=VALIDATION_EXAMPLES,
                epochs=epochs,
                measures=(measure,),
                seed=seed,
            )
            for rate, decay, seed in settings
        ]
    return tuple(runs)
