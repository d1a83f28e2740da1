"""Stacks: which runs they hold, and that a run does not depend on the others."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.data import Data
from analysis.engine.run import CLASSES, Measure, Run, batch_key, choices, per_run_fields
from analysis.engine.training import form_stacks, train
from tests.engine.reference import CPU, RUN


def values_of(field: dataclasses.Field[Any]) -> st.SearchStrategy[Any]:
    """Values of a field of Run, from its type and default."""
    if field.name == "learning_rate":
        return st.floats(1e-3, 0.1)
    if field.name == "labels":
        return st.permutations(range(CLASSES)).map(tuple)
    if field.name in choices():
        return st.sampled_from(choices()[field.name])
    if field.type == "float":
        return st.floats(field.default / 2, field.default) if field.default else st.floats(0, 1)
    assert field.type == "int", f"{field.name}: say which values to try"
    return st.integers(0, 9)


FIELDS = {field.name: field for field in dataclasses.fields(Run)}


@st.composite
def stacks(draw: st.DrawFn) -> list[Run]:
    """Runs that differ in whatever the runs of a stack may differ."""
    common = Run(
        hidden=(draw(st.integers(1, 60)),),
        activation=draw(values_of(FIELDS["activation"])),
        optimizer=draw(values_of(FIELDS["optimizer"])),
        batch_size=draw(st.sampled_from([None, 1, 7, 32])),
        learning_rate=1,
        train_examples=draw(st.integers(1, 60)),
        validation_examples=draw(st.sampled_from([0, 100])),
        epochs=draw(st.integers(1, 3)),
        measures=(Measure(metrics=("train_loss", "test_loss"), every=3),),
    )
    own = {name: values_of(FIELDS[name]) for name in per_run_fields(common)}
    return draw(st.lists(st.builds(replace, st.just(common), **own), min_size=2, max_size=5))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=stacks())
def test_a_run_does_not_depend_on_its_stack(small: Data, back_end: str, runs: list[Run]) -> None:
    """But for rounding, which training amplifies: from 1e-16 by some powers of ten within these updates."""
    for run, among in zip(runs, train(runs, small, CPU, dtype=torch.float64), strict=True):
        (alone,) = train([run], small, CPU, dtype=torch.float64)
        assert among.rows.value.to_numpy() == pytest.approx(alone.rows.value.to_numpy(), rel=1e-6)


@given(runs=stacks())
def test_the_batch_key_keeps_what_runs_of_a_stack_share(runs: list[Run]) -> None:
    (key,) = {batch_key(run) for run in runs}
    shared = FIELDS.keys() - per_run_fields(runs[0])
    assert all(getattr(key, name) == getattr(run, name) for run in runs for name in shared)


def test_training_sets_may_differ_within_a_stack_unless_batches_are_full() -> None:
    for batch_size, count in ((None, 2), (20, 1)):
        runs = [replace(RUN, batch_size=batch_size, train_subset=subset) for subset in (0, 1)]
        assert len({batch_key(run) for run in runs}) == count


def test_stacks_hold_runs_of_one_batch_key(small: Data) -> None:
    runs = [
        replace(RUN, learning_rate=rate, seed=seed, hidden=hidden, labels=labels)
        for rate in (0.1, 0.2)
        for seed in (0, 1)
        for hidden in ((50,), (8, 8))
        for labels in (tuple(range(10)), tuple(reversed(range(10))))
    ]
    grouped = form_stacks(runs, small, CPU)
    assert sorted(map(hash, (run for stack in grouped for run in stack))) == sorted(map(hash, runs))
    assert {len({run.hidden for run in stack}) for stack in grouped} == {1}
    assert len(grouped) == 2


def test_long_runs_form_small_stacks(small: Data) -> None:
    runs = [replace(RUN, hidden=(300,), train_examples=None, epochs=4_000, seed=seed) for seed in range(8)]
    assert {len(stack) for stack in form_stacks(runs, small, CPU)} == {torch.get_num_threads()}


def test_runs_of_different_batch_keys_are_refused(small: Data) -> None:
    with pytest.raises(ValueError, match="one stack"):
        train([RUN, replace(RUN, hidden=(10,))], small, CPU)
