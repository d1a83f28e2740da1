"""Exercise 1: the findings on batch sizes follow the results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.findings import evaluate
from analysis.questions.minibatch.answer import (
    courses,
    kernel_seconds,
    long_runs,
    plain_epoch_seconds,
    settled_accuracies,
    short_runs,
    size_numbers,
)
from analysis.results import Results, cached
from tests.helpers.altered import assert_follows_results, assert_refuted, claim, constant, falling, times

CONTRADICTIONS = {
    "small_batches_are_faster": constant(0.5, "test_accuracy", batch_size=16),
    "large_batches_save_no_updates": constant(0.5, "test_accuracy", batch_size=1_024),
    "overhead_decides_the_time": lambda rows: (
        rows.assign(seconds=rows["batch_size"] * 1e-5) if "metric" not in rows else rows
    ),
    "largest_batches_are_unfinished": constant(0.98, "validation_accuracy"),
    "smaller_may_end_higher": times(0.9, "test_accuracy", batch_size=1),
    "early_gaps_are_gaps_in_speed": times(0.9, "test_accuracy", batch_size=128),
    "early_rates_may_be_too_large": constant(0.98, "test_accuracy", batch_size=1_024),
    "constant_rates_suffice_where_all_is_fitted": times(100, "train_loss", decay=0),
    "decreasing_rates_quench_noise": times(0.1, "train_loss", decay=0),
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
        hidden="300",
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


def test_short_and_long_runs_have_their_own_best_rates_the_full_batch_within_the_same_epochs() -> None:
    assert chosen(short_runs(RUNS)) == {16: 0.1, np.inf: 0.1}
    assert short_runs(RUNS)["epoch"].max() == 1
    assert chosen(long_runs(RUNS)) == {16: 0.3, np.inf: 0.3}


def test_a_course_begins_with_the_short_run_of_the_same_rate() -> None:
    course = courses(RUNS).groupby("batch")[["epoch", "value"]].apply(lambda rows: rows.to_numpy().tolist())
    assert course.to_dict() == {
        16: [[1, 0.8], [15, 0.95], [20, 0.9505]],
        np.inf: [[1, 0.3], [10, 0.7], [75, 0.9], [100, 0.92]],
    }


def test_a_plateau_is_judged_by_the_last_quarter() -> None:
    measured = [
        RUNS.assign(metric=metric) for metric in ("validation_accuracy", "test_accuracy", "train_loss")
    ]
    numbers = size_numbers(pd.concat(measured))
    assert dict(numbers["gain"]) == pytest.approx({16: 0.0005, np.inf: 0.02})
    assert dict(numbers["settled"]) == {16: True, np.inf: False}
    assert list(settled_accuracies(pd.concat(measured)).columns) == [16]


def test_times_of_several_devices_are_not_compared() -> None:
    found = cached("minibatch")
    elsewhere = (
        found.provenance[0],
        *(replace(each, device_name="another") for each in found.provenance[1:]),
    )
    finding = claim("minibatch", "overhead_decides_the_time")
    verdict = evaluate(finding, lambda _: replace(found, provenance=elsewhere))
    assert "all were taken on one device" in (verdict.failed or ())


def test_long_runs_which_may_come_from_elsewhere_give_no_times() -> None:
    timed = pd.concat(
        [RUNS.assign(seconds=RUNS["epoch"] * 3.0), run(16, 0.1, {20.0: 0.9}).assign(seconds=1e9)]
    )
    assert dict(kernel_seconds(timed)) == pytest.approx({16: 3, np.inf: 3})


def test_an_epoch_has_as_many_updates_as_batches() -> None:
    plain = pd.DataFrame({"batch_size": [1, 8_192, 60_000], "seconds": [1.0, 1.0, 1.2]})
    found = Results("minibatch", "full", pd.DataFrame(), {"plain_seconds": plain}, ())
    assert plain_epoch_seconds(found).to_dict() == pytest.approx({1: 50_000, 8_192: 7, np.inf: 1})
