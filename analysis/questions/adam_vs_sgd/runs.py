"""Assignment 2, exercise 4: SGD and Adam over six decades of learning rates."""

from __future__ import annotations

from analysis.engine.run import Optimizer, Run
from analysis.question import Budget, Preset

OPTIMIZERS: tuple[Optimizer, ...] = ("sgd", "adam")
LEARNING_RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0)
BATCH_SIZE = 128
BUDGETS = {"full": Budget((0, 1, 2, 3, 4), 15), "quick": Budget((0,), 1, 2_000)}

# Until neither method improves any more, at the rates of which some may lead far then.
LONG_RATES: dict[Optimizer, tuple[float, ...]] = {
    "sgd": (3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0),
    "adam": (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1),
}
LONG_BUDGETS = {"full": Budget((0, 1, 2, 3, 4), 60), "quick": Budget((0,), 2, 2_000)}

METRICS = ("train_loss", "validation_accuracy", "test_loss", "test_accuracy")


def jobs(preset: Preset) -> tuple[Run, ...]:
    """Return both optimizers at the same rates, from the same initializations, on the same batches, for two budgets."""
    window = BUDGETS[preset].grid(BATCH_SIZE, METRICS, optimizer=OPTIMIZERS, learning_rate=LEARNING_RATES)
    long = [
        run
        for optimizer, rates in LONG_RATES.items()
        for run in LONG_BUDGETS[preset].grid(BATCH_SIZE, METRICS, optimizer=(optimizer,), learning_rate=rates)
    ]
    return (*window, *long)
