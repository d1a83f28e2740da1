"""Assignment 1, Q7: gradient norms per layer, over depth, activation and skip connections."""

from __future__ import annotations

from analysis.engine.run import Activation, Measure, Run
from analysis.question import VALIDATION_EXAMPLES, Budget, Preset

ACTIVATIONS: tuple[Activation, ...] = ("sigmoid", "tanh", "relu")
DEPTHS = (1, 2, 3, 4, 6, 8)  # hidden layers
WIDTH = 300
LEARNING_RATES = (0.1, 0.5)
BATCH_SIZE = 128
# Fewer examples than elsewhere: the gradients are the subject, not the accuracy.
BUDGETS = {"full": Budget((0, 1, 2), 6, 10_000), "quick": Budget((0,), 1, 1_000)}

METRICS = ("gradient_norm", "train_loss", "validation_accuracy", "test_accuracy")


def jobs(preset: Preset) -> tuple[Run, ...]:
    """Networks of equal hidden layers; a skip connection needs at least two of them."""
    budget = BUDGETS[preset]
    measures = (Measure(metrics=METRICS, every=budget.updates(BATCH_SIZE)),)
    return tuple(
        Run(
            hidden=(WIDTH,) * depth,
            activation=activation,
            skip=skip,
            learning_rate=rate,
            batch_size=BATCH_SIZE,
            train_examples=budget.train_examples,
            validation_examples=VALIDATION_EXAMPLES,
            epochs=budget.epochs,
            measures=measures,
            seed=seed,
        )
        for depth in DEPTHS
        for skip in ((False, True) if depth > 1 else (False,))
        for activation in ACTIVATIONS
        for rate in LEARNING_RATES
        for seed in budget.seeds
    )
