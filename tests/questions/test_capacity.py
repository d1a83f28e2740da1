"""Q3: bias and variance over capacity, and the findings follow the results."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis.questions.capacity.answer import by_rate, change, decompositions
from analysis.results import Results
from tests.helpers.altered import Alter, assert_follows_results, assert_refuted, constant, swap, times


def miscounted(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(counted=rows["counted"] + 1) if "counted" in rows else rows


CONTRADICTIONS: dict[str, Alter] = {
    "width_has_an_optimum": swap("metric", "bias2", "variance"),
    "optimum_with_few_examples": swap("hidden", "300", "2048"),
    "optimum_depends_on_the_rate": swap("learning_rate", 0.005, 0.02),
    "variance_turns_at_every_rate": times(0.5, "variance", hidden="1024", learning_rate=0.001),
    "bias_rises_with_the_train_loss": times(100.0, "train_loss", hidden="2048"),
    "depth_trades_bias_for_variance": swap("metric", "bias2", "variance"),
    "narrow_layers_vary_more": swap("hidden", "4", "4-4-4"),
    "depth_differs_from_width": swap("hidden", "512", "300-300-300"),
    "best_rates_on_the_edge": constant(0.5, "validation_accuracy"),
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


def two_networks() -> Results:
    """Two networks, the variance of one twice that of the other, the same whatever set is left out."""
    lines = [
        (hidden, rate, metric, subset, value)
        for hidden, factor in (("4", 1.0), ("8", 2.0))
        for rate in (0.1, 0.2)
        for metric, value in (("variance", factor), ("bias2", 1.0), ("squared_error", factor + 1.0))
        for subset in (-1, 0, 1, 2)
    ] + [
        (hidden, rate, "validation_accuracy", subset, validation)
        for hidden in ("4", "8")
        for rate, validation in ((0.1, 0.9), (0.2, 0.8))
        for subset in (0, 1, 2)
    ]
    rows = pd.DataFrame(lines, columns=["hidden", "learning_rate", "metric", "subset", "value"])
    return Results("capacity", "full", pd.DataFrame(), {"decomposition": rows.assign(examples=1_000)}, ())


def test_each_network_stands_at_its_best_rate_with_intervals_over_the_training_sets() -> None:
    parts = decompositions(two_networks()).set_index("hidden")
    assert parts["learning_rate"].tolist() == [0.1, 0.1]
    assert parts["variance"].tolist() == [1.0, 2.0]
    assert parts["variance_half"].tolist() == pytest.approx([0, 0])


def test_a_change_is_relative_to_the_first_network_with_what_training_sets_share_left_out() -> None:
    found = two_networks()
    rows = found.programs["decomposition"]
    rows["value"] *= rows["subset"].map({-1: 1.0, 0: 0.9, 1: 1.1, 2: 1.0})  # alike for both networks
    doubled = change(found, 1_000, "variance", "4", "8")
    assert doubled.mean == pytest.approx(1.0)
    assert doubled.half_width == pytest.approx(0, abs=1e-12)
    assert change(found, 1_000, "bias2", "4", "8").mean == pytest.approx(0)


def over_width(variances: dict[int, list[float]]) -> Results:
    """Networks of one hidden layer at several rates: their variance at widths 4, 300, 512 and 1,024, bias² of 1."""
    lines = [
        (str(width), float(rate), metric, subset, value)
        for rate, of_rate in variances.items()
        for width, variance in zip((4, 300, 512, 1024), of_rate, strict=True)
        for subset in (-1, 0, 1)
        for metric, value in (
            ("variance", variance),
            ("bias2", 1.0),
            ("squared_error", 1.0 + variance),
            *((("train_loss", 1 / width + subset),) if subset >= 0 else ()),
        )
    ]
    rows = pd.DataFrame(lines, columns=["hidden", "learning_rate", "metric", "subset", "value"])
    return Results("capacity", "full", pd.DataFrame(), {"decomposition": rows.assign(examples=1_000)}, ())


def test_at_each_rate_the_widest_network_is_compared_with_the_network_of_assignment_1() -> None:
    cases = by_rate(over_width({1: [4, 1, 2, 3], 2: [4, 2, 3, 1]})).loc[1_000]
    assert [each.mean for each in cases["variance"]] == pytest.approx([2.0, -0.5])
    assert [each.mean for each in cases["bias2"]] == pytest.approx([0, 0])
    assert cases["variance_rises"].tolist() == [True, False]
    assert cases["least_variance"].tolist() == [300, 1024]
    assert cases["least_sum"].tolist() == [300, 1024]
    assert cases["train_loss"].tolist() == pytest.approx([1 / 300 + 0.5] * 2)
    assert cases["train_loss_widest"].tolist() == pytest.approx([1 / 1024 + 0.5] * 2)
