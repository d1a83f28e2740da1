"""Assignment 1, Q6: sensitivity of full-batch gradient descent to the learning rate."""

from __future__ import annotations

from analysis.engine.run import Measure, Run
from analysis.question import Preset

SOURCE_RATES = (0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 1.2, 2.0, 5.0, 8.0)  # of the source report
OTHER_RATES = (0.01, 0.03, 20.0, 100.0)  # between its smallest two, and beyond its largest
LEARNING_RATES = tuple(sorted(SOURCE_RATES + OTHER_RATES))
EPOCHS: dict[Preset, int] = {"full": 2_000, "quick": 4}
OTHER_EPOCHS: dict[Preset, int] = {"full": 500, "quick": 2}
# Other initializations, to see how much of a difference they make; for fewer epochs, as all rates take hours.
OTHER_SEEDS: dict[Preset, tuple[int, ...]] = {"full": (1, 2), "quick": ()}
START_EPOCHS = 50

MEASURES = (
    Measure(metrics=("train_loss", "train_accuracy", "test_loss", "test_accuracy"), every=1),
    Measure(metrics=("sharpness",), every=50, dense_until=2),  # it costs as much as several epochs
)


def jobs(preset: Preset) -> tuple[Run, ...]:
    """Return a run of 784-300-10 per learning rate from a common initialization, and runs from others."""
    return tuple(
        Run(hidden=(300,), learning_rate=rate, epochs=epochs, measures=MEASURES, seed=seed)
        for rate in LEARNING_RATES
        for seed in (0, *OTHER_SEEDS[preset])
        for epochs in (budget(preset, rate, seed),)
    )


def budget(preset: Preset, rate: float, seed: int) -> int:
    """Return for how many epochs a rate is trained from a seed."""
    if rate in OTHER_RATES:
        return OTHER_EPOCHS[preset]
    return EPOCHS[preset] if seed == 0 else START_EPOCHS
