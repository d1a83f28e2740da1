"""Exercise 3: what many passes show is said in words, forgetting is measured, and the findings follow the results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.questions.label_sorted_stream.answer import (
    CLOSE,
    LATE_PASSES,
    class_retention,
    first_passes,
    follows_descent,
    last_epochs,
    progress,
    updates_since_change,
)
from analysis.results import cached
from tests.helpers.altered import assert_refuted, constant, measured, swap, times

CONTRADICTIONS = {
    "sorted_needs_many_passes": constant(0.5, "test_accuracy"),
    "few_passes_are_not_enough": constant(0.6, "test_accuracy"),
    "weights_keep_growing": lambda rows: rows.assign(value=1.0) if "order" in rows else rows,
    "rates_that_converge": constant(1.0, "train_loss"),
    "speeds_of_the_stream": times(2.0, "train_loss", batch_size=1),
    "rates_in_between_come_later": constant(1.0, "train_loss"),
    "sorting_matters_and_not_the_fixed_order": times(2.0, "train_loss", order="shuffled_once"),
    "sorted_is_worse": constant(0.97, "test_accuracy"),
    "shuffling_afterwards_gains_nothing": lambda rows: (
        rows.assign(value=rows["value"] * (1 + rows["pass"] / 100)) if "pass" in rows else rows
    ),
    "late_passes_forget_little": lambda rows: (
        rows.assign(value=rows["epoch"] % 1) if "epoch" in rows else rows
    ),
    "forgetting": constant(0.5, "class_accuracy"),
    "running_gradient_is_biased": swap("order", "shuffled", "label_sorted"),
    "proof_covers_smallest_rates": times(0.01, "sharpness"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contrary_results_refute_the_finding(name: str) -> None:
    assert_refuted("label_sorted_stream", name, CONTRADICTIONS[name])


def test_the_last_epoch_is_summarized_by_its_end_and_extremes() -> None:
    run = measured(
        "test_accuracy",
        {0.0: 0.1, 0.5: 0.9, 1.0: 0.4, 1.5: 0.6, 2.0: 0.2},
        order="label_sorted",
        learning_rate=0.1,
        seed=0,
    )
    (line,) = last_epochs(run).to_dict("records")
    assert line == pytest.approx({"end": 0.2, "least": 0.2, "most": 0.6})


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


COLUMNS = {"batch_size": 1.0, "seed": 0, "validation_examples": 10, "epochs": 300}


def _run(order: str, rate: float, **metrics: dict[float, float]) -> pd.DataFrame:
    """Return rows of a run of 300 epochs of ten examples, by metric."""
    rows = [
        measured(metric, values, order=order, learning_rate=rate, **COLUMNS)
        for metric, values in metrics.items()
    ]
    return pd.concat(rows).assign(update=lambda frame: 10 * frame["epoch"], key=f"{order} {rate}")


def _runs(losses: dict[float, float]) -> pd.DataFrame:
    """Return a stream's run with these losses, and one of gradient descent with the rate it corresponds to."""
    accuracy = {0.0: 0.1, 300.0: 0.9}
    stream = _run("label_sorted", 0.1, train_loss=losses, test_accuracy=accuracy)
    gd = _run("shuffled", 1.0, train_loss={0.0: 2.0, 200.0: 0.4, 300.0: 0.2}, test_accuracy=accuracy)
    return pd.concat([stream, gd.assign(batch_size=np.nan)])


@pytest.mark.parametrize(
    ("last", "verdict"), [(0.005, "converges"), (0.1, "falling"), (0.25, "fails"), (np.nan, "fails")]
)
def test_a_rate_is_judged_by_its_loss_in_the_last_passes(last: float, verdict: str) -> None:
    losses = {0.0: 0.1, 300.0 - LATE_PASSES: 0.3, 290.0: 0.2, 300.0: last}  # it may rise before
    assert progress(_runs(losses))["verdict"].tolist() == [verdict]


def test_more_passes_decide_where_they_were_run() -> None:
    runs = _runs({0.0: 2.0, 200.0: 0.5, 300.0: 0.3})
    longer = _run("label_sorted", 0.1, train_loss={0.0: 2.0, 600.0: 0.001}).assign(epochs=600, key="longer")
    assert progress(pd.concat([runs, longer]))["verdict"].tolist() == ["converges"]


def test_a_stream_is_compared_with_gradient_descent() -> None:
    (line,) = progress(_runs({0.0: 2.0, 200.0: 0.5, 300.0: 0.3})).to_dict("records")
    assert line == {"loss": 0.3, "gd": 0.2, "accuracy": 0.9, "verdict": "falling"}


def test_the_stream_follows_gradient_descent_where_their_losses_end_close() -> None:
    lines = pd.DataFrame({"loss": [1.0, 1.0, 1.0], "gd": [1.0 + CLOSE / 2, 1.0 + 2 * CLOSE, np.nan]})
    assert follows_descent(lines).tolist() == [True, False, False]


def test_first_passes_of_sgd_are_those_of_its_runs_of_few() -> None:
    many = _run("shuffled", 0.1, test_accuracy={0.0: 0.1, 10.0: 0.96, 300.0: 0.97})
    few = measured(
        "test_accuracy",
        {0.0: 0.1, 0.5: 0.95, 1.0: 0.96},
        order="shuffled",
        learning_rate=0.1,
        **{**COLUMNS, "epochs": 6},
    ).assign(update=0)
    assert first_passes(pd.concat([few, many]), 0.95).tolist() == [0.5]


def test_updates_are_counted_from_the_last_change_of_label() -> None:
    labels = pd.DataFrame({"label_sorted": [0, 0, 0, 1, 1, 2, 2, 2, 2, 2]})
    cosines = pd.DataFrame({"epoch": [0.0, 0.2, 0.3, 0.5, 0.9, 1.0, 1.4]})
    found = replace(cached("label_sorted_stream"), programs={"labels": labels, "cosines": cosines})
    assert updates_since_change(found).tolist() == [0, 2, 0, 0, 4, 0, 1]
