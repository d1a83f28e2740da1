"""Findings are supported by the committed cache, and refuted by results that say otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest

from analysis import book, claims
from analysis.claims.registry import CLAIMS, STATEMENTS
from analysis.results import Results

Alter = Callable[[pd.DataFrame], pd.DataFrame]


def reverse_values(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(value=rows["value"].to_numpy()[::-1])


def changed(change: Callable[[pd.Series], pd.Series], metric: str, **where: object) -> Alter:
    """Change a metric's values, of the rows only in which the columns have the given values."""

    def alter(rows: pd.DataFrame) -> pd.DataFrame:
        if "metric" not in rows:
            return rows
        chosen = rows["metric"] == metric
        for column, value in where.items():
            if column not in rows:
                return rows
            chosen &= rows[column] == value
        return rows.assign(value=rows["value"].where(~chosen, change(rows["value"])))

    return alter


def constant(value: float, metric: str, **where: object) -> Alter:
    return changed(lambda values: values * 0 + value, metric, **where)


def times(factor: float, metric: str, **where: object) -> Alter:
    return changed(lambda values: values * factor, metric, **where)


def swap(column: str, one: object, other: object) -> Alter:
    return lambda rows: rows.replace({column: {one: other, other: one}}) if column in rows else rows


def falling(rows: pd.DataFrame) -> pd.DataFrame:
    """Every run learns well and steadily."""
    if "epoch" not in rows:  # a program's table
        return rows
    smooth = 1 / (1 + rows["epoch"])
    learnt = rows["value"].where(rows["metric"] != "train_loss", smooth)
    return rows.assign(value=learnt.where(rows["metric"] != "test_accuracy", 31 / 32))


