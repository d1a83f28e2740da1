"""Assignment 1, Q6: sensitivity of full-batch gradient descent to the learning rate."""

from __future__ import annotations

from analysis.engine.run import Measure, Run
from analysis.question import Preset

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

MEASURES = (
    Measure(metrics=("train_loss", "train_accuracy", "test_loss", "test_accuracy"), every=1),
    Measure(metrics=("sharpness",), every=50, dense_until=2),  # it costs as much as several epochs
)


def jobs(preset: Preset) -> tuple[Run, ...]:
    """Return 784-300-10 at every learning rate from the same initializations, at some with its slopes at first."""
    courses = tuple(
        Run(hidden=(300,), learning_rate=rate, epochs=EPOCHS[preset], measures=MEASURES, seed=seed)
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
    return courses + slopes
