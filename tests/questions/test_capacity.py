"""Q3: bias and variance over capacity, and the findings follow the results."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis.questions.capacity.answer import relative_rise
from tests.helpers.altered import Alter, assert_follows_results, assert_refuted, constant, swap, times


def miscounted(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(counted=rows["counted"] + 1) if "counted" in rows else rows


CONTRADICTIONS: dict[str, Alter] = {
    "variance_hardly_pays": swap("metric", "bias2", "variance"),
    "no_optimum_at_moderate_capacity": constant(0.5, "train_accuracy"),
    "depth_trades_bias_for_variance": swap("metric", "bias2", "variance"),
    "more_examples_lower_both": swap("examples", 1_000, 5_000),
    "architecture_by_rule": times(0.5, "validation_accuracy", hidden="300"),
    "parameters_counted": miscounted,
}
REVERSALS: dict[str, Alter] = {"numbers_of_parameters": miscounted}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contrary_results_refute_the_finding(name: str) -> None:
    assert_refuted("capacity", name, CONTRADICTIONS[name])


@pytest.mark.parametrize("name", REVERSALS)
def test_the_verdict_on_a_statement_by_others_follows_the_results(name: str) -> None:
    assert_follows_results("capacity", name, REVERSALS[name])


def test_the_rise_is_that_of_the_widest_network_above_the_best() -> None:
    assert relative_rise(pd.Series([3.0, 1.0, 1.5])) == pytest.approx(0.5)
    assert relative_rise(pd.Series([3.0, 2.0, 1.0])) == 0
