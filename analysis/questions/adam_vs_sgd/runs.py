"""Assignment 2, exercise 4: SGD and Adam over six decades of learning rates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from analysis.campaign.keys import Job, Program
from analysis.engine.run import Optimizer
from analysis.question import Budget, Preset

if TYPE_CHECKING:
    import torch

    from analysis.data import Data

OPTIMIZERS: tuple[Optimizer, ...] = ("sgd", "adam")
LEARNING_RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0)
BATCH_SIZE = 128
BUDGETS = {"full": Budget((0, 1, 2, 3, 4), 15), "quick": Budget((0,), 1, 2_000)}

# Until neither method improves any more, at the rates of which some may lead far then.
LONG_RATES: dict[Optimizer, tuple[float, ...]] = {
    "sgd": (3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 2.0, 3.0, 10.0),
    "adam": (3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3),
}
LONG_BUDGETS = {"full": Budget((0, 1, 2, 3, 4), 60), "quick": Budget((0,), 2, 2_000)}

# Adam without its running mean of the gradients (beta1 = 0), which is a momentum: whether that makes it fast.
NO_MEAN_RATES = (3e-4, 1e-3, 3e-3, 1e-2)

# SGD with momentum 0.9, which gets about ten times as far per update: from a tenth of SGD's rates to its best one.
MOMENTUM_RATES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
LONG_MOMENTUM_RATES = (0.01, 0.03, 0.1, 0.3, 1.0)

METRICS = ("train_loss", "validation_accuracy", "test_loss", "test_accuracy")


def plain_seconds(data: Data, device: torch.device) -> pd.DataFrame:
    """Time an update of either optimizer in plain PyTorch: columns optimizer, seconds."""
    import torch

    from analysis.engine.plain import seconds_per_update

    classes = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    rows = [(name, seconds_per_update(data, device, BATCH_SIZE, classes[name])) for name in OPTIMIZERS]
    return pd.DataFrame(rows, columns=["optimizer", "seconds"])


def jobs(preset: Preset) -> tuple[Job, ...]:
    """Return both optimizers at the same rates, from the same initializations, on the same batches, for two budgets;
    Adam without momentum, and SGD with it; what an update of either costs."""
    window = BUDGETS[preset].grid(BATCH_SIZE, METRICS, optimizer=OPTIMIZERS, learning_rate=LEARNING_RATES)
    no_mean = BUDGETS[preset].grid(
        BATCH_SIZE, METRICS, optimizer=("adam",), beta1=(0.0,), learning_rate=NO_MEAN_RATES
    )
    long = [
        run
        for optimizer, rates in LONG_RATES.items()
        for run in LONG_BUDGETS[preset].grid(BATCH_SIZE, METRICS, optimizer=(optimizer,), learning_rate=rates)
    ]
    momentum = [
        run
        for budget, rates in ((BUDGETS, MOMENTUM_RATES), (LONG_BUDGETS, LONG_MOMENTUM_RATES))
        for run in budget[preset].grid(BATCH_SIZE, METRICS, optimizer=("momentum",), learning_rate=rates)
    ]
    return (
        *window,
        *no_mean,
        *long,
        *momentum,
        Program(name="adam_vs_sgd.plain_seconds", function=plain_seconds, version=2),
    )
