"""Assignment 1, Q6: sensitivity of full-batch gradient descent to the learning rate."""

from __future__ import annotations

from analysis.engine.run import Measure, Run
from analysis.question import Preset

LEARNING_RATES = (0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 1.2, 2.0, 5.0, 8.0)
EPOCHS: dict[Preset, int] = {"full": 2_000, "quick": 4}
# Other initializations, to see how much of a difference they make; for fewer epochs, as all rates take hours.
OTHER_SEEDS: dict[Preset, tuple[int, ...]] = {"full": (1, 2), "quick": ()}
OTHER_EPOCHS = 50

MEASURES = (
    Measure(metrics=("train_loss", "train_accuracy", "test_loss", "test_accuracy"), every=1),
    Measure(metrics=("sharpness",), every=50, dense_until=2),  # it costs as much as several epochs
)


def jobs(preset: Preset) -> tuple[Run, ...]:
    """One run of 784-300-10 per learning rate, all from the same initialization; shorter ones from others."""
    budgets = [(0, EPOCHS[preset]), *((seed, OTHER_EPOCHS) for seed in OTHER_SEEDS[preset])]
    return tuple(
        Run(hidden=(300,), learning_rate=rate, epochs=epochs, measures=MEASURES, seed=seed)
        for seed, epochs in budgets
        for rate in LEARNING_RATES
    )
