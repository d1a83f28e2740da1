"""Q3: bias and variance over capacity, and the findings follow the results."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pytest

from analysis.questions.capacity.answer import (
    TO_WIDE,
    TO_WIDEST,
    TURNS,
    change,
    choice,
    errors,
    is_moderate,
    least,
    lost_fit,
    verdict,
    widths_of,
)
from analysis.questions.capacity.runs import BUDGETS, CANDIDATES, CHOICE_RATE, CHOICE_SEEDS, LEARNING_RATES
from analysis.results import Results, cached
from analysis.statistics import Interval
from tests.helpers.altered import Alter, assert_follows_results, assert_refuted, swap, times


def miscounted(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(counted=rows["counted"] + 1) if "counted" in rows else rows


CONTRADICTIONS: dict[str, Alter] = {
    "width_has_an_optimum": swap("metric", "bias2", "variance"),
    "rate_of_the_choice": swap("learning_rate", 0.005, 0.05),
    "variance_turns": times(0.5, "variance", hidden="2048"),
    "sgd_turns_with_the_rate": times(0.5, "variance", hidden="1024"),
    "bias_rises_with_the_train_loss": times(100.0, "train_loss", hidden="2048"),
    "optimum_depends_on_the_rate": swap("examples", 1_000, 5_000),
    "depth_trades_bias_for_variance": swap("metric", "bias2", "variance"),
    "narrow_layers_fit_worse": swap("hidden", "4", "4-4-4"),
    "depth_differs_from_width": swap("hidden", "512", "300-300-300"),
    "depth_gains_no_accuracy": times(0.5, "validation_accuracy", hidden="300"),
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


def results(rows: pd.DataFrame, programs: dict[str, pd.DataFrame]) -> Results:
    return Results("capacity", "full", rows, programs, ())


def over_width(variances: Sequence[Sequence[float]], losses: Sequence[Sequence[float]]) -> Results:
    """Networks of 4, 300 and 2,048 units with a bias² of 1; their variances and train losses, for every rate a list."""
    lines = [
        (width, rate, metric, subset, value)
        for rate, of_rate, losses_of_rate in zip(LEARNING_RATES, variances, losses, strict=True)
        for width, variance, loss in zip(("4", "300", "2048"), of_rate, losses_of_rate, strict=True)
        for subset in (-1, 0, 1, 2)
        for metric, value in (
            ("variance", variance),
            ("bias2", 1.0),
            ("squared_error", 1.0 + variance),
            *((("train_loss", loss + subset),) if subset >= 0 else ()),
        )
    ]
    rows = pd.DataFrame(lines, columns=["hidden", "learning_rate", "metric", "subset", "value"])
    return results(pd.DataFrame(), {"decomposition": rows.assign(examples=1_000)})


def test_networks_are_compared_at_one_rate() -> None:
    found = over_width(4 * [[4, 1, 2]] + [[1, 4, 2]], 4 * [[3, 2, 1]] + [[3, 1, 2]])
    of_variance = [
        [each.mean for each in step.changes(found, 1_000, "variance").values()]
        for step in (TO_WIDE, TO_WIDEST)
    ]
    assert of_variance == [4 * [-0.75] + [3.0], 4 * [1.0] + [-0.5]]
    assert widths_of(least(found, 1_000, "squared_error")).tolist() == 4 * [300] + [4]
    assert lost_fit(found, TO_WIDEST, 1_000).tolist() == 4 * [False] + [True]


def test_a_change_is_relative_to_the_first_network_with_what_training_sets_share_left_out() -> None:
    found = over_width(5 * [[1, 2, 2]], 5 * [[1, 1, 1]])
    rows = found.programs["decomposition"]
    rows["value"] *= rows["subset"].map({-1: 1.0, 0: 0.9, 1: 1.1, 2: 1.0})  # alike for all networks
    doubled = change(found, 1_000, "variance", CHOICE_RATE, "4", "300")
    assert doubled.mean == pytest.approx(1.0)
    assert doubled.half_width == pytest.approx(0, abs=1e-12)
    assert change(found, 1_000, "bias2", CHOICE_RATE, "4", "300").mean == pytest.approx(0)


def test_the_place_of_the_least_is_told_with_how_far_a_training_set_moves_it() -> None:
    found = over_width(5 * [[3, 1, 2]], 5 * [[1, 1, 1]])
    rows = found.programs["decomposition"]
    moved = (rows["metric"] == "variance") & (rows["subset"] == 1) & (rows["hidden"] == "300")
    rows.loc[moved, "value"] = 2.5
    assert {str(place) for place in least(found, 1_000, "variance").values()} == {"300–2,048"}
    assert {str(place) for place in least(found, 1_000, "squared_error").values()} == {"300"}


@pytest.mark.parametrize(("widths", "moderate"), [([4, 1024], True), ([4, 2048], False), ([2, 1024], False)])
def test_a_moderate_width_is_neither_the_narrowest_nor_the_widest(widths: list[int], moderate: bool) -> None:
    assert is_moderate(pd.Series(widths)) is moderate


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
    ("expected", "means", "said"),
    [
        ("rises", [3, 3, 0.5], "confirmed"),  # all but one at most
        ("rises", [3, 0.5, 0.5], "open"),
        ("rises", [3, 3, -3], TURNS),
        ("falls", [3, 3, 3], "refuted"),
        ("stays", [0.5, 0.5, 0.5], "open"),  # no interval shows that nothing changes
        ("stays", [0.5, 0.5, 3], "refuted"),
    ],
)
def test_intervals_decide_what_becomes_of_an_expectation(
    expected: str, means: list[float], said: str
) -> None:
    assert verdict(expected, [Interval(mean, 1.0, 5) for mean in means]) == said


@pytest.mark.parametrize(
    ("lower", "spread", "chosen"),
    [(0.004, 0.0, "64"), (0.006, 0.0, "96"), (0.004, 0.004, "96")],  # within, beyond, and not for sure
)
def test_the_smallest_candidate_is_chosen_that_is_surely_within_the_margin(
    lower: float, spread: float, chosen: str
) -> None:
    lines = [
        (
            str(width),
            seed,
            f"{part}_accuracy",
            0.98 - (lower + spread * (-1) ** seed if width == 64 else 0.001 / width),
        )
        for (width,) in CANDIDATES
        for seed in CHOICE_SEEDS["full"]
        for part in ("train", "validation", "test")
    ]
    rows = pd.DataFrame(lines, columns=["hidden", "seed", "metric", "value"])
    rows = rows.assign(learning_rate=CHOICE_RATE, update=1, key=rows["hidden"] + rows["seed"].astype(str))
    found = choice(results(rows, {}))
    assert found.best == "1024"
    assert found.chosen == chosen
