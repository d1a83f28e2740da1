"""Exercise 2: initializations are told apart, and the findings follow the results."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from analysis.questions.constant_init.answer import label_entropy, named_settings, slopes
from tests.helpers.altered import assert_follows_results, assert_refuted, constant, measured

CONTRADICTIONS = {
    "units_stay_identical": constant(1, "unit_distance"),
    "zero_moves_the_bias_only": constant(1, "gradient_norm"),
    "small_steps_learn_nothing": constant(1.5, "train_loss"),
    "ones_are_saturated": constant(0.2, "mean_slope"),
}
REVERSALS = {"nothing_is_learnt_from_zero": constant(0.1, "test_accuracy")}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contrary_results_refute_the_finding(name: str) -> None:
    assert_refuted("constant_init", name, CONTRADICTIONS[name])


@pytest.mark.parametrize("name", REVERSALS)
def test_the_verdict_on_a_statement_by_others_follows_the_results(name: str) -> None:
    assert_follows_results("constant_init", name, REVERSALS[name])


def test_one_unit_stands_at_the_rate_of_its_least_train_loss() -> None:
    common = {
        "init": "uniform_fan_in",
        "init_scale": 1.0,
        "activation": "relu",
        "batch_size": 128.0,
        "seed": 0,
    }
    rows = pd.concat(
        [
            measured("train_loss", {0.0: 2.3, 1.0: loss}, hidden=hidden, learning_rate=rate, **common)
            for hidden, rate, loss in (("1", 0.1, 1.9), ("1", 0.3, 1.6), ("1", 1.0, 2.0), ("300", 0.1, 0.2))
        ]
    )
    named = named_settings(rows)
    assert named.groupby("initialization")["learning_rate"].unique().map(list).to_dict() == {
        "one_unit": [0.3],
        "random": [0.1],
    }


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


def test_the_entropy_of_labels_is_that_of_their_frequencies() -> None:
    assert label_entropy(pd.Series(list(range(10)) * 3)) == pytest.approx(math.log(10))
    assert label_entropy(pd.Series([0, 0, 0, 1])) == pytest.approx(
        -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    )
