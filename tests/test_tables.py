"""Tables say what their rows say: verdicts, thresholds, and markdown as the book reads it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
import pytest

from analysis import tables
from analysis.tables import assignment1


def run(rate: float, train: Sequence[float], accuracy: Sequence[float]) -> pd.DataFrame:
    """A run's rows, as `results` gives them."""
    parts = [
        pd.DataFrame(
            {"epoch": [float(epoch) for epoch in range(len(values))], "metric": metric, "value": values}
        )
        for metric, values in (
            ("train_loss", train),
            ("test_loss", [value + 0.1 for value in train]),
            ("train_accuracy", accuracy),
            ("test_accuracy", accuracy),
        )
    ]
    return pd.concat(parts, ignore_index=True).assign(learning_rate=rate, key=str(rate))


FALLING = [3.0 - step / 100 for step in range(200)]
RISING_AT_TIMES = [value + (step % 20 == 0) for step, value in enumerate(FALLING)]
LEARNT = [0.1, 0.85, 0.91, *[0.96] * 197]
NOT_LEARNT = [0.1] * 200


@pytest.mark.parametrize(
    ("train", "accuracy", "verdict"),
    [
        (FALLING, LEARNT, "converges"),
        (FALLING, NOT_LEARNT, "slow"),
        (RISING_AT_TIMES, LEARNT, "unstable"),
        ([*FALLING[:-1], math.nan], LEARNT, "diverges"),
        ([*FALLING[:-1], math.inf], LEARNT, "diverges"),
    ],
)
def test_the_verdict_on_a_learning_rate(train: list[float], accuracy: list[float], verdict: str) -> None:
    table = assignment1.learning_rate_numbers(run(0.5, train, accuracy))
    assert table["verdict"].tolist() == [verdict]


def test_epochs_to_an_accuracy_are_the_first_that_reach_it() -> None:
    rows = pd.concat([run(0.5, FALLING, LEARNT), run(0.1, FALLING, NOT_LEARNT)])
    table = assignment1.learning_rate_numbers(rows).set_index("learning_rate")
    assert table.loc[0.5, ["epochs_90", "epochs_95"]].tolist() == [2, 3]
    assert table.loc[0.1, ["epochs_90", "epochs_95"]].tolist() == [math.inf, math.inf]
    assert "–" in assignment1.learning_rates(rows).data


def test_over_fitting_is_the_rise_above_the_least_test_loss() -> None:
    rows = run(0.5, [2.0, 1.0, 0.5, 0.25], [0.5] * 4)
    rows.loc[rows["metric"] == "test_loss", "value"] = [2.0, 1.0, 1.5, 3.0]
    (numbers,) = assignment1.overfitting_numbers(rows).to_dict("records")
    assert numbers["best_epoch"] == 1
    assert numbers["rise"] == pytest.approx(2.0)
    assert numbers["gap"] == pytest.approx(2.75)


def test_relative_sharpness_is_one_at_the_edge() -> None:
    rows = pd.DataFrame(
        {"learning_rate": [0.5, 2.0], "epoch": 1.0, "metric": "sharpness", "value": [4.0, 1.0]}
    )
    assert assignment1.relative_sharpness(rows).loc[1.0].tolist() == [1.0, 1.0]


def test_markdown_sets_numbers_to_the_right_and_words_to_the_left() -> None:
    frame = pd.DataFrame(
        {"Name": ["a", "3 of them"], "Loss": ["0.12", "not finite"], "Share": ["1.0 %", "–"]}
    )
    assert tables.markdown(frame).data.splitlines()[:2] == ["| Name | Loss | Share |", "|:--|--:|--:|"]


@pytest.mark.parametrize(
    ("value", "text"), [(1.25e-15, "$1.2 \\cdot 10^{-15}$"), (0.5, "$5.0 \\cdot 10^{-1}$"), (0.0, "0")]
)
def test_powers_of_ten(value: float, text: str) -> None:
    assert tables.power(value) == text
