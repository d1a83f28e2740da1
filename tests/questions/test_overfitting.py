"""Q2: over-fitting is told from instability, and the findings follow the results."""

from __future__ import annotations

import pytest

from analysis.questions.overfitting.answer import MEDIAN_OF, overfitting
from tests.helpers.altered import (
    assert_follows_results,
    assert_refuted,
    curves,
)

CONTRADICTIONS = {
    "all_overfit_in_the_end": lambda rows: rows.assign(value=rows["epoch"].rsub(1e6)),
    "width_turns_further_on": lambda rows: rows.assign(value=1.0),
    "slow_runs_have_not_come_so_far": lambda rows: rows.assign(value=rows["epoch"]),
    "threshold_decides_for_one": lambda rows: rows.assign(value=rows["epoch"].rsub(1e6)),
    "gap_is_wide": lambda rows: rows.assign(value=0.5),
    "single_runs": lambda rows: rows.assign(key=rows["key"] + rows["epoch"].gt(5).astype(str)),
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
    assert numbers["overfits"]


def test_a_rise_of_both_losses_is_no_over_fitting() -> None:
    rows = curves(0.5, in_stretches(2.0, 1.0, 0.5, 1.5), [0.5] * 4 * LONG)
    assert not overfitting(rows)["overfits"].any()


def test_a_single_spike_is_no_rise_and_hides_none() -> None:
    losses = in_stretches(2.0, 1.0, 0.5, 0.25)
    losses[2 * LONG] = 0.01
    losses[-1] = 9.0
    rows = curves(0.5, losses, [0.5] * 4 * LONG)
    (numbers,) = overfitting(rows).to_dict("records")
    assert numbers["rise"] == 0
    assert numbers["best_epoch"] >= 3 * LONG
