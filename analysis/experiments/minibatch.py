"""Assignment 2, exercise 1: batch sizes from one example to all, each at its own best learning rate."""

from __future__ import annotations

from analysis.experiments import VALIDATION_EXAMPLES, Budget, Experiment, Preset
from analysis.runs import Measure, Run

# Five rates for every batch size, a factor of about three apart, about where its best was expected.
LEARNING_RATES: dict[int | None, tuple[float, ...]] = {
    1: (0.01, 0.03, 0.1, 0.3, 1.0),
    4: (0.01, 0.03, 0.1, 0.3, 1.0),
    16: (0.03, 0.1, 0.3, 1.0, 3.0),
    128: (0.1, 0.3, 1.0, 3.0, 10.0),
    1_024: (0.3, 1.0, 3.0, 10.0, 30.0),
    8_192: (0.3, 1.0, 3.0, 10.0, 30.0),
    None: (0.1, 0.3, 1.0, 3.0, 10.0),
}
DECAYING = (1, 16)  # batch sizes that are also trained with a decreasing rate
DECAY = 1.0  # the rate is halved after one epoch, a third after two, …
BUDGETS = {"full": Budget((0, 1, 2), 15), "quick": Budget((0,), 1, 1_000)}
FULL_BATCH_FACTOR = 10  # the full batch gets so many times the epochs: its curve shows both budgets


def jobs(preset: Preset) -> tuple[Run, ...]:
    """Every batch size at its five rates, constant and, for the noisiest, decreasing."""
    budget = BUDGETS[preset]
    runs = []
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
            for decay in ((0.0, DECAY) if batch_size in DECAYING else (0.0,))
            for rate in rates
            for seed in budget.seeds
        ]
    return tuple(runs)


EXPERIMENT = Experiment("minibatch", "Assignment 2, exercise 1: minibatches", jobs)
