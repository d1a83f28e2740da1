"""Q6: verdicts on learning rates, the edge of stability, and one figure per rate."""

from __future__ import annotations

import io
import math

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from analysis.questions.learning_rate.answer import (
    draw_loss_curves,
    figures_by_rate,
    rates_table,
    relative_sharpness,
    run_numbers,
    verdicts,
)
from analysis.questions.learning_rate.runs import LEARNING_RATES
from analysis.results import Results
from tests.helpers.altered import (
    FALLING,
    LEARNT,
    assert_follows_results,
    assert_refuted,
    constant,
    curves,
    falling,
    swap,
)

CONTRADICTIONS = {
    "learning_rate_window": lambda rows: rows.assign(value=rows["value"].clip(upper=0.5)),
    "units_saturate": constant(0.25, "mean_slope"),
    "start_beyond_the_edge": lambda rows: rows.assign(value=rows["value"] / 100),
    "stable_rates_follow_one_curve": lambda rows: (
        rows.assign(value=rows["value"] * rows["learning_rate"]) if "metric" in rows else rows
    ),
    "larger_rates_do_not_train": lambda rows: rows[rows["learning_rate"] <= 8],
    "sharpness_gives_way": lambda rows: rows.assign(value=rows["value"] * 3),
    "more_epochs_favour_smaller_rates": swap("learning_rate", 0.5, 2.0),
    "sharpness_hovers_at_unstable_rates": lambda rows: rows.assign(value=rows["value"] * 3),
}
REVERSALS = {
    "rates_up_to_two_converge": falling,
    "smallest_rate_is_as_good": falling,
    "largest_rates_are_unstable": falling,
}

RISING_AT_TIMES = [value + (step % 20 == 0) for step, value in enumerate(FALLING)]
NOT_LEARNT, HALF_LEARNT = [0.1] * 200, [0.5] * 200


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contrary_results_refute_the_finding(name: str) -> None:
    assert_refuted("learning_rate", name, CONTRADICTIONS[name])


@pytest.mark.parametrize("name", REVERSALS)
def test_the_verdict_on_a_statement_by_others_follows_the_results(name: str) -> None:
    assert_follows_results("learning_rate", name, REVERSALS[name])


@pytest.mark.parametrize(
    ("train", "accuracy", "verdict"),
    [
        (FALLING, LEARNT, "steady"),
        (FALLING, HALF_LEARNT, "slow"),
        (FALLING, NOT_LEARNT, "stuck"),
        ([*FALLING[:-1], 3 * FALLING[0]], NOT_LEARNT, "blows up"),
        (RISING_AT_TIMES, LEARNT, "unstable"),
        ([*FALLING[:-1], math.nan], LEARNT, "blows up"),
        ([*FALLING[:-1], math.inf], LEARNT, "blows up"),
    ],
)
def test_the_verdict_on_a_learning_rate(train: list[float], accuracy: list[float], verdict: str) -> None:
    assert run_numbers(curves(0.5, train, accuracy).assign(seed=0))["verdict"].tolist() == [verdict]


def test_where_starts_differ_the_rarer_verdict_is_counted() -> None:
    runs = [(FALLING, LEARNT), (RISING_AT_TIMES, LEARNT), (FALLING, LEARNT)]
    rows = pd.concat([curves(0.5, *run).assign(seed=seed) for seed, run in enumerate(runs)])
    assert verdicts(run_numbers(rows)).tolist() == ["unstable in 1 of 3"]


def two_rates() -> Results:
    rows = pd.concat([curves(0.5, FALLING, LEARNT), curves(0.1, FALLING, NOT_LEARNT)])
    return Results("learning_rate", "full", rows.assign(seed=0), {}, ())


def test_epochs_to_an_accuracy_are_the_first_that_reach_it() -> None:
    numbers = run_numbers(two_rates().rows).droplevel("seed")
    assert numbers.loc[0.5, ["slow_epoch", "fast_epoch"]].tolist() == [2, 3]
    assert numbers.loc[0.1, ["slow_epoch", "fast_epoch"]].tolist() == [math.inf, math.inf]


def test_the_table_has_a_line_per_rate_and_a_dash_for_what_was_not_reached() -> None:
    table = rates_table.contents(lambda name: two_rates())["tbl-learning-rates"]
    assert table.frame["To 90 %"].tolist() == ["–", "2"]
    assert table.caption.startswith("The two learning rates ")


def test_relative_sharpness_is_one_at_the_edge() -> None:
    rows = pd.DataFrame(
        {"learning_rate": [0.5, 2.0], "seed": 0, "epoch": 1.0, "metric": "sharpness", "value": [4.0, 1.0]}
    )
    assert relative_sharpness(rows).loc[1.0].tolist() == [1.0, 1.0]


def test_every_rate_has_a_figure_of_its_own() -> None:
    labels = list(figures_by_rate.contents())
    assert len(labels) == len(LEARNING_RATES)
    assert "fig-rate-0-001" in labels
    plt.close("all")


def test_figures_of_all_rates_have_the_same_axes() -> None:
    figures = [draw_loss_curves(curves(rate, FALLING, LEARNT), 200) for rate in (0.1, 0.5)]
    (first,), (second,) = (figure.axes for figure in figures)
    assert (first.get_xscale(), first.get_yscale()) == ("log", "log")
    assert (first.get_xlim(), first.get_ylim()) == (second.get_xlim(), second.get_ylim())
    plt.close("all")


def test_a_run_that_is_not_finite_is_drawn_as_far_as_it_is() -> None:
    rows = curves(0.1, FALLING, LEARNT)
    rows.loc[rows["epoch"] > 50, "value"] = math.nan
    draw_loss_curves(rows, 200).savefig(io.BytesIO())
    plt.close("all")
