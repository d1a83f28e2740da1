"""Exercise 4: usable rates are counted, and the findings follow the results."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from analysis.questions.adam_vs_sgd.answer import near_best, rate_range, span, span_at_most
from tests.helpers.altered import assert_follows_results, assert_refuted, constant, swap, times

CONTRADICTIONS = {
    "adam_is_ahead": swap("optimizer", "adam", "sgd"),
    "adam_is_faster": swap("optimizer", "adam", "sgd"),
    "plateau": lambda rows: rows.assign(value=rows["epoch"] / 100) if "epoch" in rows else rows,
    "adam_is_faster_by_the_clock": lambda rows: rows.assign(seconds=[1, 9]) if "epoch" not in rows else rows,
    "either_half_of_adam_is_fast": constant(0.5, "test_accuracy", beta1=0.0),
    "adam_jumps": swap("optimizer", "adam", "sgd"),
}
REVERSALS = {
    "adam_is_an_order_faster": constant(0.99, "test_accuracy", optimizer="adam"),
    "adams_lead_is_luck": times(0.9, "test_accuracy", optimizer="sgd"),
    "rule_of_thumb": times(1.05, "test_accuracy", optimizer="adam", learning_rate=3e-4),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contrary_results_refute_the_finding(name: str) -> None:
    assert_refuted("adam_vs_sgd", name, CONTRADICTIONS[name])


@pytest.mark.parametrize("name", REVERSALS)
def test_the_verdict_on_a_statement_by_others_follows_the_results(name: str) -> None:
    assert_follows_results("adam_vs_sgd", name, REVERSALS[name])


def test_the_window_of_usable_rates_lies_within_a_point_of_the_best() -> None:
    accuracy = pd.Series({0.01: 0.90, 0.1: 0.975, 1.0: 0.98, 10.0: 0.5})
    assert near_best(accuracy).index.tolist() == [0.1, 1.0]
    assert span(pd.Index([0.01, 1.0])) == pytest.approx(100)
    tried = pd.DataFrame({"optimizer": "sgd", "learning_rate": [0.001, 0.01, 1.0, 3.0]})
    assert span_at_most(pd.Index([0.01, 1.0]), tried) == pytest.approx(3_000)
    assert span_at_most(pd.Index([0.001, 1.0]), tried) == math.inf


@pytest.mark.parametrize(
    ("rates", "text"),
    [
        ([0.1, 1.0, 10.0], "0.1 to 10"),
        ([1e-5], "$10^{-5}$"),
        ([], "–"),
        ([1e-6, 100.0], "≤$10^{-6}$ to ≥100"),
    ],
)
def test_a_range_of_rates_is_written_as_far_as_there_is_one(rates: list[float], text: str) -> None:
    assert rate_range(pd.Index(rates, dtype=float), pd.Index([1e-6, 100.0])) == text
