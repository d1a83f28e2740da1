"""Assignment 1, Q7: gradient norms per layer, over depth, activation and skip connections."""

from __future__ import annotations

from analysis.engine.run import Activation, Measure, Run
from analysis.question import Budget, Preset

ACTIVATIONS: tuple[Activation, ...] = ("sigmoid", "tanh", "relu")
DEPTHS = (1, 2, 3, 4, 6, 8)  # hidden layers
WIDTH = 300
LEARNING_RATES = (0.1, 0.5)
BATCH_SIZE = 128
# Fewer examples than elsewhere: the gradients are the subject, not the accuracy.
BUDGETS = {"full": Budget((0, 1, 2, 3, 4), 6, 10_000), "quick": Budget((0,), 1, 1_000)}

# The question's own network, trained as in the program of exercise 1, and at the rate that is fastest there.
DESCENT_RATES = (0.1, 2.0)
DESCENT_SEEDS: dict[Preset, tuple[int, ...]] = {"full": (0, 1, 2), "quick": (0,)}
DESCENT_EPOCHS: dict[Preset, int] = {"full": 2_000, "quick": 4}

METRICS = ("gradient_norm", "weight_norm", "error_norm", "train_loss", "validation_accuracy", "test_accuracy")
SLOPE = ("mean_slope",)  # of the network that the question asks about: whether it saturates as it is trained
DESCENT_MEASURES = (
    Measure(metrics=("gradient_norm", "weight_norm", "error_norm", "mean_slope"), every=50, dense_until=10),
    Measure(metrics=("train_loss", "test_accuracy"), every=50, dense_until=10),
)


def jobs(preset: Preset) -> tuple[Run, ...]:
    """Return networks of equal hidden layers, and gradient descent of the one with a single hidden layer.

    A skip connection needs at least two hidden layers.
    """
    stochastic = tuple(
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
    descent = tuple(
        Run(
            hidden=(WIDTH,),
            learning_rate=rate,
            epochs=DESCENT_EPOCHS[preset],
            measures=DESCENT_MEASURES,
            seed=seed,
        )
        for rate in DESCENT_RATES
        for seed in DESCENT_SEEDS[preset]
    )
    return stochastic + descent
