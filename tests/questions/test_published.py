"""Printed test errors are placed relative to ours, and classes that were not learnt are counted."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis.questions.published.answer import published_table, unlearnt_classes
from analysis.results import Results
from tests.helpers.altered import assert_refuted, constant

CONTRADICTIONS = {"start_decides_nielsens_network": constant(1, "class_accuracy")}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contrary_results_refute_the_finding(name: str) -> None:
    assert_refuted("published", name, CONTRADICTIONS[name])


def measured(metric: str, values: dict[float, float], **columns: object) -> pd.DataFrame:
    """Return a run's rows of one metric, by epoch."""
    rows = pd.DataFrame(
        {"epoch": list(values), "update": [100 * epoch for epoch in values], "value": list(values.values())}
    )
    return rows.assign(metric=metric, key=str(columns), **columns)


def test_printed_errors_are_placed_relative_to_ours() -> None:
    rows = pd.concat(
        [
            measured("test_accuracy", {1.0: 1 - error, 2.0: 1 - error}, hidden=hidden, loss=loss, seed=seed)
            for hidden, loss in (
                ("30", "quadratic"),
                ("100", "quadratic"),
                ("300", "quadratic"),
                ("300", "cross_entropy"),
                ("800", "cross_entropy"),
            )
            for seed, error in enumerate([0.017, 0.019])
        ]
    )
    found = Results("published", "full", rows, {}, ())
    table = published_table.contents(lambda name: found)["tbl-published"].frame
    assert table["Printed error lies"].tolist()[2:] == ["2.80 above", "0.10 below"]  # 4.7 % and 1.6 %


def test_a_digit_is_unlearnt_if_most_of_its_examples_are_missed() -> None:
    rows = pd.concat(
        [
            measured("class_accuracy", {30.0: accuracy}, hidden="100", seed=0, index=digit)
            for digit, accuracy in enumerate([0.9, 0.2, 0.95, 0.0])
        ]
    )
    assert unlearnt_classes(rows, "100").tolist() == [2]
