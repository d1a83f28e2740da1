"""Q4: losses are compared at their best rates, and the findings follow the results."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from analysis.questions.losses.answer import (
    first_errors,
    from_start,
    passed_back,
)
from tests.helpers.altered import Alter, assert_refuted, constant, times

CONTRADICTIONS: dict[str, Alter] = {
    "wrong_start_can_help": times(0.3, "test_accuracy", init="saturated_output"),
    "cross_entropy_trains_better": times(0.5, "test_accuracy", loss="cross_entropy"),
    "quadratic_gradient_vanishes_when_wrong": times(1e4, "error_norm", loss="quadratic"),
    "softmax_stays_at_the_wrong_start": constant(0.9, "test_accuracy"),
    "wrong_start_is_left_in_the_end": constant(0.85, "test_accuracy"),
    "first_update_saturates_sigmoids": constant(0.5, "error_norm"),
    "larger_rates_stop_the_quadratic_loss": constant(0.9, "test_accuracy"),
    "longer_runs_are_done": lambda rows: rows.assign(value=rows["epoch"] / 1_000),
    "adam_leaves_no_lead": times(0.9, "test_accuracy", loss="quadratic"),
}
UNDECIDED = {"composition_of_cross_entropy"}  # no results are behind it


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contrary_results_refute_the_finding(name: str) -> None:
    assert_refuted("losses", name, CONTRADICTIONS[name])


def measured(values: dict[str, list[float]], **columns: object) -> pd.DataFrame:
    """Return a run's rows: metrics by epoch."""
    parts = [
        pd.DataFrame({"epoch": range(len(series)), "update": range(len(series)), "value": series}).assign(
            metric=metric
        )
        for metric, series in values.items()
    ]
    common = {
        "loss": "quadratic",
        "output": "sigmoid",
        "optimizer": "sgd",
        "init": "uniform_fan_in",
        "init_scale": 1.0,
        "seed": 0,
    }
    epochs = max(map(len, values.values())) - 1
    return pd.concat(parts).assign(**{**common, "epochs": epochs, **columns}, key=str(columns))


def test_a_loss_stands_at_its_best_rate_by_validation() -> None:
    accuracy = [0.1, 0.91, 0.93]
    rows = pd.concat(
        [
            measured({"validation_accuracy": [0.1, 0.5, last], "test_accuracy": accuracy}, learning_rate=rate)
            for rate, last in ((0.1, 0.8), (0.3, 0.9))
        ]
    )
    (run,) = from_start(rows, wrong=False).to_dict("records")
    assert run == {
        "name": "quadratic_sigmoid",
        "seed": 0,
        "learning_rate": 0.3,
        "test_accuracy": 0.93,
        "epochs_90": 1,
        "epochs_95": math.inf,
    }


def probed(learning_rate: float, *metrics: dict[str, list[float]]) -> pd.DataFrame:
    """Return a run's rows of metrics per layer, the first layer's first."""
    layers = [
        measured(each, learning_rate=learning_rate, index=layer) for layer, each in enumerate(metrics, 1)
    ]
    return pd.concat(layers).assign(key=str(learning_rate))


def test_the_first_error_is_that_at_the_logits() -> None:
    gradient = {"gradient_norm": [1.0, 1.0]}
    rows = probed(0.1, {"error_norm": [3.0, 9.0], **gradient}, {"error_norm": [4.0, 9.0], **gradient})
    assert first_errors(rows)["norm"].tolist() == [4.0]


def test_what_is_passed_back_is_relative_to_the_error_at_the_end() -> None:
    """A mean loss of 0.08 is that of errors of 0.4."""
    rows = probed(2.0, {"error_norm": [9.0, 9.0], "train_loss": [1.0, 0.08]}, {"error_norm": [9.0, 0.1]})
    assert passed_back(rows).loc[("quadratic_sigmoid", 2.0), 0] == pytest.approx(0.25)


def test_the_wrong_start_has_a_best_rate_of_its_own() -> None:
    rows = pd.concat(
        [
            measured(
                {"validation_accuracy": [0.1, last], "test_accuracy": [0.1, last]},
                learning_rate=rate,
                init=init,
                init_scale=5.0 if init == "saturated_output" else 1.0,
            )
            for init, rate, last in (
                ("uniform_fan_in", 0.1, 0.9),
                ("uniform_fan_in", 1.0, 0.8),
                ("saturated_output", 0.1, 0.3),
                ("saturated_output", 1.0, 0.5),
            )
        ]
    )
    for wrong, rate, last in ((False, 0.1, 0.9), (True, 1.0, 0.5)):
        (run,) = from_start(rows, wrong).to_dict("records")
        assert (run["learning_rate"], run["test_accuracy"]) == (rate, last)
