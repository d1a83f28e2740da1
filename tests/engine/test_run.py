"""A job's key is the same everywhere and different for every other job; impossible runs are refused."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import subprocess
import sys
from typing import Any

import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from analysis.campaign.keys import Job, Program, canonical_json, identity, key
from analysis.engine.run import METRICS, Measure, Run, choices

DATA = "5" * 64
MEASURES = (Measure(metrics=("train_loss", "test_loss"), every=10, dense_until=5),)
RUN = Run(learning_rate=0.5, epochs=20, measures=MEASURES)
PROGRAM = Program(
    name="capacity.decomposition",
    function=pd.DataFrame,
    arguments=(("epochs", 40), ("examples", 5_000), ("hidden", (300,)), ("subsets", 10)),
)

# One other value for every field of a run.
OTHERS: dict[str, Any] = (
    {field.name: 0.7 for field in dataclasses.fields(Run) if field.type == "float"}
    | {name: names[-1] for name, names in choices().items()}
    | {
        "hidden": (10, 10),
        "skip": True,
        "labels": (1, 0, 2, 3, 4, 5, 6, 7, 8, 9),
        "batch_size": 128,
        "train_examples": 1_000,
        "train_subset": 1,
        "validation_examples": 5_000,
        "epochs": 21,
        "measures": (Measure(metrics=("train_loss",), every=10, dense_until=5),),
        "seed": 1,
    }
)


measures = st.builds(
    Measure,
    metrics=st.lists(st.sampled_from(sorted(METRICS)), min_size=1, max_size=4, unique=True).map(tuple),
    every=st.integers(1, 1000),
    dense_until=st.integers(0, 100),
)
runs = st.builds(
    Run,
    hidden=st.lists(st.integers(1, 500), min_size=1, max_size=3).map(tuple),
    activation=st.sampled_from(("sigmoid", "tanh", "relu")),
    init_scale=st.floats(1e-3, 10),
    optimizer=st.sampled_from(("sgd", "momentum", "adam")),
    learning_rate=st.floats(1e-6, 100),
    decay=st.floats(0, 1),
    batch_size=st.none() | st.integers(1, 1024),
    order=st.sampled_from(("shuffled", "shuffled_once", "label_sorted")),
    labels=st.permutations(range(10)).map(tuple),
    epochs=st.integers(1, 100_000),
    measures=st.lists(measures, min_size=1, max_size=3).map(tuple),
    seed=st.integers(0, 2**31),
)


def test_known_keys_stay() -> None:
    """Cached results are looked up by these: the same text, hence key, on every machine and Python version."""
    assert canonical_json(RUN) == (
        '{"epochs":20,"kind":"Run","learning_rate":0.5,'
        '"measures":[{"dense_until":5,"every":10,"metrics":["train_loss","test_loss"]}]}'
    )
    assert identity(RUN) == "612093e2f9902091"
    assert identity(PROGRAM) == "6cfb3e06bc0c0c84"


@pytest.mark.parametrize("job", [RUN, PROGRAM])
def test_the_key_is_the_same_in_other_processes(job: Job) -> None:
    described = {name: value for name, value in vars(job).items() if name != "function"}
    function = "" if isinstance(job, Run) else "function=print, "
    code = f"""
from analysis.campaign.keys import Program, key
from analysis.engine.run import Measure, Run
print(key({type(job).__name__}({function}**{described!r}), {DATA!r}))
"""
    for hash_seed in ("0", "1"):
        printed = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert printed.strip() == key(job, DATA)


@given(run=runs, shuffle=st.randoms(use_true_random=False))
def test_the_order_of_fields_does_not_matter(run: Run, shuffle: random.Random) -> None:
    fields = list(vars(run).items())
    shuffle.shuffle(fields)
    assert key(Run(**dict(fields)), DATA) == key(run, DATA)


@given(run=runs)
def test_the_canonical_text_is_plain_json_that_gives_the_run_back(run: Run) -> None:
    described = json.loads(canonical_json(run))
    assert described.pop("kind") == "Run"
    for name in ("hidden", "labels"):
        if name in described:
            described[name] = tuple(described[name])
    described["measures"] = tuple(
        Measure(**{**each, "metrics": tuple(each["metrics"])}) for each in described["measures"]
    )
    assert Run(**described) == run


@given(one=runs, other=runs)
def test_different_runs_have_different_keys(one: Run, other: Run) -> None:
    assume(one != other)
    assert identity(one) != identity(other)


def test_every_field_is_part_of_the_key() -> None:
    assert OTHERS.keys() == {field.name for field in dataclasses.fields(Run)}
    keys = {key(RUN, DATA)}
    for name, value in OTHERS.items():
        changed = dataclasses.replace(RUN)
        object.__setattr__(changed, name, value)  # unchecked: some values go only with others
        keys.add(key(changed, DATA))
    assert len(keys) == 1 + len(OTHERS)


def test_a_program_is_its_name_and_arguments() -> None:
    changed = [
        dataclasses.replace(PROGRAM, name="some.other"),
        dataclasses.replace(PROGRAM, arguments=(("epochs", 41),)),
        dataclasses.replace(PROGRAM, arguments=()),
    ]
    assert len({identity(each) for each in (PROGRAM, *changed)}) == 4


def test_code_and_data_change_the_key_but_not_the_identity() -> None:
    newer = dataclasses.replace(PROGRAM, version=2)
    assert identity(newer) == identity(PROGRAM)
    assert len({key(PROGRAM, DATA), key(newer, DATA), key(PROGRAM, "6" * 64)}) == 3
    assert key(PROGRAM, DATA).startswith(identity(PROGRAM))


def test_a_rate_given_as_an_integer_is_the_same_rate() -> None:
    assert key(dataclasses.replace(RUN, learning_rate=2), DATA) == key(
        dataclasses.replace(RUN, learning_rate=2.0), DATA
    )


@pytest.mark.parametrize(
    "change",
    [
        {"hidden": ()},
        {"hidden": (10, 0)},
        {"hidden": (10, 20), "skip": True},
        {"labels": (0,) * 10},
        {"activation": "sine"},
        {"target": "scaled_label", "loss": "quadratic"},
        {"target": "scaled_label", "output": "identity"},
        {"output": "identity"},
        {"learning_rate": 0.0},
        {"decay": -1.0},
        {"epochs": 0},
        {"batch_size": 0},
        {"validation_examples": 60_000},
    ],
)
def test_impossible_runs_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Run"):
        dataclasses.replace(RUN, **change)


def test_impossible_measures_are_refused() -> None:
    for wrong in ({"metrics": ("speed",)}, {"every": 0}, {"dense_until": -1}):
        with pytest.raises(ValueError, match=r"metrics|every"):
            Measure(**{"metrics": ("train_loss",), "every": 1, **wrong})


def test_measurements_are_due_at_the_start_densely_regularly_and_at_the_end() -> None:
    due = [update for update in range(28) if MEASURES[0].due(update, 27)]
    assert due == [0, 1, 2, 3, 4, 5, 10, 20, 27]
