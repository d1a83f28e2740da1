"""Assignment 2 with two networks: one's runs are those of the exercises, and the finding follows the results."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from analysis.campaign.keys import identity
from analysis.question import PRESETS, Preset
from analysis.questions import EXPERIMENTS
from analysis.questions.smaller_network.answer import comparison_table, ends, orders, speeds, starts
from analysis.questions.smaller_network.runs import NETWORKS, jobs
from analysis.results import cached
from tests.helpers.altered import Alter, assert_refuted, constant, times

EXERCISES = ("minibatch", "constant_init", "label_sorted_stream", "adam_vs_sgd")


CONTRADICTIONS: dict[str, Alter] = {
    "most_comparisons_agree": times(0.9, "test_accuracy", order="shuffled", epochs=300, hidden="128"),
    "batches_with_the_smaller": times(0.98, "test_accuracy", hidden="128", batch_size=1024),
    "stream_with_the_smaller": times(0.98, "test_accuracy", order="shuffled", epochs=300, hidden="128"),
    "optimizers_with_the_smaller": times(0.99, "test_accuracy", optimizer="sgd", epochs=60, hidden="128"),
}
FURTHER: dict[str, Alter] = {
    "all examples as fast as single ones": constant(0.95, "test_accuracy", hidden="128", epochs=150),
    "distant units": constant(0.1, "unit_distance"),
    "a good constant start": constant(0.96, "test_accuracy", init="constant", hidden="128"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contrary_results_refute_the_finding(name: str) -> None:
    assert_refuted("smaller_network", name, CONTRADICTIONS[name])


@pytest.mark.parametrize("alter", FURTHER.values(), ids=FURTHER)
def test_every_comparison_that_is_said_to_agree_must(alter: Alter) -> None:
    assert_refuted("smaller_network", "most_comparisons_agree", alter)


def test_the_runs_of_the_network_that_is_used_are_those_of_the_exercises() -> None:
    of_exercises = {identity(job) for name in EXERCISES for job in EXPERIMENTS[name]("full")}
    used = [run for run in jobs("full") if run.hidden == NETWORKS[0]]
    assert used
    assert {identity(run) for run in used} <= of_exercises


@pytest.mark.parametrize("preset", PRESETS)
def test_both_networks_are_run_alike(preset: Preset) -> None:
    of_network = [
        {identity(replace(run, hidden=NETWORKS[0])) for run in jobs(preset) if run.hidden == hidden}
        for hidden in NETWORKS
    ]
    assert of_network[0]
    assert of_network[0] == of_network[1]


def test_every_number_is_of_the_runs_it_is_said_to_be_of() -> None:
    found = cached("smaller_network")
    if found.preset != "full":
        pytest.skip("the numbers of runs are those of the full preset")
    for values, seeds in (
        *((each, 3) for each in speeds(found).values()),
        *((each, 5) for each in ends(found).values()),
        *((each, 3) for each in orders(found).values()),
        (starts(found)[True], 12),
        (starts(found)[False], 3),
    ):
        assert {name: len(of_network) for name, of_network in values.items()} == {"300": seeds, "128": seeds}
        assert all(isinstance(of_network, pd.Series) for of_network in values.values())


def test_the_table_has_a_line_for_each_exercise_and_no_gaps() -> None:
    table = comparison_table.contents(cached)["tbl-smaller-network"].frame
    assert [each for each in table["Exercise"] if each] == ["1", "2", "3", "4"]
    assert not table.drop(columns="Exercise").isin(["", "–", "nan"]).any(axis=None)
