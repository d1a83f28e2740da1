"""The optimizers: each trains as in torch.optim, in both back ends; none is taken for another."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest
import torch

from analysis.data import Data
from analysis.engine.optimizers import OPTIMIZERS, update_rule
from analysis.engine.run import PER_RUN, Optimizer, Run
from analysis.engine.training import backend_name
from tests.engine.reference import CPU, REGIMES, RUN, assert_parity, run_with


@pytest.mark.parametrize(("optimizer", "batch"), REGIMES)
def test_one_hidden_layer_trains_as_in_torch_optim(
    small: Data, back_end: str, precision: tuple[torch.dtype, float], optimizer: str, batch: str
) -> None:
    run = run_with(optimizer, "cross_entropy", batch)
    assert backend_name([run], CPU).startswith(back_end)
    assert_parity(run, small, precision)


@pytest.mark.parametrize(("optimizer", "batch"), REGIMES)
def test_deeper_networks_train_as_in_torch_optim(
    small: Data, precision: tuple[torch.dtype, float], optimizer: str, batch: str
) -> None:
    assert_parity(run_with(optimizer, "cross_entropy", batch, hidden=(8, 8)), small, precision)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_batches_of_several_chunks_train_as_in_torch_optim(
    small: Data, back_end: str, optimizer: str
) -> None:
    run = run_with(optimizer, "cross_entropy", "minibatch", train_examples=700, batch_size=600, epochs=4)
    assert_parity(run, small, (torch.float64, 1e-10))


def test_every_name_has_a_row() -> None:
    assert tuple(OPTIMIZERS) == get_args(Optimizer)
    assert len({rule.kernel for rule in OPTIMIZERS.values()}) == len(OPTIMIZERS)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_constants_are_fields_that_may_differ_within_a_stack(optimizer: str) -> None:
    fields = {field.name: field for field in dataclasses.fields(Run)}
    for name in update_rule(optimizer).constants:
        assert fields[name].metadata == PER_RUN
        assert fields[name].default is not dataclasses.MISSING


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown optimizer 'sdg': choose from sgd, momentum, adam"):
        update_rule("sdg")
    with pytest.raises(ValueError, match=r"unknown optimizer 'sdg': choose from sgd, momentum, adam"):
        dataclasses.replace(RUN, optimizer="sdg")
