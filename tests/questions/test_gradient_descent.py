"""Q1: the finding follows the checks, and the parameters are counted as in the program's network."""

from __future__ import annotations

import pytest

from analysis.exercise1 import network
from analysis.questions.gradient_descent.answer import NUM_PARAMETERS
from tests.helpers.altered import assert_refuted

CONTRADICTIONS = {"gradient_descent_is_full": lambda rows: rows.assign(deviation=0.5)}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contrary_results_refute_the_finding(name: str) -> None:
    assert_refuted("gradient_descent", name, CONTRADICTIONS[name])


def test_the_table_counts_the_parameters_of_the_programs_network() -> None:
    assert sum(tensor.numel() for tensor in network().parameters()) == NUM_PARAMETERS
