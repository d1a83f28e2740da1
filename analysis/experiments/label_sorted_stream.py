"""Assignment 2, exercise 3: online gradient on the examples sorted by label, against SGD with batch size 1."""

from __future__ import annotations

from typing import get_args

from analysis.experiments import VALIDATION_EXAMPLES, Budget, Experiment, Preset
from analysis.runs import TRAIN_EXAMPLES, Measure, Order, Run

ORDERS: tuple[Order, ...] = get_args(Order)
LEARNING_RATES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
BUDGETS = {"full": Budget((0, 1, 2), 6), "quick": Budget((0,), 1, 500)}
WITHIN_PASS_RATES = (0.001, 0.01)  # at which the passes are looked into
WITHIN_PASS = {"full": Budget((0, 1, 2), 2, TRAIN_EXAMPLES), "quick": Budget((0,), 1, 500)}


def jobs(preset: Preset) -> tuple[Run, ...]:
    """Both orders at every rate, measured ten times a pass; and, on all examples, what happens within two passes."""
    budget, within = BUDGETS[preset], WITHIN_PASS[preset]
    window_measures = (
        Measure(metrics=("validation_accuracy", "test_accuracy"), every=budget.updates(1) // 10),
        Measure(metrics=("train_loss",), every=budget.updates(1)),
    )
    window = tuple(
        Run(
            order=order,
            learning_rate=rate,
            batch_size=1,
            train_examples=budget.train_examples,
            validation_examples=VALIDATION_EXAMPLES,
            epochs=budget.epochs,
            measures=window_measures,
            seed=seed,
        )
        for order in ORDERS
        for rate in LEARNING_RATES
        for seed in budget.seeds
    )
    within_measures = (
        Measure(metrics=("class_accuracy", "test_accuracy"), every=within.train_examples // 120),
        Measure(metrics=("gradient_cosine",), every=within.train_examples // 60),
    )
    passes = tuple(
        Run(
            order=order,
            learning_rate=rate,
            batch_size=1,
            train_examples=within.train_examples,
            epochs=within.epochs,
            measures=within_measures,
            seed=seed,
        )
        for order in ORDERS
        for rate in WITHIN_PASS_RATES
        for seed in within.seeds
    )
    return window + passes


EXPERIMENT = Experiment("label_sorted_stream", "Assignment 2, exercise 3: examples sorted by label", jobs)
