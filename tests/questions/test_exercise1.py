"""Exercise 1: the finding follows the program's results."""

from __future__ import annotations

import pytest

from tests.helpers.altered import assert_refuted, reverse_values

CONTRADICTIONS = {
    "exercise1_accuracy": reverse_values,
    "final_accuracy": lambda rows: rows.assign(epoch=rows["epoch"] * (rows["metric"] != "test_accuracy")),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contrary_results_refute_the_finding(name: str) -> None:
    assert_refuted("exercise1", name, CONTRADICTIONS[name])