def deeper_is_larger(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(value=rows["hidden"].str.count("-") + 1.0)


# How results that contradict a finding would look.
CONTRADICTIONS: dict[str, Alter] = {
    "exercise1_accuracy": reverse_values,
    "gradient_descent_is_full": lambda rows: rows.assign(deviation=0.5),
    "no_overfitting": times(2, "test_loss"),
    "contrast_overfits": lambda rows: rows.assign(value=rows["epoch"].rsub(1e6)),
    "variance_hardly_pays": swap("metric", "bias2", "variance"),
    "no_optimum_at_moderate_capacity": constant(0.5, "train_accuracy"),
    "depth_trades_bias_for_variance": swap("metric", "bias2", "variance"),
    "more_examples_lower_both": swap("examples", 1_000, 5_000),
    "architecture_by_rule": times(0.5, "validation_accuracy", hidden="300"),
    "parameters_counted": lambda rows: rows.assign(counted=rows["counted"] + 1),
    "cross_entropy_trains_better": times(0.5, "test_accuracy", loss="cross_entropy"),
    "quadratic_gradient_vanishes_when_wrong": times(1e4, "gradient_norm", loss="quadratic"),
    "quadratic_losses_are_stuck": constant(0.9, "test_accuracy"),
    "quadratic_comes_close": times(0.9, "test_accuracy"),
    "one_hot_beats_a_single_output": times(1.8, "test_accuracy", target="scaled_label"),
    "errors_fall_on_neighbours": constant(1, "confusion"),
    "ends_are_read_too_seldom": constant(1, "confusion"),
    "renumbering_moves_the_single_output": times(
        0.9, "test_accuracy", target="one_hot", labels="2-8-4-9-1-6-7-3-0-5"
    ),
    "learning_rate_window": lambda rows: rows.assign(value=rows["value"].clip(upper=0.5)),
    "starts_differ_early": constant(0.1, "test_accuracy", seed=1),
    "start_beyond_the_edge": lambda rows: rows.assign(value=rows["value"] / 100),
    "sharpness_gives_way": lambda rows: rows.assign(value=rows["value"] * 3),
    "learning_rate_unstable": lambda rows: rows.sort_values("value", ascending=False),
    "shallow_gradient_does_not_vanish": times(1e-3, "gradient_norm", index=1),
    "depth_makes_the_gradient_vanish": constant(1, "gradient_norm"),
    "skip_keeps_the_gradient": times(0.01, "gradient_norm", skip=True),
    "minibatches_win": constant(0.5, "test_accuracy"),
    "one_epoch_beats_gradient_descent": times(100, "train_loss", epoch=1),
    "overhead_decides_the_time": lambda rows: (
        rows.assign(seconds=rows["batch_size"] * 1e-5) if "metric" not in rows else rows
    ),
    "constant_rates_suffice_where_all_is_fitted": times(100, "train_loss", decay=0),
    "decreasing_rates_quench_noise": times(0.1, "train_loss", decay=0),
    "units_stay_identical": constant(1, "unit_distance"),
    "zero_moves_the_bias_only": constant(1, "gradient_norm"),
    "large_constants_fail": constant(0.9, "test_accuracy"),
    "sorted_needs_small_rates": swap("order", "shuffled", "label_sorted"),
    "number_of_orders": lambda rows: rows[::-1],
    "sorted_follows_gradient_descent": times(0.5, "test_accuracy", epochs=300),
    "sorted_is_worse": swap("order", "shuffled", "label_sorted"),
    "forgetting": constant(0.5, "class_accuracy"),
    "running_gradient_is_biased": swap("order", "shuffled", "label_sorted"),
    "adam_is_ahead": swap("optimizer", "adam", "sgd"),
    "adam_is_less_sensitive": swap("optimizer", "adam", "sgd"),
    "adams_lead_shrinks": swap("optimizer", "adam", "sgd"),
    "adam_is_faster": swap("optimizer", "adam", "sgd"),
    "rule_of_thumb_is_not_best": times(1.05, "test_accuracy", optimizer="adam", learning_rate=3e-4),
    "start_decides_nielsens_network": constant(1, "class_accuracy"),
}
# How results would look on which the verdict on a statement by others is the opposite; None: no result decides it.
REVERSALS: dict[str, Alter | None] = {
    "wide_network_overfits_mildly": changed(lambda values: values[::-1].to_numpy(), "test_loss"),
    "small_networks_overfit_mildly": None,
    "numbers_of_parameters": lambda rows: rows.assign(counted=rows["counted"] + 1),
    "composition_of_cross_entropy": None,
    "rates_up_to_two_converge": falling,
    "smallest_rate_converges": falling,
    "largest_rates_are_unstable": falling,
    "relu_explodes": deeper_is_larger,
    "residual_connections_drop": None,
    "minibatches_beat_hundreds_of_epochs": falling,
    "nothing_is_learnt_from_zero": constant(0.1, "test_accuracy"),
    "adam_is_an_order_faster": constant(0.99, "test_accuracy", optimizer="adam"),
    "adams_lead_is_luck": swap("optimizer", "adam", "sgd"),
    "rule_of_thumb": CONTRADICTIONS["rule_of_thumb_is_not_best"],
}


def altered(found: Results, alter: Alter) -> Results:
    return replace(
        found,
        rows=alter(found.rows) if len(found.rows) else found.rows,
        programs={
            name: alter(table) if "pixel" not in table else table for name, table in found.programs.items()
        },
    )


@pytest.mark.parametrize("name", CLAIMS)
def test_the_committed_results_support_it(name: str) -> None:
    presets = {claims.results(experiment).preset for experiment in CLAIMS[name].experiments}
    verdict = claims.judge(name)
    assert verdict.holds or "quick" in presets, verdict.text


@pytest.mark.parametrize("name", CLAIMS)
def test_contrary_results_refute_it_and_the_text_says_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = claims.results
    monkeypatch.setattr(claims, "results", lambda asked: altered(genuine(asked), CONTRADICTIONS[name]))
    assert not claims.judge(name).holds
    assert book.claim(name).data.startswith("**Not supported by these results:**")


@pytest.mark.parametrize("name", [name for name, alter in REVERSALS.items() if alter])
def test_the_verdict_on_a_statement_by_others_follows_the_results(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = claims.judge(name)
    genuine, alter = claims.results, REVERSALS[name]
    assert alter is not None
    monkeypatch.setattr(claims, "results", lambda asked: altered(genuine(asked), alter))
    assert claims.judge(name).holds is not before.holds


def test_every_statement_by_others_is_listed_with_its_verdict() -> None:
    assert REVERSALS.keys() == STATEMENTS.keys()
    table = book.statements().data
    for name, statement in STATEMENTS.items():
        (line,) = (line for line in table.splitlines() if statement.said in line)
        assert ("| confirmed |" in line) == bool(claims.judge(name).holds), name


def test_sentences_have_no_number_of_their_own_cached_results() -> None:
    """Every measured number of a sentence comes from its evidence: places are filled, none is left."""
    for name in (*CLAIMS, *STATEMENTS):
        assert "{" not in claims.judge(name).text.replace("^{", "").replace("\\cdot 10^{", "")


def test_quick_results_are_announced_on_every_page(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = claims.results
    monkeypatch.setattr(book, "results", lambda name: replace(genuine(name), preset="quick"))
    assert "Provisional" in book.notice().data
    monkeypatch.setattr(book, "results", lambda name: replace(genuine(name), preset="full"))
    assert book.notice().data == ""
