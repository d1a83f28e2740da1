"""Q2: over-fitting is told from instability, and the findings follow the results."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis.questions.overfitting.answer import MEDIAN_OF, error_gap, misread_digits, overfitting
from tests.helpers.altered import assert_follows_results, assert_refuted, changed, curves, measured

CONTRADICTIONS = {
    "over_fits_where_training_goes_far": lambda rows: rows.assign(value=rows["epoch"].rsub(1e6)),
    "threshold_hardly_matters": lambda rows: rows.assign(value=1.0),
    "rate_matters_too": lambda rows: rows.assign(value=rows["epoch"].rsub(1e6)),
    "slow_runs_turn_late": lambda rows: rows.assign(value=rows["epoch"]),
    "contrast_overfits": lambda rows: rows.assign(value=rows["epoch"].rsub(1e6)),
    "misread_digits_make_the_rise": lambda rows: rows.assign(value=0.5),
}
RISING = changed(lambda values: values.reset_index().index.to_series(values.index) + 1.0, "test_loss")
REVERSALS = {"wide_network_overfits_mildly": RISING, "small_networks_overfit_mildly": RISING}

LONG = 2 * MEDIAN_OF  # measurements: a stretch that running medians show


def in_stretches(*values: float) -> list[float]:
    """Each value for a while."""
    return [value for value in values for _ in range(LONG)]


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contrary_results_refute_the_finding(name: str) -> None:
    assert_refuted("overfitting", name, CONTRADICTIONS[name])


@pytest.mark.parametrize("name", REVERSALS)
def test_the_verdict_on_a_statement_by_others_follows_the_results(name: str) -> None:
    assert_follows_results("overfitting", name, REVERSALS[name])


def test_over_fitting_is_a_lasting_rise_above_the_least_test_loss() -> None:
    rows = curves(0.5, in_stretches(2.0, 1.0, 0.5, 0.25), [0.5] * 4 * LONG)
    rows.loc[rows["metric"] == "test_loss", "value"] = in_stretches(2.0, 1.0, 1.5, 3.0)
    (numbers,) = overfitting(rows).to_dict("records")
    assert LONG <= numbers["best_epoch"] < 2 * LONG
    assert numbers["rise"] == pytest.approx(2.0)
    assert numbers["rises"]


def test_a_rise_of_both_losses_is_no_over_fitting() -> None:
    rows = curves(0.5, in_stretches(2.0, 1.0, 0.5, 1.5), [0.5] * 4 * LONG)
    assert not overfitting(rows)["rises"].any()


def test_a_single_spike_is_no_rise_and_hides_none() -> None:
    losses = in_stretches(2.0, 1.0, 0.5, 0.25)
    losses[2 * LONG] = 0.01
    losses[-1] = 9.0
    rows = curves(0.5, losses, [0.5] * 4 * LONG)
    (numbers,) = overfitting(rows).to_dict("records")
    assert numbers["rise"] == 0
    assert numbers["best_epoch"] >= 3 * LONG


def test_a_loss_that_still_falls_rises_by_less_than_nothing() -> None:
    rows = curves(0.5, [1.0 / (1 + step) for step in range(4 * LONG)], [0.5] * 4 * LONG)
    (numbers,) = overfitting(rows).to_dict("records")
    assert numbers["rise"] < 0
    assert not numbers["rises"]


def test_the_gap_of_errors_is_that_of_the_last_epochs_in_points() -> None:
    rows = curves(0.5, in_stretches(2.0, 1.0), [0.75] * 2 * LONG)
    rows.loc[(rows["metric"] == "test_accuracy") & (rows["epoch"] > 1.5 * LONG), "value"] = 0.5
    assert error_gap(overfitting(rows)).tolist() == [25.0]


def test_misread_digits_and_all_others_make_up_the_test_loss() -> None:
    rows = pd.concat(
        [
            measured("misread_loss", {0.0: 2.0, 100.0: 3.0}),
            measured("test_accuracy", {0.0: 0.5, 50.0: 0.6, 100.0: 0.75}),
            measured("test_loss", {0.0: 1.5, 50.0: 1.2, 100.0: 1.0}),
        ]
    )
    digits = misread_digits(rows).droplevel("key", axis="columns")
    assert digits["share"].tolist() == [0.5, 0.25]
    assert (digits["share"] * digits["misread_loss"] + digits["rest"]).tolist() == [1.5, 1.0]
