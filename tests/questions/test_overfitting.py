"""Q2: over-fitting is told from instability, and the findings follow the results."""

from __future__ import annotations

import pytest

from analysis.questions.overfitting.answer import overfitting
from tests.helpers.altered import (
    assert_follows_results,
    assert_refuted,
    curves,
)

CONTRADICTIONS = {
    "small_networks_overfit": lambda rows: rows.assign(value=rows["epoch"].rsub(1e6)),
    "wide_network_is_not_done": lambda rows: rows.assign(value=rows["epoch"]),
    "contrast_overfits": lambda rows: rows.assign(value=rows["epoch"].rsub(1e6)),
}
REVERSALS = {
    "wide_network_overfits_mildly": lambda rows: rows.assign(
        value=rows["value"].where(rows["metric"] != "test_loss", rows["epoch"] + 1)
    ),
    "small_networks_overfit_mildly": lambda rows: rows.assign(
        value=rows["value"].where(rows["metric"] != "test_loss", rows["epoch"] + 1)
    ),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contrary_results_refute_the_finding(name: str) -> None:
    assert_refuted("overfitting", name, CONTRADICTIONS[name])


@pytest.mark.parametrize("name", REVERSALS)
def test_the_verdict_on_a_statement_by_others_follows_the_results(name: str) -> None:
    assert_follows_results("overfitting", name, REVERSALS[name])


def test_over_fitting_is_the_rise_above_the_least_test_loss() -> None:
    rows = curves(0.5, [2.0, 1.0, 0.5, 0.25], [0.5] * 4)
    rows.loc[rows["metric"] == "test_loss", "value"] = [2.0, 1.0, 1.5, 3.0]
    (numbers,) = overfitting(rows).to_dict("records")
    assert numbers["best_epoch"] == 1
    assert numbers["rise"] == pytest.approx(2.0)
    assert numbers["gap"] == pytest.approx(2.75)
    assert numbers["overfits"]


def test_a_rise_of_both_losses_is_no_over_fitting() -> None:
    rows = curves(0.5, [2.0, 1.0, 0.5, 1.5], [0.5] * 4)
    assert not overfitting(rows)["overfits"].any()
