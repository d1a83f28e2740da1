"""Exercise 1: the findings on batch sizes follow the results."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.questions.minibatch.answer import (
    courses,
    crossings,
    long_runs,
    plain_epoch_seconds,
    size_numbers,
)
from analysis.results import Results
from tests.helpers.altered import assert_follows_results, assert_refuted, constant, falling, times

CONTRADICTIONS = {
    "small_batches_are_faster": constant(0.5, "test_accuracy", batch_size=16),
    "larger_batches_save_updates": constant(0.5, "test_accuracy", batch_size=1_024),
    "few_rates_were_long": constant(1.0, "validation_accuracy", learning_rate=0.3),
    "overhead_decides_the_time": lambda rows: (
        rows.assign(seconds=rows["batch_size"] * 1e-5) if "metric" not in rows else rows
    ),
    "small_batches_end_higher": times(0.9, "test_accuracy", batch_size=1),
    "descent_ends_about_as_high": times(0.9, "test_accuracy", batch_size=1),
    "fast_rates_end_lower": constant(0.98, "test_accuracy", batch_size=1_024),
    "constant_rates_suffice_where_all_is_fitted": times(100, "train_loss", decay=0),
}
REVERSALS = {"minibatches_beat_hundreds_of_epochs": falling}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contrary_results_refute_the_finding(name: str) -> None:
    assert_refuted("minibatch", name, CONTRADICTIONS[name])


@pytest.mark.parametrize("name", REVERSALS)
def test_the_verdict_on_a_statement_by_others_follows_the_results(name: str) -> None:
    assert_follows_results("minibatch", name, REVERSALS[name])


def run(
    batch_size: float, rate: float, accuracies: dict[float, float], metric: str = "validation_accuracy"
) -> pd.DataFrame:
    """Return the rows of a run, whose epochs are those of its last measurement."""
    return pd.DataFrame({"epoch": list(accuracies), "value": list(accuracies.values())}).assign(
        update=lambda rows: rows["epoch"],
        learning_rate=rate,
        decay=0.0,
        batch_size=batch_size,
        epochs=max(accuracies),
        seed=0,
        metric=metric,
        key=f"{batch_size} {rate} {max(accuracies)}",
    )


RUNS = pd.concat(
    [
        run(16, 0.1, {1.0: 0.9}),
        run(16, 0.3, {1.0: 0.8}),
        run(16, 0.1, {15.0: 0.91, 20.0: 0.92}),
        run(16, 0.3, {15.0: 0.95, 20.0: 0.9505}),
        run(np.nan, 0.1, {1.0: 0.4, 10.0: 0.5}),
        run(np.nan, 0.3, {1.0: 0.3, 10.0: 0.7}),
        run(np.nan, 1.0, {1.0: 0.2, 10.0: 0.6}),
        run(np.nan, 0.3, {75.0: 0.9, 100.0: 0.92}),
        run(np.nan, 1.0, {75.0: 0.9, 100.0: 0.91}),
    ]
)


def chosen(rows: pd.DataFrame) -> dict[float, float]:
    return dict(rows.groupby("batch")["learning_rate"].first())


def test_the_best_rate_is_that_of_the_long_runs() -> None:
    assert chosen(long_runs(RUNS)) == {16: 0.3, np.inf: 0.3}


def test_a_course_begins_with_the_short_run_of_the_same_rate() -> None:
    """Of the seeds that have one: others are not measured often enough."""
    of_another_seed = run(16, 0.3, {15.0: 0.5, 20.0: 0.5}).assign(seed=3, key="another")
    runs = courses(pd.concat([RUNS, of_another_seed])).query("learning_rate == 0.3")
    course = runs.groupby("batch")[["epoch", "value"]].apply(lambda rows: rows.to_numpy().tolist())
    assert course.to_dict() == {
        16: [[1, 0.8], [15, 0.95], [20, 0.9505]],
        np.inf: [[1, 0.3], [10, 0.7], [75, 0.9], [100, 0.92]],
    }


def test_between_measurements_the_error_is_a_power_of_the_epoch() -> None:
    epochs = {1.0: 0.8, 4.0: 1 - 0.2 / 4**1.5, 16.0: 1 - 0.2 / 16**1.5}
    rows = run(16, 0.1, {0.0: 0.1, **epochs}).assign(batch=16)
    (crossing,) = crossings(rows, "validation_accuracy")
    assert crossing == pytest.approx(4 ** (1 / 1.5))  # where the error is a quarter of the first


def test_an_accuracy_that_is_not_reached_has_no_crossing_and_one_reached_at_once_the_first() -> None:
    rows = pd.concat([run(16, 0.1, {1.0: 0.8, 2.0: 0.9}), run(16, 0.3, {1.0: 0.96, 2.0: 0.97})])
    assert crossings(rows.assign(batch=16), "validation_accuracy").to_list() == [np.inf, 1]


def test_the_fastest_rate_is_chosen_by_validation_accuracy_and_measured_by_test_accuracy() -> None:
    validation = pd.concat(
        [run(16, 0.1, {1.0: 0.95}), run(16, 0.3, {1.0: 0.9, 2.0: 0.96}), run(16, 0.1, {20.0: 0.98})]
    )
    test = pd.concat([run(16, 0.1, {1.0: 0.9, 20.0: 0.95}), run(16, 0.3, {1.0: 0.96, 2.0: 0.97})]).assign(
        metric="test_accuracy"
    )
    loss = validation.assign(metric="train_loss")
    line = size_numbers(pd.concat([validation, test.assign(epochs=1), loss])).loc[16]
    assert line["early_rate"] == 0.1


def test_a_plateau_is_judged_by_the_last_quarter() -> None:
    measured = [
        RUNS.assign(metric=metric) for metric in ("validation_accuracy", "test_accuracy", "train_loss")
    ]
    numbers = size_numbers(pd.concat(measured))
    assert dict(numbers["gain"]) == pytest.approx({16: 0.0005, np.inf: 0.02})
    assert dict(numbers["settled"]) == {16: True, np.inf: False}


def test_an_epoch_has_as_many_updates_as_batches() -> None:
    plain = pd.DataFrame({"batch_size": [1, 8_192, 60_000], "seconds": [1.0, 1.0, 1.2]})
    found = Results("minibatch", "full", pd.DataFrame(), {"plain_seconds": plain}, ())
    assert plain_epoch_seconds(found).to_dict() == pytest.approx({1: 50_000, 8_192: 7, np.inf: 1})
