"""Assignment 2, exercise 2: all weights and biases initialized with one value."""

from __future__ import annotations

from analysis.engine.run import TRAIN_EXAMPLES, Activation, Measure, Run
from analysis.question import Budget, Preset

ACTIVATIONS: tuple[Activation, ...] = ("sigmoid", "tanh", "relu")
CONSTANTS = (0.0, 0.01, 0.1, 1.0)
HIDDEN = (300,)
LEARNING_RATE = 0.1
# Equal units move their common output weight as many times as far as one unit would: at this rate exactly as far.
SLOWED_RATE = LEARNING_RATE / HIDDEN[0]
ONE_UNIT_RATES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # how far one unit can get is a matter of the rate
BATCH_SIZE = 128
# Nothing is chosen here, so nothing is held out. The full batch gets more epochs, as its epochs are one update.
BUDGETS = {"full": Budget((0, 1, 2), 15, TRAIN_EXAMPLES), "quick": Budget((0,), 1, 1_000)}
FULL_BATCH_EPOCHS: dict[Preset, int] = {"full": 100, "quick": 3}
FULL_BATCH_EVERY: dict[Preset, int] = {"full": 10, "quick": 1}  # as measuring takes longer than its updates

METRICS = ("train_loss", "test_accuracy", "unit_distance", "gradient_norm", "mean_slope")


def jobs(preset: Preset) -> tuple[Run, ...]:
    """Return constant initializations and, for comparison, random ones, and networks of a single hidden unit.

    A constant initialization does not depend on the seed, which decides the order of the examples only: full-batch
    descent from it needs one run.
    """
    budget = BUDGETS[preset]
    runs = []
    for batch_size in (None, BATCH_SIZE):
        epochs = budget.epochs if batch_size else FULL_BATCH_EPOCHS[preset]
        every = budget.updates(batch_size) if batch_size else FULL_BATCH_EVERY[preset]
        measures = (Measure(metrics=METRICS, every=every),)
        for activation in ACTIVATIONS:
            starts = [
                ("constant", HIDDEN, constant, rate)
                for rate in ((LEARNING_RATE, SLOWED_RATE) if batch_size else (LEARNING_RATE,))
                for constant in CONSTANTS
            ]
            starts.append(("uniform_fan_in", HIDDEN, 1.0, LEARNING_RATE))
            if batch_size:  # the full batch would take it thousands of epochs to train
                starts += [("uniform_fan_in", (1,), 1.0, rate) for rate in ONE_UNIT_RATES]
            for init, hidden, scale, rate in starts:
                seeds = budget.seeds[:1] if init == "constant" and batch_size is None else budget.seeds
                runs += [
                    Run(
                        hidden=hidden,
                        activation=activation,
                        init="constant" if init == "constant" else "uniform_fan_in",
                        init_scale=scale,
                        learning_rate=rate,
                        batch_size=batch_size,
                        train_examples=budget.train_examples,
                        epochs=epochs,
                        measures=measures,
                        seed=seed,
                    )
                    for seed in seeds
                ]
    return tuple(runs)
