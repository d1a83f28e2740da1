"""Tables say what their rows say: verdicts, thresholds, and markdown as the book reads it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
import pytest

from analysis import tables
from analysis.tables import assignment1, assignment2, others


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


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0.003, "0.003"), (10.0, "10"), (1e-6, "$10^{-6}$"), (3e-5, "$3 \\cdot 10^{-5}$"), (3e-4, "0.0003")],
)
def test_tiny_learning_rates_are_written_as_powers(rate: float, text: str) -> None:
    assert tables.rate_text(rate) == text


# Assignment 2


def measured(metric: str, values: dict[float, float], **columns: object) -> pd.DataFrame:
    """A run's rows of one metric, by epoch."""
    rows = pd.DataFrame(
        {"epoch": list(values), "update": [100 * epoch for epoch in values], "value": list(values.values())}
    )
    return rows.assign(metric=metric, key=str(columns), **columns)


def test_the_window_of_usable_rates_lies_within_a_point_of_the_best() -> None:
    accuracy = pd.Series({0.01: 0.90, 0.1: 0.975, 1.0: 0.98, 10.0: 0.5})
    assert assignment2.window(accuracy).index.tolist() == [0.1, 1.0]
    assert assignment2.decades(pd.Index([0.01, 1.0])) == pytest.approx(2)


def test_the_entropy_of_labels_is_that_of_their_frequencies() -> None:
    assert assignment2.label_entropy(pd.Series(list(range(10)) * 3)) == pytest.approx(math.log(10))
    assert assignment2.label_entropy(pd.Series([0, 0, 0, 1])) == pytest.approx(
        -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    )


def test_orders_sorted_by_label_are_counted() -> None:
    labels = pd.Series([0, 0, 0, 1, 1])  # 3! · 2! = 12 orders
    assert assignment2.orderings(labels) == pytest.approx(math.log10(12))


def test_a_pass_is_averaged_over_its_measurements() -> None:
    run = measured(
        "test_accuracy",
        {0.0: 0.1, 0.5: 0.2, 1.0: 0.4, 1.5: 0.6, 2.0: 0.1},
        order="label_sorted",
        learning_rate=0.1,
        seed=0,
    )
    assert assignment2.pass_means(run).tolist() == pytest.approx([0.3, 0.35])
    both = pd.concat([run, run.assign(metric="validation_accuracy")])
    (line,) = assignment2.stream_ends(both).to_dict("records")
    assert line == pytest.approx({"test": 0.35, "validation": 0.35, "end": 0.1, "least": 0.1, "most": 0.6})


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
    named = assignment2.named_starts(rows)
    assert named.groupby("start")["learning_rate"].unique().map(list).to_dict() == {
        "one unit": [0.3],
        "random": [0.1],
    }


def test_printed_errors_are_placed_relative_to_ours() -> None:
    ours = [0.017, 0.019]
    rows = pd.concat(
        [
            measured("test_accuracy", {1.0: 1 - error, 2.0: 1 - error}, hidden=hidden, seed=seed)
            for hidden in ("30", "100", "300", "800")
            for seed, error in enumerate(ours)
        ]
    )
    table = others.published(rows).data
    assert "2.80 above" in table  # 4.7 %
    assert "0.10 below" in table  # 1.6 %


def test_a_digit_is_unlearnt_if_most_of_its_examples_are_missed() -> None:
    rows = pd.concat(
        [
            measured("class_accuracy", {30.0: accuracy}, hidden="100", seed=0, index=digit)
            for digit, accuracy in enumerate([0.9, 0.2, 0.95, 0.0])
        ]
    )
    assert others.unlearnt_classes(rows, "100").tolist() == [2]
