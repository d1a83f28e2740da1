"""Exercise 3: epochs are averaged, orders counted, and the findings follow the results."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from analysis.campaign.keys import Job
from analysis.engine.run import Run
from analysis.question import Preset
from analysis.questions.label_sorted_stream import runs
from analysis.questions.label_sorted_stream.answer import (
    LATE_PASSES,
    class_retention,
    departures,
    epoch_means,
    largest_departures,
    last_epochs,
    log10_orders,
    many_passes,
    plateau_passes,
    sgd_long,
)
from analysis.questions.minibatch.runs import jobs as minibatch_jobs
from tests.helpers.altered import assert_refuted, constant, measured, swap, times

CONTRADICTIONS = {
    "sorted_needs_many_passes": constant(0.5, "test_accuracy"),
    "loss_falls_to_the_end": constant(1.0, "train_loss"),
    "accuracy_holds_within_passes": constant(0.5, "validation_accuracy"),
    "sgd_by_the_same_conditions": constant(1.0, "train_loss"),
    "slower_than_sgd": constant(0.9, "test_accuracy"),
    "two_kinds_of_rates": constant(1.0, "train_loss"),
    "large_rates_rise_first": constant(1.0, "train_loss"),
    "sorted_follows_gradient_descent": times(2, "train_loss", epochs=300, batch_size=1),
    "number_of_orders": lambda rows: rows[::-1],
    "sorted_is_worse": constant(0.97, "test_accuracy"),
    "forgetting": constant(0.5, "class_accuracy"),
    "running_gradient_is_biased": swap("order", "shuffled", "label_sorted"),
    "proof_covers_smallest_rates": times(0.01, "sharpness"),
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


def _stream(**metrics: dict[float, float]) -> pd.DataFrame:
    """Return rows of the sorted stream at one rate, by metric, beside a run of few epochs."""
    columns = {
        "order": "label_sorted",
        "batch_size": 1.0,
        "learning_rate": 0.1,
        "seed": 0,
        "validation_examples": 10,
    }
    rows = [measured(metric, values, epochs=300, **columns) for metric, values in metrics.items()]
    return pd.concat([*rows, measured("test_accuracy", {1.0: 0.1}, epochs=6, **columns)])


def test_accuracy_within_passes_is_compared_with_that_at_their_ends() -> None:
    rows = _stream(
        test_accuracy={0.0: 0.1, 200.0: 0.5, 220.0: 0.7, 300.0: 0.7},
        validation_accuracy={150.3: 0.0, 210.0 + 1 / 4: 0.4, 250.5: 0.8, 300.0: 0.2},
    )
    away = departures(rows)
    assert away.index.get_level_values("epoch").tolist() == [210.25, 250.5]
    assert away.tolist() == pytest.approx([0.4 - 0.6025, 0.1])
    assert largest_departures(rows).to_dict() == pytest.approx({0.1: 0.2025})


@pytest.mark.parametrize(("last", "falls"), [(0.1, True), (0.25, False)])
def test_a_loss_falls_if_it_does_to_the_last_pass(last: float, falls: bool) -> None:
    losses = {0.0: 0.1, 300.0 - LATE_PASSES: 0.3, 290.0: 0.2, 300.0: last}  # it may rise before
    rows = _stream(train_loss=losses, test_accuracy={300.0: 0.9})
    gd = rows[rows["epochs"] == 300].assign(batch_size=np.nan, key="gd")
    (line,) = many_passes(pd.concat([rows, gd])).to_dict("records")
    assert line["falls"] is falls


def test_sgd_is_shown_at_a_quarter_of_its_passes_and_at_the_end() -> None:
    columns = {"order": "shuffled", "batch_size": 1.0, "seed": 0, "validation_examples": 10}
    runs_of_sgd = [
        measured("validation_accuracy", values, learning_rate=rate, epochs=epochs, **columns)
        for rate, epochs, values in (
            (0.1, 60, {0.0: 0.1, 12.0: 0.3, 18.0: 0.3, 60.0: 0.4}),
            (0.03, 60, {0.0: 0.1, 60.0: 0.3}),
            (0.3, 6, {6.0: 0.9}),
        )
    ]
    chosen = sgd_long(pd.concat(runs_of_sgd))
    assert chosen["learning_rate"].unique() == [0.1]
    assert plateau_passes(chosen) == (18, 60)


@pytest.mark.parametrize("preset", ["full", "quick"])
def test_the_long_runs_of_sgd_are_those_of_the_minibatches(preset: Preset) -> None:
    def long(jobs: tuple[Job, ...]) -> set[Run]:
        return {job for job in jobs if isinstance(job, Run) and job.epochs == runs.LONG_SGD[preset].epochs}

    ours = {run for run in long(runs.jobs(preset)) if run.order == "shuffled" and run.batch_size == 1}
    assert len(ours) == len(runs.LONG_SGD_RATES) * len(runs.LONG_SGD[preset].seeds)
    assert ours <= long(minibatch_jobs(preset))
