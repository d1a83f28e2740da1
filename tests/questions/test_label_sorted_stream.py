"""Exercise 3: epochs are averaged, orders counted, and the findings follow the results."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from analysis.questions.label_sorted_stream.answer import (
    class_retention,
    epoch_means,
    last_epochs,
    log10_orders,
)
from tests.helpers.altered import assert_refuted, changed, constant, measured, swap, times

CONTRADICTIONS = {
    "sorted_needs_many_passes": swap("order", "shuffled", "label_sorted"),
    "many_passes_converge": constant(1.0, "train_loss"),
    "two_kinds_of_rates": constant(1.0, "train_loss"),
    "large_rates_rise_first": constant(1.0, "train_loss"),
    "sorted_follows_gradient_descent": times(2, "train_loss", epochs=300, batch_size=1),
    "number_of_orders": lambda rows: rows[::-1],
    "sorted_is_worse": swap("order", "shuffled", "label_sorted"),
    "forgetting": constant(0.5, "class_accuracy"),
    "forgetting_fades": changed(lambda values: values.where(values.index % 2 == 0, 0), "validation_accuracy"),
    "running_gradient_is_biased": swap("order", "shuffled", "label_sorted"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contrary_results_refute_the_finding(name: str) -> None:
    assert_refuted("label_sorted_stream", name, CONTRADICTIONS[name])


def test_orders_sorted_by_label_are_counted() -> None:
    labels = pd.Series([0, 0, 0, 1, 1])  # 3! · 2! = 12 orders
    assert log10_orders(labels) == pytest.approx(math.log10(12))


def test_an_epoch_is_averaged_over_its_measurements() -> None:
    run = measured(
        "test_accuracy",
        {0.0: 0.1, 0.5: 0.2, 1.0: 0.4, 1.5: 0.6, 2.0: 0.1},
        order="label_sorted",
        learning_rate=0.1,
        seed=0,
    )
    assert epoch_means(run).tolist() == pytest.approx([0.3, 0.35])
    both = pd.concat([run, run.assign(metric="validation_accuracy")])
    (line,) = last_epochs(both).to_dict("records")
    assert line == pytest.approx(
        {"test": 0.35, "validation": 0.35, "end": 0.1, "least": 0.1, "most": 0.6, "count": 2}
    )


def test_a_class_is_retained_as_far_as_it_is_recognized_after_the_next_block() -> None:
    labels = pd.DataFrame({"label_sorted": [0, 0, 1, 1]})
    rows = pd.concat(
        [
            measured(
                "class_accuracy",
                accuracy,
                index=digit,
                order="label_sorted",
                learning_rate=0.01,
                seed=0,
                validation_examples=0,
            )
            for digit, accuracy in ((0, {0.5: 0.9, 1.0: 0.2}), (1, {0.5: 0.0, 1.0: 0.8}))
        ]
    )
    (line,) = class_retention(rows, labels).to_dict("records")
    assert line == {"seed": 0, "epoch": 1, "class": 0, "own": 0.9, "next": 0.2}
