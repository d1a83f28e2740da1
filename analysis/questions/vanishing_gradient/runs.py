"""Assignment 1, Q7: gradient norms per layer, over depth, activation and skip connections."""

from __future__ import annotations

from analysis.engine.run import Activation, Run
from analysis.question import Budget, Preset

ACTIVATIONS: tuple[Activation, ...] = ("sigmoid", "tanh", "relu")
DEPTHS = (1, 2, 3, 4, 6, 8)  # hidden layers
WIDTH = 300
LEARNING_RATES = (0.1, 0.5)
BATCH_SIZE = 128
# Fewer examples than elsewhere: the gradients are the subject, not the accuracy.
BUDGETS = {"full": Budget((0, 1, 2, 3, 4), 6, 10_000), "quick": Budget((0,), 1, 1_000)}

METRICS = ("gradient_norm", "weight_norm", "error_norm", "train_loss", "validation_accuracy", "test_accuracy")
SLOPE = ("mean_slope",)  # of the network that the question asks about: whether it saturates as it is trained


def jobs(preset: Preset) -> tuple[Run, ...]:
    """Return networks of equal hidden layers; a skip connection needs at least two of them."""
    return tuple(
        run
        for depth in DEPTHS
        for run in BUDGETS[preset].grid(
            BATCH_SIZE,
            METRICS + (SLOPE if depth == 1 else ()),
            hidden=((WIDTH,) * depth,),
            skip=(False, True) if depth > 1 else (False,),
            activation=ACTIVATIONS,
            learning_rate=LEARNING_RATES,
        )
    )
