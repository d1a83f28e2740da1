"""Exercise 1: the findings on batch sizes follow the results."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.questions.minibatch.answer import batch_settings, plain_epoch_seconds
from analysis.results import Results
from tests.helpers.altered import assert_follows_results, assert_refuted, constant, falling, times

CONTRADICTIONS = {
    "minibatches_win": constant(0.5, "test_accuracy"),
    "one_epoch_beats_gradient_descent": times(100, "train_loss", epoch=1),
    "overhead_decides_the_time": lambda rows: (
        rows.assign(seconds=rows["batch_size"] * 1e-5) if "metric" not in rows else rows
    ),
    "constant_rates_suffice_where_all_is_fitted": times(100, "train_loss", decay=0),
    "small_batches_end_alike": times(0.9, "test_accuracy", batch_size=16),
    "gradient_descent_comes_close": constant(1.0, "test_accuracy"),
    "decreasing_rates_quench_noise": times(0.1, "train_loss", decay=0),
}
REVERSALS = {"minibatches_beat_hundreds_of_epochs": falling}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contrary_results_refute_the_finding(name: str) -> None:
    assert_refuted("minibatch", name, CONTRADICTIONS[name])


@pytest.mark.parametrize("name", REVERSALS)
def test_the_verdict_on_a_statement_by_others_follows_the_results(name: str) -> None:
    assert_follows_results("minibatch", name, REVERSALS[name])


def test_the_full_batch_is_two_settings_each_at_its_own_best_rate() -> None:
    def run(batch_size: float, rate: float, accuracies: dict[float, float]) -> pd.DataFrame:
        return pd.DataFrame({"epoch": list(accuracies), "value": list(accuracies.values())}).assign(
            update=lambda rows: rows["epoch"],
            hidden="300",
            learning_rate=rate,
            decay=0.0,
            batch_size=batch_size,
            epochs=max(accuracies),
            seed=0,
            metric="validation_accuracy",
            key=f"{batch_size} {rate}",
        )

    rows = pd.concat(
        [
            run(16, 0.1, {1.0: 0.9}),
            run(16, 0.3, {1.0: 0.8}),
            run(np.nan, 0.1, {1.0: 0.4, 10.0: 0.5}),
            run(np.nan, 0.3, {1.0: 0.3, 10.0: 0.7}),
            run(np.nan, 1.0, {1.0: 0.2, 10.0: 0.6}),
        ]
    )
    settings = batch_settings(rows).groupby(["budget", "batch"])[["learning_rate", "edge"]].first()
    assert settings.to_dict("index") == {
        (1.0, 16.0): {"learning_rate": 0.1, "edge": True},
        (1.0, np.inf): {"learning_rate": 0.1, "edge": True},
        (10.0, np.inf): {"learning_rate": 0.3, "edge": False},
    }


def test_an_epoch_has_as_many_updates_as_batches() -> None:
    plain = pd.DataFrame({"batch_size": [1, 8_192, 60_000], "seconds": [1.0, 1.0, 1.2]})
    found = Results("minibatch", "full", pd.DataFrame(), {"plain_seconds": plain}, ())
    assert plain_epoch_seconds(found).to_dict() == pytest.approx({1: 50_000, 8_192: 7, np.inf: 1})
