"""Assignment 1, Q4: cross entropy against the quadratic loss, each at its own best learning rate."""

from __future__ import annotations

from dataclasses import replace

from analysis.engine.run import Loss, Measure, Output, Run
from analysis.question import VALIDATION_EXAMPLES, Budget, Preset

OUTPUTS: tuple[Output, ...] = ("softmax", "sigmoid")
LOSSES: tuple[tuple[Loss, Output], ...] = (
    *(("cross_entropy", output) for output in OUTPUTS),
    *(("quadratic", output) for output in OUTPUTS),
)
LEARNING_RATES = (0.1, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 10.0, 30.0)
BATCH_SIZE = 128
BUDGETS = {"full": Budget((0, 1, 2, 3, 4), 15), "quick": Budget((0,), 1, 2_000)}
# For longer, with a worse rate on either side of each loss's best: how much of the lead is one of speed.
LONG_RATES = (0.1, 0.3, 1.0, 2.0, 3.0)
LONG_BUDGETS = {"full": Budget((0, 1, 2, 3, 4), 200), "quick": Budget((0,), 2, 2_000)}
LONG_EVERY: dict[Preset, int] = {"full": 10, "quick": 1}  # epochs
# The two pairs that Q5 does not train with Adam, at its rates and for as many epochs, to compare like with like.
WITH_ADAM: tuple[tuple[Loss, Output], ...] = (("cross_entropy", "sigmoid"), ("quadratic", "softmax"))
ADAM_RATES = (0.0003, 0.001, 0.003, 0.01, 0.03)
ADAM_EPOCHS: dict[Preset, int] = {"full": 30, "quick": 1}
# Rates about the one from which on some networks stop learning: how much of the error the quadratic loss passes back.
WATCHED_RATES = (0.3, 1.0, 1.4, 2.0, 3.0)
# The first epoch at the best rate of most: what the first updates do to what the losses pass back.
FIRST_RATE, DENSE = 1.0, 10  # measured after each of that many updates, then every tenth of the epoch
# The first epoch at larger rates, at which from some starts the quadratic losses learn nothing: what they pass back.
LARGER_RATES = (1.4, 2.0, 3.0)
# The confidently wrong start: how far the output bias of class 0 is raised and all others are lowered, which saturates
# outputs that compete and outputs that do not. Training starts from the largest shift.
SHIFTS = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)

METRICS = ("train_loss", "validation_accuracy", "test_loss", "test_accuracy")


def jobs(preset: Preset) -> tuple[Run, ...]:
    """Return every loss at every rate, from the usual and a confidently wrong start; first gradients over the shift;
    longer runs, and with Adam; what the losses pass back at the end and in the first updates."""
    budget = BUDGETS[preset]
    each_epoch = Measure(metrics=METRICS, every=budget.updates(BATCH_SIZE))

    def run(loss: Loss, output: Output, rate: float, seed: int, shift: float, *measures: Measure) -> Run:
        return Run(
            loss=loss,
            output=output,
            learning_rate=rate,
            init="saturated_output" if shift else "uniform_fan_in",
            init_scale=shift or 1.0,
            batch_size=BATCH_SIZE,
            train_examples=budget.train_examples,
            validation_examples=VALIDATION_EXAMPLES,
            epochs=budget.epochs if measures[0] is each_epoch else 1,
            measures=measures,
            seed=seed,
        )

    trained = tuple(
        run(loss, output, rate, seed, shift, each_epoch)
        for loss, output in LOSSES
        for shift in (0.0, SHIFTS[-1])
        for rate in LEARNING_RATES
        for seed in budget.seeds
    )
    first_gradient = Measure(
        metrics=("error_norm", "gradient_norm", "train_loss"), every=budget.updates(BATCH_SIZE)
    )
    probed = tuple(
        run(loss, output, LEARNING_RATES[0], seed, shift, first_gradient)
        for loss, output in LOSSES
        for shift in SHIFTS
        for seed in budget.seeds
    )
    long_budget = LONG_BUDGETS[preset]
    seldom = Measure(metrics=METRICS, every=LONG_EVERY[preset] * long_budget.updates(BATCH_SIZE))
    long = tuple(
        replace(run, measures=(seldom,))
        for loss, output in LOSSES
        for run in long_budget.grid(
            BATCH_SIZE, METRICS, loss=(loss,), output=(output,), learning_rate=LONG_RATES
        )
    )
    watched = budget.grid(
        BATCH_SIZE,
        ("train_loss", "error_norm"),
        loss=("quadratic",),
        output=OUTPUTS,
        learning_rate=WATCHED_RATES,
    )
    with_adam = tuple(
        replace(run, epochs=ADAM_EPOCHS[preset])
        for loss, output in WITH_ADAM
        for run in budget.grid(
            BATCH_SIZE, METRICS, loss=(loss,), output=(output,), optimizer=("adam",), learning_rate=ADAM_RATES
        )
    )
    first_updates = Measure(
        metrics=("error_norm", "train_loss", "test_accuracy"),
        every=max(1, budget.updates(BATCH_SIZE) // 10),
        dense_until=DENSE,
    )
    begun = tuple(
        run(loss, output, FIRST_RATE, seed, shift, first_updates)
        for loss, output in LOSSES
        for shift in (0.0, SHIFTS[-1])
        for seed in budget.seeds
    )
    begun_larger = tuple(
        run("quadratic", output, rate, seed, shift, replace(first_updates, dense_until=0))
        for output in OUTPUTS
        for shift in (0.0, SHIFTS[-1])
        for rate in LARGER_RATES
        for seed in budget.seeds
    )
    return trained + probed + long + watched + with_adam + begun + begun_larger
