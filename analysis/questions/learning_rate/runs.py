"""Assignment 1, Q6: sensitivity of full-batch gradient descent to the learning rate."""

from __future__ import annotations

from analysis.engine.run import Measure, Run
from analysis.question import Preset

SOURCE_RATES = (0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 1.2, 2.0, 5.0, 8.0)  # of the source report
DIVERGING_RATES = (20.0, 100.0)
LEARNING_RATES = (0.001, 0.01, 0.03, *SOURCE_RATES[1:], *DIVERGING_RATES)
LONG_EPOCHS: dict[Preset, int] = {"full": 2_000, "quick": 4}
SHORT_EPOCHS: dict[Preset, int] = {"full": 500, "quick": 2}
# Other initializations, to see how much of a difference they make: for all epochs where a rate is, or nearly is,
# unstable; for fewer elsewhere, as all rates take hours.
UNSTABLE_RATES = (2.0, 5.0, 8.0)
UNSTABLE_SEEDS: dict[Preset, tuple[int, ...]] = {"full": (1, 2, 3, 4), "quick": ()}
STABLE_SEEDS: dict[Preset, tuple[int, ...]] = {"full": (1, 2), "quick": ()}

MEASURES = (
    Measure(metrics=("train_loss", "train_accuracy", "test_loss", "test_accuracy"), every=1),
    Measure(metrics=("sharpness",), every=50, dense_until=2),  # it costs as much as several epochs
)


def run(preset: Preset, learning_rate: float, seed: int) -> Run:
    """Return the run of 784-300-10 at a rate, of the longest budget that the rate and the seed get."""
    is_long = learning_rate in UNSTABLE_RATES or (seed == 0 and learning_rate not in DIVERGING_RATES)
    epochs = (LONG_EPOCHS if is_long else SHORT_EPOCHS)[preset]
    return Run(learning_rate=learning_rate, epochs=epochs, measures=MEASURES, seed=seed)


def jobs(preset: Preset) -> tuple[Run, ...]:
    """Return a long run per learning rate, all from the same initialization, and runs from other initializations."""
    return tuple(
        run(preset, rate, seed)
        for rate in LEARNING_RATES
        for seed in (0, *(UNSTABLE_SEEDS if rate in UNSTABLE_RATES else STABLE_SEEDS)[preset])
    )
