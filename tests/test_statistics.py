"""Intervals, paired tests and choices are what textbooks say, and never look at the test set."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import statistics

SEEDS = pd.Index([0, 1, 2, 3], name="seed")


def test_the_interval_is_students() -> None:
    values = [1.0, 2.0, 4.0]
    found = statistics.t_interval(values)
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))
    assert found.n == 3


def test_a_single_value_has_no_finite_interval() -> None:
    assert statistics.t_interval([0.5]).half_width == math.inf


def test_the_paired_test_takes_out_what_seeds_share() -> None:
    shared = pd.Series([0.0, 10.0, 20.0, 30.0], SEEDS)
    better = shared + pd.Series([1.0, 1.1, 0.9, 1.0], SEEDS)
    found = statistics.paired_t(better, shared)
    assert found.p == pytest.approx(stats.ttest_rel(better, shared).pvalue)
    assert found.p < 0.001
    assert found.difference.mean == pytest.approx(1.0)


def test_seeds_that_differ_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="seeds differ"):
        statistics.paired_t(pd.Series([1.0, 2.0], [0, 1]), pd.Series([1.0, 2.0], [0, 2]))


def test_holms_adjustment() -> None:
    """The example of three tests: the least p times three, the next times two, none less than one before it."""
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.6, 0.7]) == [1.0, 1.0]


def test_compared_tests_are_adjusted_together() -> None:
    base = pd.Series([0.0, 0.1, 0.2, 0.3], SEEDS)
    near = base + pd.Series([0.1, 0.2, 0.1, 0.3], SEEDS)
    found = statistics.paired_tests_holm({"one": (near, base), "other": (near, base)})
    assert found["one"].p == pytest.approx(2 * statistics.paired_t(near, base).p)


def test_repeated_measures_of_two_treatments_are_the_paired_test() -> None:
    table = pd.DataFrame({"one": [1.0, 2.0, 4.0, 7.0], "other": [1.5, 2.1, 4.9, 7.2]}, SEEDS)
    assert statistics.repeated_measures_p(table) == pytest.approx(
        statistics.paired_t(table["one"], table["other"]).p
    )


def test_treatments_that_scatter_along_one_line_are_worth_one_comparison() -> None:
    """Then Greenhouse and Geisser leave one degree of freedom: the t test of how far each seed goes along the line."""
    along = np.array([0.5, 1.0, 2.0, 2.2, 3.1])
    table = pd.DataFrame(np.outer(along, [-2.0, 0.0, 0.5, 4.0]))
    assert statistics.repeated_measures_p(table) == pytest.approx(stats.ttest_1samp(along, 0).pvalue)


def test_what_seeds_share_is_no_difference_between_treatments() -> None:
    random = np.random.default_rng(0)
    noise = pd.DataFrame(random.normal(size=(5, 4)))
    shifted = noise.add(100.0 * noise.index.to_series(), axis="index")
    assert statistics.repeated_measures_p(shifted) == pytest.approx(statistics.repeated_measures_p(noise))
    assert statistics.repeated_measures_p(shifted.add([0, 0, 0, 9])) < 1e-4


def measured(accuracies: dict[tuple[float, int], tuple[float, float]]) -> pd.DataFrame:
    """Rows of runs that start at 0.1; (rate, seed): validation and test accuracy at the end."""
    rows = []
    for (rate, seed), (validation, test) in accuracies.items():
        for update, (of_validation, of_test) in enumerate([(0.1, 0.1), (validation, test)]):
            for metric, value in (("validation_accuracy", of_validation), ("test_accuracy", of_test)):
                rows.append((rate, seed, update, metric, value, f"{rate}-{seed}"))
    return pd.DataFrame(rows, columns=["learning_rate", "seed", "update", "metric", "value", "key"]).assign(
        optimizer="sgd"
    )


def test_the_best_rate_is_chosen_by_mean_validation_accuracy_and_not_by_the_test_set() -> None:
    rows = measured({(0.1, 0): (0.9, 0.2), (0.1, 1): (0.9, 0.2), (1.0, 0): (0.99, 0.9), (1.0, 1): (0.7, 0.9)})
    assert statistics.best_rates(rows, ["optimizer"]).tolist() == [0.1]
    assert set(statistics.at_best_rates(rows, ["optimizer"])["learning_rate"]) == {0.1}


def test_a_rate_that_diverges_for_one_seed_is_not_the_best() -> None:
    rows = measured(
        {(0.1, 0): (0.5, 0.5), (0.1, 1): (0.5, 0.5), (1.0, 0): (0.9, 0.9), (1.0, 1): (math.nan, 0.9)}
    )
    assert statistics.best_rates(rows, ["optimizer"]).tolist() == [0.1]


def test_the_last_value_is_that_of_the_last_update() -> None:
    rows = measured({(0.1, 0): (0.5, 0.4)}).sort_values("update", ascending=False)
    assert statistics.final_values(rows, "test_accuracy", ["seed"]).tolist() == [0.4]


def test_a_run_that_does_not_stay_finite_has_no_final_value() -> None:
    rows = pd.DataFrame(
        {
            "metric": "train_loss",
            "seed": 0,
            "key": "a",
            "update": [0, 100, 200],
            "value": [2.3, 9.9, math.nan],
        }
    )
    assert statistics.final_values(rows, "train_loss", ["seed"]).isna().all()


def test_runs_at_the_best_rate_tell_when_they_reach_an_accuracy() -> None:
    rows = pd.concat(
        pd.DataFrame(
            {
                "hidden": "30", "learning_rate": rate, "seed": 0, "key": str(rate), "metric": metric,
                "epoch": [1.0, 2.0], "update": [10, 20], "value": values,
            }
        )
        for rate, values in ((0.1, [0.5, 0.6]), (1.0, [0.8, 0.96]))
        for metric in ("validation_accuracy", "test_accuracy")
    )  # fmt: skip
    (run,) = statistics.runs_at_best(rows, ["hidden"], (0.75, 0.95, 0.99)).to_dict("records")
    assert (run["learning_rate"], run["test_accuracy"]) == (1.0, 0.96)
    assert (run[0.75], run[0.95], run[0.99]) == (1.0, 2.0, float("inf"))


def test_the_jackknife_of_a_mean_is_its_t_interval() -> None:
    values = [3.0, 1.0, 4.0, 1.0, 5.0]
    left_out = [(sum(values) - value) / 4 for value in values]
    assert statistics.jackknife_half_width(left_out) == pytest.approx(
        statistics.t_interval(values).half_width
    )
    assert statistics.jackknife_half_width([1.0]) == math.inf


def test_the_entropy_of_labels_is_that_of_their_frequencies() -> None:
    assert statistics.label_entropy(pd.Series(list(range(10)) * 3)) == pytest.approx(math.log(10))
    assert statistics.label_entropy(pd.Series([0, 0, 0, 1])) == pytest.approx(
        -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    )


def test_the_edge_of_biases_is_where_descent_on_them_stops_to_settle() -> None:
    assert statistics.edge_of_biases(pd.Series(range(10))) == pytest.approx(20)
    labels = pd.Series([0] * 5 + [1] * 3 + [2] * 2)
    shares, edge = np.array([0.5, 0.3, 0.2]), statistics.edge_of_biases(labels)

    def ends_at(rate: float) -> float:
        biases = np.zeros(3)
        for _ in range(2_000):
            p = np.exp(biases) / np.exp(biases).sum()
            biases -= rate * (p - shares)
        return float(np.abs(p - shares).max())

    assert ends_at(0.95 * edge) < 1e-6
    assert ends_at(1.05 * edge) > 1e-2
