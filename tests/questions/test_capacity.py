"""Q3: bias and variance over capacity, and the findings follow the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import pytest
import torch

from analysis.data import Data
from analysis.questions.capacity import answer
from analysis.questions.capacity.answer import (
    STEPS,
    TO_WIDE,
    TO_WIDEST,
    agreeing,
    change,
    comparison,
    direction,
    errors,
    is_moderate,
    least,
    rates,
    sizes,
    verdict,
)
from analysis.questions.capacity.runs import (
    BUDGETS,
    CANDIDATES,
    CHOICE_RATES,
    CHOICE_SEEDS,
    DEEPER_NETWORKS,
    LEARNING_RATES,
    split,
)
from analysis.results import Results, cached
from analysis.statistics import Interval, p_value
from tests.helpers.altered import Alter, assert_follows_results, assert_refuted, swap, times


def miscounted(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(counted=rows["counted"] + 1) if "counted" in rows else rows


CONTRADICTIONS: dict[str, Alter] = {
    "width_has_an_optimum": swap("metric", "bias2", "variance"),
    "best_rates_are_inside": swap("learning_rate", 0.05, 0.1),
    "variance_turns": times(0.5, "variance", hidden="2048"),
    "bias_levels_off": times(0.1, "bias2", hidden="2048"),
    "best_width": times(0.001, "squared_error", hidden="4"),
    "both_parts_of_the_variance": times(5.0, "variance_start", hidden="300"),
    "depth_raises_the_variance": swap("hidden", "300", "300-300-300"),
    "deeper_networks_vary_by_their_start": swap("metric", "variance_start", "variance_set"),
    "depth_differs_from_width": swap("hidden", "512", "300-300-300"),
    "depth_gains_no_accuracy": times(0.5, "validation_accuracy", hidden="300"),
    "architecture_by_the_trade_off": times(0.5, "validation_accuracy", hidden="300"),
    "parameters_counted": miscounted,
}
REVERSALS: dict[str, Alter] = {"numbers_of_parameters": miscounted}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contrary_results_refute_the_finding(name: str) -> None:
    assert_refuted("capacity", name, CONTRADICTIONS[name])


@pytest.mark.parametrize("name", REVERSALS)
def test_the_verdict_on_a_statement_by_others_follows_the_results(name: str) -> None:
    assert_follows_results("capacity", name, REVERSALS[name])


def results(rows: pd.DataFrame, programs: dict[str, pd.DataFrame]) -> Results:
    return Results("capacity", "full", rows, programs, ())


def over_width(variances: Sequence[Sequence[float]], accuracies: Sequence[Sequence[float]]) -> Results:
    """Networks of 4, 300 and 2,048 units with a bias² of 1; their variances and accuracies, for every rate a list."""
    lines = [
        (width, rate, metric, subset, value)
        for rate, of_rate, reached in zip(LEARNING_RATES, variances, accuracies, strict=True)
        for width, variance, accuracy in zip(("4", "300", "2048"), of_rate, reached, strict=True)
        for subset in (-1, 0, 1, 2)
        for metric, value in (
            ("variance", variance),
            ("bias2", 1.0),
            ("squared_error", 1.0 + variance),
            *((("validation_accuracy", accuracy), ("train_loss", rate)) if subset >= 0 else ()),
        )
    ]
    rows = pd.DataFrame(lines, columns=["hidden", "learning_rate", "metric", "subset", "value"])
    return results(pd.DataFrame(), {"decomposition": rows.assign(examples=1_000)})


ALIKE = 5 * [[0.5, 0.5, 0.5]]


def test_each_network_is_taken_at_its_best_rate_on_validation_data() -> None:
    accuracies = [[0.9, 0.1, 0.1], [0.1, 0.9, 0.1], *3 * [[0.1, 0.1, 0.9]]]
    found = over_width([[4, 9, 9], [9, 1, 9], *3 * [[9, 9, 2]]], accuracies)
    assert rates(found)[1_000].to_dict() == dict(zip(("4", "300", "2048"), LEARNING_RATES[:3], strict=True))
    assert [step.change(found, 1_000, "variance").mean for step in (TO_WIDE, TO_WIDEST)] == [-0.75, 1.0]
    assert least(found, 1_000, "squared_error").width == 300


def test_networks_are_also_compared_at_one_rate() -> None:
    found = over_width(4 * [[4, 1, 2]] + [[1, 4, 2]], ALIKE)
    at_rates = [
        answer._change(answer.estimates(found).loc[(1_000, "variance", rate)], step.first, step.second).mean
        for step in (TO_WIDE, TO_WIDEST)
        for rate in LEARNING_RATES
    ]
    assert at_rates == [*4 * [-0.75], 3.0, *4 * [1.0], -0.5]


def test_a_change_is_relative_to_the_first_network_with_what_training_sets_share_left_out() -> None:
    found = over_width(5 * [[1, 2, 2]], ALIKE)
    rows = found.programs["decomposition"]
    rows["value"] *= rows["subset"].map({-1: 1.0, 0: 0.9, 1: 1.1, 2: 1.0})  # alike for all networks
    doubled = change(found, 1_000, "variance", "4", "300")
    assert doubled.mean == pytest.approx(1.0)
    assert doubled.half_width == pytest.approx(0, abs=1e-12)
    assert change(found, 1_000, "bias2", "4", "300").mean == pytest.approx(0)


def test_the_place_of_the_least_is_told_with_the_widths_that_cannot_be_told_from_it() -> None:
    found = over_width(5 * [[3, 1, 2]], ALIKE)
    rows = found.programs["decomposition"]
    moved = (rows["metric"] == "variance") & (rows["subset"] == 1) & (rows["hidden"] == "300")
    rows.loc[moved, "value"] = 2.5
    assert str(least(found, 1_000, "variance")) == "300 (4–2,048)"
    assert str(least(found, 1_000, "squared_error")) == "300 (300–300)"


@pytest.mark.parametrize(("width", "moderate"), [(2, False), (4, True), (1024, True), (2048, False)])
def test_a_moderate_width_is_neither_the_narrowest_nor_the_widest(width: int, moderate: bool) -> None:
    assert is_moderate(width) is moderate


def test_errors_are_those_of_the_choice_for_its_candidates() -> None:
    drawn = errors(cached("capacity"))
    seeds = {width: set(of_width["seed"]) for width, of_width in drawn.groupby("width")}
    of_candidates = {width for (width,) in CANDIDATES}
    preset = cached("capacity").preset
    assert all(
        found == set(CHOICE_SEEDS[preset] if width in of_candidates else BUDGETS[preset].seeds)
        for width, found in seeds.items()
    )


@pytest.mark.parametrize(
    ("expected", "means", "said", "agree"),
    [
        ("rises", [3, 3], "confirmed", 2),
        ("rises", [3, 0.5], "confirmed in part", 1),
        ("rises", [3, -3], "mixed", 1),
        ("rises", [0.5, -3], "refuted in part", 0),
        ("rises", [0.5, -0.5], "open", 0),
        ("falls", [3, 3], "refuted", 0),
    ],
)
def test_intervals_decide_what_becomes_of_an_expectation(
    expected: str, means: list[float], said: str, agree: int
) -> None:
    changes = [Interval(mean, 1.0, 5) for mean in means]
    assert verdict(expected, {direction(each) for each in changes}) == said
    assert agreeing(expected, changes) == agree


def test_a_verdict_needs_a_change_that_holds_with_all_others_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    found = cached("capacity")
    adjusted = answer.adjusted_p(found)
    assert adjusted.keys() == {
        (step.words, metric, sets)
        for step in STEPS
        for metric in step.expected
        for sets in step.tests(found, metric)
    }
    assert all(
        p >= p_value(step.tests(found, metric)[sets])
        for step in STEPS
        for (words, metric, sets), p in adjusted.items()
        if words == step.words
    )
    assert STEPS[0].verdict(found, "bias2") == "confirmed"
    few, *_ = sizes(found)
    doubtful = {test: 0.06 if test[-1] == f"{few:,}" else p for test, p in adjusted.items()}
    monkeypatch.setattr(answer, "adjusted_p", lambda found: doubtful)
    assert STEPS[0].verdict(found, "bias2") == "confirmed in part"


def test_an_expectation_is_tested_on_fresh_sets_where_both_networks_were_trained_on_them() -> None:
    found = cached("capacity")
    few, *more = (f"{size:,}" for size in sizes(found))
    for step in STEPS:
        changes = step.tests(found, "variance")
        assert list(changes) == [answer.FRESH if step.is_on_fresh else few, *more]
        if step.is_on_fresh:
            assert changes[answer.FRESH] == answer.fresh_change(found, "variance", step.first, step.second)
            assert changes[answer.FRESH] != step.change(found, sizes(found)[0], "variance")


@pytest.mark.parametrize(
    ("lower", "spread", "chosen"),
    [(0.004, 0.0, "64"), (0.006, 0.0, "96"), (0.004, 0.004, "96")],  # within, beyond, and not for sure
)
def test_the_smallest_candidate_is_chosen_that_is_surely_within_the_margin(
    lower: float, spread: float, chosen: str
) -> None:
    lines = [
        (
            "-".join(map(str, hidden)),
            rate,
            seed,
            f"{part}_accuracy",
            0.98 - rate - (lower + spread * (-1) ** seed if hidden == (64,) else 0.001 / hidden[0]),
        )
        for hidden in CANDIDATES + DEEPER_NETWORKS
        for rate in CHOICE_RATES
        for seed in CHOICE_SEEDS["full"]
        for part in ("train", "validation", "test")
    ]
    rows = pd.DataFrame(lines, columns=["hidden", "learning_rate", "seed", "metric", "value"])
    run = rows[["hidden", "learning_rate", "seed"]].astype(str).agg(" ".join, axis="columns")
    drawn = results(rows.assign(update=1, key=run), {})
    assert set(answer.final_accuracies(drawn).index.unique("learning_rate")) == {CHOICE_RATES[0]}
    found = comparison(drawn)
    assert found.best == "1024"
    assert found.earlier == chosen


def test_networks_that_do_not_learn_vary_by_their_start_alone(small: Data) -> None:
    enough = replace(  # for what is held out
        small, train_images=small.train_images.repeat(12, 1), train_labels=small.train_labels.repeat(12)
    )
    rows = split(enough, torch.device("cpu"), (8,), 1e-9, examples=50, subsets=6, starts=4, epochs=1)
    whole = rows[rows["subset"] == -1].set_index("metric")["value"]
    assert whole["variance_start"] > 0
    assert abs(whole["variance_set"]) < whole["variance_start"] / 4
    assert sorted(rows["subset"].unique()) == list(range(-1, 6))
