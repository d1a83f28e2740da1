"""Assignment 1, Q6: sensitivity of full-batch gradient descent to the learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from analysis.campaign.keys import Job, Program
from analysis.engine.run import Measure, Run
from analysis.question import Preset

if TYPE_CHECKING:
    import torch

    from analysis.data import Data

SOURCE_RATES = (0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 1.2, 2.0, 5.0, 8.0)  # of the source report
OTHER_RATES = (0.01, 0.03, 3.0, 4.0, 12.0, 20.0, 100.0)  # between those, and beyond the largest
LEARNING_RATES = tuple(sorted(SOURCE_RATES + OTHER_RATES))
EPOCHS: dict[Preset, int] = {"full": 2_000, "quick": 4}
SEEDS: dict[Preset, tuple[int, ...]] = {"full": (0, 1, 2), "quick": (0,)}
# Where training is or may be unstable, runs scatter more: further starts, also of the rate below, to compare with.
SCATTERED_RATES = (1.2, 2.0, 3.0, 4.0, 5.0, 8.0)
FURTHER_SEEDS: dict[Preset, tuple[int, ...]] = {"full": (3, 4), "quick": ()}
# What becomes of the hidden units at a steady, an unstable and two hopeless rates.
SATURATION_RATES = (2.0, 8.0, 20.0, 100.0)
SATURATION_EPOCHS: dict[Preset, int] = {"full": 100, "quick": 2}
HOPELESS_RATES = SATURATION_RATES[2:]
OFF = 0.01  # activation below which a unit is off

MEASURES = (
    Measure(metrics=("train_loss", "train_accuracy", "test_loss", "test_accuracy"), every=1),
    Measure(metrics=("sharpness",), every=50, dense_until=2),  # it costs as much as several epochs
)


def units_off(
    data: Data, device: torch.device, epochs: int, rates: tuple[float, ...], seeds: tuple[int, ...]
) -> pd.DataFrame:
    """Train 784-300-10 by gradient descent, and count how many hidden activations are near 0 and near 1.

    Returns:
        One row per measurement, after every epoch: learning_rate, seed, epoch, metric (off, on: shares over units and
        training examples; train_loss), value.
    """
    import torch
    from torch import nn

    from analysis.engine.network import reference_model

    images, labels = data.train_images.to(device), data.train_labels.to(device)
    cross_entropy = nn.CrossEntropyLoss()
    rows: list[tuple[float, int, int, str, float]] = []
    for rate in rates:
        for seed in seeds:
            first, sigmoid, second = reference_model(_course(rate, epochs, seed)).to(device)
            parameters = [*first.parameters(), *second.parameters()]
            optimizer = torch.optim.SGD(parameters, lr=rate)
            for epoch in range(epochs + 1):
                optimizer.zero_grad()
                hidden = sigmoid(first(images))
                loss = cross_entropy(second(hidden), labels)
                values = {
                    "off": (hidden < OFF).double().mean().item(),
                    "on": (hidden > 1 - OFF).double().mean().item(),
                    "train_loss": loss.item(),
                }
                rows += [(rate, seed, epoch, metric, value) for metric, value in values.items()]
                loss.backward()
                optimizer.step()
    return pd.DataFrame(rows, columns=["learning_rate", "seed", "epoch", "metric", "value"])


def _course(rate: float, epochs: int, seed: int) -> Run:
    return Run(hidden=(300,), learning_rate=rate, epochs=epochs, measures=MEASURES, seed=seed)


def jobs(preset: Preset) -> tuple[Job, ...]:
    """Return 784-300-10 at every learning rate from the same initializations, at some with its slopes at first."""
    courses = tuple(
        _course(rate, EPOCHS[preset], seed)
        for rate in LEARNING_RATES
        for seed in SEEDS[preset] + (FURTHER_SEEDS[preset] if rate in SCATTERED_RATES else ())
    )
    slopes = tuple(
        Run(
            hidden=(300,),
            learning_rate=rate,
            epochs=SATURATION_EPOCHS[preset],
            measures=(Measure(metrics=("mean_slope",), every=1),),
            seed=seed,
        )
        for rate in SATURATION_RATES
        for seed in SEEDS[preset]
    )
    off = Program(
        name="learning_rate.units_off",
        function=units_off,
        arguments=(
            ("epochs", SATURATION_EPOCHS[preset]),
            ("rates", HOPELESS_RATES),
            ("seeds", SEEDS[preset]),
        ),
        version=2,
    )
    return (*courses, *slopes, off)
