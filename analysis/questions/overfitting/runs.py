"""Assignment 1, Q2: train and test loss of three networks, and of one that does over-fit for contrast."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from analysis.campaign.keys import Job, Program
from analysis.engine.run import Measure, Run
from analysis.question import Preset

if TYPE_CHECKING:
    import torch

    from analysis.data import Data

SEEDS: dict[Preset, tuple[int, ...]] = {"full": (0, 1, 2), "quick": (0,)}
# Three starts of 10-10 left open whether its test loss rises; these further ones were declared after that was seen.
FURTHER_SEEDS: dict[Preset, tuple[int, ...]] = {"full": (3, 4, 5, 6), "quick": (1,)}
# As many as the source report's of the small networks.
EPOCHS: dict[Preset, int] = {"full": 20_000, "quick": 10}
SOURCE_RATE = 0.1  # the only one that the source report names; the others train the networks further
COMMON_RATE = 0.5  # steady for all three networks
FAR_RATE = 2.0  # trains them furthest; 784-300-10 had it first, the small ones came last
LEARNING_RATES = (SOURCE_RATE, COMMON_RATE, FAR_RATE)
NETWORKS = ((300,), (10, 10), (20, 20))
# Trained on at the source's rate, to where it turns by the common one, of which that is a fifth.
LONG_NETWORK = (20, 20)
LONG_EPOCHS: dict[Preset, int] = {"full": 80_000, "quick": 20}
FEW_EXAMPLES = 1_000  # training examples of the network that over-fits
FEW_EXAMPLES_LEARNING_RATE = 0.5
FEW_EXAMPLES_EPOCHS: dict[Preset, int] = {"full": 2_000, "quick": 50}

EVERY = {"full": 10, "quick": 1}  # epochs between measurements, but the first
METRICS = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
CONFIDENCE = ("misread_loss",)  # of the network with few examples and, at the common rate, of WATCHED
WATCHED = ((300,), (20, 20))  # one whose test loss does not rise there and one whose does
MEDIAN_OF = 51  # measurements around each, fewer where a curve has few: curves without single spikes


def smooth(curves: pd.DataFrame) -> pd.DataFrame:
    """Return running medians along the index, which pass over single spikes."""
    window = min(MEDIAN_OF, len(curves) // 12 | 1)
    return curves.rolling(window, min_periods=1, center=True).median()


def least_at(curves: pd.DataFrame) -> pd.Series[float]:
    """Return the epoch of each run's least value; running medians are flat about it, so it is the middle of these."""
    least = {run: curve.index[curve == curve.min()] for run, curve in curves.items()}
    return pd.Series({run: epochs[len(epochs) // 2] for run, epochs in least.items()})


def seeds(preset: Preset, hidden: tuple[int, ...], rate: float) -> tuple[int, ...]:
    """Return the seeds of a network on all examples at a rate."""
    return SEEDS[preset] + (FURTHER_SEEDS[preset] if (hidden, rate) == ((10, 10), COMMON_RATE) else ())


def jobs(preset: Preset) -> tuple[Job, ...]:
    """Three networks on all training examples at their rates, one for longer, and 784-300-10 on a thousand of them;
    the digits that this last one misreads at its least test loss or at the end."""
    compared = Program(
        name="overfitting.misread_at_least_and_end",
        function=misread_at_least_and_end,
        arguments=(("preset", preset),),
    )
    return (*runs(preset), compared)


def misread_at_least_and_end(data: Data, device: torch.device, preset: Preset) -> pd.DataFrame:
    """Train 784-300-10 on few examples, and again to the epoch of its least test loss: what do both misread?

    Returns:
        One row per seed and outcome: seed, epoch (of the least test loss), outcome (least, end, both: misread there
        alone, or at both), value (number of digits).
    """
    from analysis.engine.network import logits_of
    from analysis.engine.training import train

    def misread(weights: list[torch.Tensor]) -> torch.Tensor:
        return logits_of(weights, data.test_images.cpu()).argmax(1) != data.test_labels.cpu()

    to_the_end = [run for run in runs(preset) if run.train_examples == FEW_EXAMPLES]
    rows: list[tuple[int, int, str, int]] = []
    for run, at_the_end in zip(to_the_end, train(to_the_end, data, device), strict=True):
        losses = at_the_end.rows.query("metric == 'test_loss'").set_index("update")[["value"]]
        least = max(1, int(least_at(smooth(losses))["value"]))
        (at_least,) = train([replace(run, epochs=least)], data, device)
        first, last = misread(at_least.weights), misread(at_the_end.weights)
        for outcome, digits in (("least", first & ~last), ("end", last & ~first), ("both", first & last)):
            rows.append((run.seed, least, outcome, int(digits.sum())))
    return pd.DataFrame(rows, columns=["seed", "epoch", "outcome", "value"])


def runs(preset: Preset) -> tuple[Run, ...]:
    """Return the networks on all training examples, one for longer, and 784-300-10 on few."""
    full = preset == "full"
    thinned = (Measure(metrics=METRICS, every=EVERY[preset], dense_until=100),)
    confidence = Measure(metrics=CONFIDENCE, every=100 if full else 1)
    confidence_few = Measure(metrics=CONFIDENCE, every=EVERY[preset])
    everything = tuple(
        Run(
            hidden=hidden,
            learning_rate=rate,
            epochs=EPOCHS[preset],
            measures=(*thinned, confidence) if rate == COMMON_RATE and hidden in WATCHED else thinned,
            seed=seed,
        )
        for hidden in NETWORKS
        for rate in LEARNING_RATES
        for seed in seeds(preset, hidden, rate)
    )
    long = tuple(
        Run(
            hidden=LONG_NETWORK,
            learning_rate=SOURCE_RATE,
            epochs=LONG_EPOCHS[preset],
            measures=thinned,
            seed=seed,
        )
        for seed in SEEDS[preset]
    )
    few = tuple(
        Run(
            learning_rate=FEW_EXAMPLES_LEARNING_RATE,
            epochs=FEW_EXAMPLES_EPOCHS[preset],
            measures=(*thinned, confidence_few),
            train_examples=FEW_EXAMPLES,
            seed=seed,
        )
        for seed in SEEDS[preset]
    )
    return everything + long + few
