"""Exercise 2: initializations are told apart, and the findings follow the results."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch

from analysis.data import Data
from analysis.questions.constant_init.answer import final_table, named_settings, slopes
from analysis.questions.constant_init.runs import one_unit
from analysis.results import cached
from tests.helpers.altered import assert_follows_results, assert_refuted, constant, measured

CONTRADICTIONS = {
    "units_stay_identical": constant(1, "unit_distance"),
    "zero_moves_the_bias_only": constant(1, "gradient_norm"),
    "small_constants_train_one_unit": constant(0.2, "test_accuracy"),
    "ones_are_saturated": constant(0.2, "mean_slope"),
    "smaller_rate_does_not_overshoot": constant(3, "train_loss", learning_rate=0.05),
    "one_unit_does_not_get_far": constant(0.9, "test_accuracy", hidden="1"),
    "large_relus_die": constant(1, "mean_slope"),
    "edge_of_the_biases": lambda rows: (
        rows.assign(label_sorted=rows["position"] % 30) if "label_sorted" in rows else rows
    ),
    "updates_tell_the_methods_apart": lambda rows: (
        rows.assign(train_loss=rows["train_loss"] + 1) if "train_loss" in rows else rows
    ),
    "one_unit_learns_the_same": lambda rows: (
        rows.assign(train_loss=rows["units"]) if "units" in rows else rows
    ),
}
REVERSALS = {"nothing_is_learnt_from_zero": constant(0.1, "test_accuracy")}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contrary_results_refute_the_finding(name: str) -> None:
    assert_refuted("constant_init", name, CONTRADICTIONS[name])


@pytest.mark.parametrize("name", REVERSALS)
def test_the_verdict_on_a_statement_by_others_follows_the_results(name: str) -> None:
    assert_follows_results("constant_init", name, REVERSALS[name])


def test_settings_name_method_and_start() -> None:
    starts = pd.concat(
        measured(
            "train_loss",
            {1.0: 2.0},
            hidden="300",
            learning_rate=0.1,
            init=init,
            init_scale=scale,
            activation="relu",
            batch_size=size,
        )
        for init, scale, size in (("uniform_fan_in", 1.0, 128.0), ("constant", 0.01, math.nan))
    )
    assert named_settings(starts)[["method", "initialization"]].to_numpy().tolist() == [
        ["sgd", "random"],
        ["gd", "0.01"],
    ]


def test_a_slope_that_would_round_to_zero_is_given_a_bound() -> None:
    shown = final_table.contents(cached)["tbl-constant-start"].frame.set_index(["Method", "Start"])
    assert shown.loc[("SGD", "0.1"), "sigmoid slope"] == "<0.01 → <0.01"
    assert shown.loc[("SGD", "0"), "ReLU slope"] == "0 → 0"


def test_slopes_are_those_before_and_after_training() -> None:
    common = {"hidden": "300", "activation": "tanh", "batch_size": 128.0, "learning_rate": 0.1}
    rows = pd.concat(
        [
            measured(metric, {0.0: first, 1.0: last}, init="constant", init_scale=0.1, seed=seed, **common)
            for metric, first, last, seed in (
                ("train_loss", 2.3, 2.0, 0),
                ("train_loss", 2.3, 2.0, 1),
                ("mean_slope", 0.5, 0.1, 0),
                ("mean_slope", 0.5, 0.3, 1),
            )
        ]
    )
    assert slopes(rows).loc[("sgd", "tanh", "0.1")].tolist() == pytest.approx([0.5, 0.2])


def test_equal_units_learn_as_one_unit_with_other_rates(small: Data) -> None:
    trained = one_unit(small, torch.device("cpu"), epochs=5)
    start = ["activation", "constant"]
    losses = trained.pivot_table(index=[*start, "epoch"], columns="units", values="train_loss")
    assert losses[300].to_numpy() == pytest.approx(losses[1].to_numpy(), rel=1e-12)
    assert (losses[1].groupby(start).nunique() == 6).any()  # these labels are balanced: from 0 nothing moves
