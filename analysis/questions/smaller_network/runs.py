"""Assignment 2 with two networks: 784-300-10, with which it is answered, and the one that Q3's earlier rule took.

The runs of the first are those of the exercises, at the rates that are best there.
"""

from __future__ import annotations

from analysis.engine.run import TRAIN_EXAMPLES, Measure, Optimizer, Order, Run
from analysis.question import VALIDATION_EXAMPLES, Budget, Preset

NETWORKS = ((300,), (128,))
METRICS = ("train_loss", "validation_accuracy", "test_loss", "test_accuracy")

# Exercise 1: batch sizes, their fastest rates, and their best ones for so many epochs.
SPEEDS: dict[int | None, float] = {1: 0.1, 128: 2.0, None: 2.0}
SPEED_BUDGETS = {"full": Budget((0, 1, 2), 15), "quick": Budget((0,), 1, 1_000)}
FULL_BATCH_FACTOR = 10
ENDS = {1: (0.1, 60), 128: (1.0, 100), 1_024: (1.0, 300)}
END_BUDGETS = {"full": Budget((0, 1, 2, 3, 4), 0), "quick": Budget((0, 1), 0, 1_000)}
END_MEASUREMENTS = 20

# Exercise 2: values of all weights and biases; None for the usual start.
STARTS = (0.0, 0.01, 0.1, 1.0, None)
START_RATE, START_BATCH = 0.1, 128
START_BUDGETS = {"full": Budget((0, 1, 2), 15, TRAIN_EXAMPLES), "quick": Budget((0,), 1, 1_000)}
START_METRICS = ("train_loss", "test_accuracy", "unit_distance", "gradient_norm", "mean_slope")

# Exercise 3: the best rate of either order for many passes.
ORDERS: dict[Order, float] = {"shuffled": 0.03, "label_sorted": 0.1}
ORDER_BUDGETS = {"full": Budget((0, 1, 2), 300), "quick": Budget((0,), 2, 500)}

# Exercise 4: either optimizer at its best rates, which differ between the networks, and their neighbours.
OPTIMIZERS: dict[Optimizer, tuple[float, ...]] = {"sgd": (0.3, 1.0, 3.0), "adam": (3e-4, 1e-3, 3e-3, 1e-2)}
OPTIMIZER_BATCH = 128
OPTIMIZER_BUDGETS = {"full": Budget((0, 1, 2, 3, 4), 60), "quick": Budget((0,), 2, 2_000)}


def jobs(preset: Preset) -> tuple[Run, ...]:
    """Return the runs of the four exercises with either network."""
    return tuple(
        run
        for hidden in NETWORKS
        for run in (
            *_batch_sizes(preset, hidden),
            *_starts(preset, hidden),
            *_orders(preset, hidden),
            *_optimizers(preset, hidden),
        )
    )


def speed_epochs(preset: Preset, batch_size: int | None) -> int:
    """Return for how many epochs a batch size is run at its fastest rate."""
    return SPEED_BUDGETS[preset].epochs * (FULL_BATCH_FACTOR if batch_size is None else 1)


def end_epochs(preset: Preset, batch_size: int) -> int:
    """Return for how many epochs a batch size is run at its best rate."""
    return ENDS[batch_size][1] if preset == "full" else 3


def _batch_sizes(preset: Preset, hidden: tuple[int, ...]) -> list[Run]:
    speed, end = SPEED_BUDGETS[preset], END_BUDGETS[preset]
    settings: list[tuple[int | None, float, int, tuple[Measure, ...], Budget]] = []
    for batch_size, rate in SPEEDS.items():
        updates = speed.updates(batch_size)
        measures = (
            Measure(metrics=("train_loss",), every=updates),
            Measure(metrics=METRICS[1:], every=max(1, updates // 4)),
        )
        settings.append((batch_size, rate, speed_epochs(preset, batch_size), measures, speed))
    for batch_size, (rate, _) in ENDS.items():
        epochs = end_epochs(preset, batch_size)
        every = end.updates(batch_size) * max(1, epochs // END_MEASUREMENTS)
        settings.append((batch_size, rate, epochs, (Measure(metrics=METRICS, every=every),), end))
    return [
        Run(
            hidden=hidden,
            learning_rate=rate,
            batch_size=batch_size,
            train_examples=budget.train_examples,
            validation_examples=VALIDATION_EXAMPLES,
            epochs=epochs,
            measures=measures,
            seed=seed,
        )
        for batch_size, rate, epochs, measures, budget in settings
        for seed in budget.seeds
    ]


def _starts(preset: Preset, hidden: tuple[int, ...]) -> list[Run]:
    budget = START_BUDGETS[preset]
    return [
        Run(
            hidden=hidden,
            init="uniform_fan_in" if constant is None else "constant",
            init_scale=1.0 if constant is None else constant,
            learning_rate=START_RATE,
            batch_size=START_BATCH,
            train_examples=budget.train_examples,
            epochs=budget.epochs,
            measures=(Measure(metrics=START_METRICS, every=budget.updates(START_BATCH)),),
            seed=seed,
        )
        for constant in STARTS
        for seed in budget.seeds
    ]


def _orders(preset: Preset, hidden: tuple[int, ...]) -> list[Run]:
    budget = ORDER_BUDGETS[preset]
    updates = budget.updates(1)
    within = Measure(metrics=("validation_accuracy",), every=10 * updates + max(1, updates // 10))
    ends: dict[Order, tuple[Measure, ...]] = {
        "shuffled": (Measure(metrics=("train_loss", "test_accuracy"), every=10 * updates),),
        "label_sorted": tuple(
            Measure(metrics=(metric,), every=10 * updates) for metric in ("test_accuracy", "train_loss")
        ),
    }
    return [
        Run(
            hidden=hidden,
            order=order,
            learning_rate=rate,
            batch_size=1,
            train_examples=budget.train_examples,
            validation_examples=VALIDATION_EXAMPLES,
            epochs=budget.epochs,
            measures=(*ends[order], within),
            seed=seed,
        )
        for order, rate in ORDERS.items()
        for seed in budget.seeds
    ]


def _optimizers(preset: Preset, hidden: tuple[int, ...]) -> list[Run]:
    budget = OPTIMIZER_BUDGETS[preset]
    return [
        run
        for optimizer, rates in OPTIMIZERS.items()
        for run in budget.grid(
            OPTIMIZER_BATCH, METRICS, hidden=(hidden,), optimizer=(optimizer,), learning_rate=rates
        )
    ]
