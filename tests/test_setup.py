"""The set-up box says what a question's runs have in common, and in what they differ."""

from __future__ import annotations

import itertools
from typing import Any

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from analysis.campaign.keys import Program
from analysis.engine.run import Measure, Run
from analysis.setup import describe_setup, grids, outline_setup

MEASURES = (Measure(metrics=("train_loss",), every=1),)


def nothing(data: object, device: object) -> pd.DataFrame:
    return pd.DataFrame()


def run(**other: object) -> Run:
    return Run(**({"hidden": (300,), "learning_rate": 0.5, "epochs": 2, "measures": MEASURES} | other))


def test_what_runs_share_stands_apart_from_what_varies() -> None:
    runs = [
        run(learning_rate=rate, batch_size=128, validation_examples=10_000, epochs=15, seed=seed)
        for rate in (1.0, 0.1)
        for seed in (0, 1, 2)
    ]
    assert describe_setup(runs) == [
        (
            "6 runs",
            "784-300-10, sigmoid units, cross entropy of softmax outputs, SGD, batches of 128, "
            "50,000 training examples, 10,000 for validation, 15 epochs, three seeds; $\\eta$ = 0.1, 1",
        )
    ]


def test_runs_are_told_by_the_grids_that_they_form() -> None:
    long = [run(learning_rate=rate, epochs=100) for rate in (0.1, 1.0)]
    short = [run(learning_rate=rate, epochs=2, seed=seed) for rate in (0.1, 1.0) for seed in (1, 2)]
    other = [run(learning_rate=30.0, epochs=2)]
    assert describe_setup([*long, *short, *other])[1:] == [
        ("2 runs", "100 epochs; $\\eta$ = 0.1, 1; one seed"),
        ("4 runs", "2 epochs; $\\eta$ = 0.1, 1; two seeds"),
        ("1 run", "2 epochs; $\\eta$ = 30; one seed"),
    ]


def test_an_outline_has_what_runs_share_and_all_that_varies() -> None:
    long, short = [run(epochs=100)], [run(epochs=2, learning_rate=0.1, seed=seed) for seed in (0, 1)]
    common, rest = outline_setup([*long, *short], "@sec-setups")
    assert common == describe_setup([*long, *short])[0]
    told = "2, 100 epochs; $\\eta$ = 0.1, 0.5; up to two seeds. @sec-setups lists the combinations"
    assert rest == ("3 runs", told)


def test_values_with_the_same_words_before_a_number_share_them() -> None:
    runs = [run(init="constant", init_scale=scale) for scale in (0.0, 0.1)] + [run(hidden=(9,) * 5)]
    assert describe_setup(runs)[1:] == [
        ("2 runs", "784-300-10; start constant 0, 0.1"),
        ("1 run", "784-9×5-10"),
    ]


def test_an_outline_gives_many_numbers_by_the_first_and_the_last() -> None:
    runs = [run(learning_rate=rate) for rate in range(1, 10)]
    assert describe_setup(runs)[0][1].endswith("$\\eta$ = 1, 2, 3, 4, 5, 6, 7, 8, 9")
    assert "$\\eta$ = 9 values from 1 to 9" in outline_setup(runs, "@sec-setups")[-1][1]


def test_networks_of_several_widths_are_told_by_their_widths() -> None:
    runs = [run(hidden=hidden) for hidden in ((4,), (8,), (16,), (8, 8))]
    text = "784-$h$-10 with $h$ = 4, 8, 16; 784-$h$-$h$-10 with $h$ = 8".replace("-", "\u2011")
    assert describe_setup(runs)[0][1].endswith(f"one seed; {text}")


@given(st.sets(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 3)), min_size=1))
def test_grids_hold_every_point_once(points: set[tuple[int, int, int]]) -> None:
    found = grids([dict(zip("abc", point, strict=True)) for point in sorted(points)])
    held = [point for grid in found for point in itertools.product(*grid.values())]
    assert sorted(held) == sorted(points)


def test_programs_stand_with_the_values_of_their_arguments() -> None:
    calls = [
        Program(name="x.count", function=nothing, arguments=(("examples", n), ("hidden", (4, 4))))
        for n in (1_000, 5_000)
    ]
    assert describe_setup(calls) == [("Programs", "`x.count` (examples 1,000, 5,000; hidden 4-4)")]


def test_a_program_without_arguments_has_nothing_to_tell() -> None:
    assert describe_setup([Program(name="x.count", function=nothing)]) == []


def test_what_one_call_leaves_to_its_default_is_told_if_another_has_its_own() -> None:
    def count(data: Any, device: Any, rates: tuple[float, ...] = (0.1, 0.2), first: int = 0) -> pd.DataFrame:
        raise NotImplementedError

    calls = [Program(name="x.count", function=count, arguments=own) for own in ((), (("rates", (0.5,)),))]
    assert describe_setup(calls) == [("Programs", "`x.count` (rates 0.1, 0.2, 0.5)")]


def test_a_single_run_is_told_whole() -> None:
    ((count, text),) = describe_setup([run()])
    assert count == "1 run"
    assert text.endswith("gradient descent, 60,000 training examples, 2 epochs, $\\eta$ = 0.5, one seed")
