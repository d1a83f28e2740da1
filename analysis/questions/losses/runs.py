"""Assignment 1, Q4: cross entropy against the quadratic loss, each at its own best learning rate."""

from __future__ import annotations

from analysis.engine.run import Loss, Measure, Output, Run
from analysis.question import VALIDATION_EXAMPLES, Budget, Preset

LOSSES: tuple[tuple[Loss, Output], ...] = (
    ("cross_entropy", "softmax"),
    ("quadratic", "softmax"),
    ("quadratic", "sigmoid"),
)
LEARNING_RATES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
BATCH_SIZE = 128
BUDGETS = {"full": Budget((0, 1, 2, 3, 4), 15), "quick": Budget((0,), 1, 2_000)}
# The confidently wrong start: how far the output bias of class 0 is raised. Training starts from the highest.
BIASES = (0.0, 2.0, 4.0, 6.0, 8.0, 10.0)
BIASED_SEEDS: dict[Preset, tuple[int, ...]] = {"full": (0, 1, 2), "quick": (0,)}

METRICS = ("train_loss", "validation_accuracy", "test_loss", "test_accuracy")


def jobs(preset: Preset) -> tuple[Run, ...]:
    """Return every loss at every rate, from the usual and a confidently wrong start; first gradients over the bias."""
    budget = BUDGETS[preset]
    each_epoch = Measure(metrics=METRICS, every=budget.updates(BATCH_SIZE))

    def run(loss: Loss, output: Output, rate: float, seed: int, bias: float, *measures: Measure) -> Run:
        return Run(
            loss=loss,
            output=output,
            learning_rate=rate,
            init="biased_output" if bias else "uniform_fan_in",
            init_scale=bias or 1.0,
            batch_size=BATCH_SIZE,
            train_examples=budget.train_examples,
            validation_examples=VALIDATION_EXAMPLES,
            epochs=budget.epochs if measures[0] is each_epoch else 1,
            measures=measures,
            seed=seed,
        )

    trained = tuple(
        run(loss, output, rate, seed, bias, each_epoch)
        for loss, output in LOSSES
        for bias, seeds in ((0.0, budget.seeds), (BIASES[-1], BIASED_SEEDS[preset]))
        for rate in LEARNING_RATES
        for seed in seeds
    )
    first_gradient = Measure(metrics=("gradient_norm", "train_loss"), every=budget.updates(BATCH_SIZE))
    probed = tuple(
        run(loss, output, LEARNING_RATES[0], seed, bias, first_gradient)
        for loss, output in LOSSES
        for bias in BIASES
        for seed in BIASED_SEEDS[preset]
    )
    return trained + probed
