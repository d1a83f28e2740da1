"""The network of a run: number of parameters, initialization, sample order, training sets."""

import math
from dataclasses import replace

import pytest
import torch

from analysis.engine.network import (
    initial_weights,
    reference_model,
    sample_order,
    training_indices,
    validation_indices,
)
from analysis.engine.run import Measure, Run, num_parameters

RUN = Run(learning_rate=0.1, epochs=1, batch_size=10, measures=(Measure(metrics=("train_loss",), every=1),))


@pytest.mark.parametrize(
    ("sizes", "beta"), [((784, 10, 10, 10), 8_070), ((784, 20, 20, 10), 16_330), ((784, 300, 10), 238_510)]
)
def test_parameters_are_those_of_the_source_report(sizes, beta):
    assert num_parameters(sizes) == beta


@pytest.mark.parametrize("hidden", [(300,), (7, 7, 7)])
@pytest.mark.parametrize("skip", [False, True])
def test_the_reference_model_has_beta_parameters_and_the_runs_initialization(hidden, skip):
    run = replace(RUN, hidden=hidden, skip=skip)
    net = reference_model(run, torch.float64)
    assert sum(tensor.numel() for tensor in net.parameters()) == num_parameters(run.sizes)
    flat = torch.cat(
        [torch.cat([layer[:, :-1].flatten(), layer[:, -1]]) for layer in initial_weights(run, torch.float64)]
    )
    assert torch.equal(torch.nn.utils.parameters_to_vector(net.parameters()), flat)


def test_the_initialization_is_the_same_in_either_precision():
    for single, double in zip(initial_weights(RUN), initial_weights(RUN, torch.float64), strict=True):
        assert torch.equal(single, double.float())


def test_the_uniform_initialization_has_the_bounds_of_nn_linear():
    for layer, inputs in zip(initial_weights(RUN), (784, 300), strict=True):
        bound = 1 / math.sqrt(inputs)
        assert 0.99 * bound < layer.abs().max() <= bound
        assert layer.std() == pytest.approx(bound / math.sqrt(3), rel=0.02)


def test_other_initializations():
    assert initial_weights(replace(RUN, init="normal", init_scale=0.5))[0].std() == pytest.approx(
        0.5, rel=0.01
    )
    assert all(
        (layer == 0.1).all()
        for layer in initial_weights(replace(RUN, init="constant", init_scale=0.1), torch.float64)
    )
    saturated = initial_weights(replace(RUN, init="saturated_output", init_scale=10))
    usual = initial_weights(RUN)
    assert all(torch.equal(a, b) for a, b in zip(usual[:-1], saturated[:-1], strict=True))
    raised = saturated[-1] - usual[-1]
    assert torch.allclose(raised[:, -1], torch.tensor([10.0, *[-10.0] * 9]), atol=1e-6)
    assert (raised[:, :-1] == 0).all()


def test_seeds_determine_the_initialization():
    assert not torch.equal(initial_weights(RUN)[0], initial_weights(replace(RUN, seed=1))[0])


def test_every_epoch_has_its_own_permutation():
    digits = torch.arange(100) % 10
    epochs = [sample_order(RUN, epoch, digits) for epoch in (0, 1, 0)]
    assert torch.equal(epochs[0].sort().values, torch.arange(100))
    assert torch.equal(epochs[0], epochs[2])
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0], sample_order(replace(RUN, seed=1), 0, digits))


def test_examples_sorted_by_label_keep_the_datas_order_within_a_label():
    digits = torch.tensor([1, 0, 2, 0, 1])
    assert sample_order(replace(RUN, order="label_sorted"), 3, digits).tolist() == [1, 3, 0, 4, 2]


def test_examples_shuffled_once_keep_the_order_of_the_first_epoch():
    digits, once = torch.zeros(50), replace(RUN, order="shuffled_once")
    first = sample_order(RUN, 0, digits)
    assert sample_order(once, 0, digits).equal(first)
    assert sample_order(once, 7, digits).equal(first)
    assert not sample_order(RUN, 7, digits).equal(first)


def test_training_sets_are_disjoint_and_exclude_the_validation_examples():
    run = replace(RUN, train_examples=30, validation_examples=10)
    sets = [training_indices(replace(run, train_subset=subset), 100) for subset in range(3)]
    held_out = validation_indices(run, 100)
    assert torch.equal(torch.cat([*sets, held_out]).sort().values, torch.arange(100))
    assert torch.equal(held_out, validation_indices(replace(run, train_examples=None, seed=5), 100))
    assert len(training_indices(replace(run, train_examples=None), 100)) == 90
    with pytest.raises(ValueError, match="no subset 3 of 30"):
        training_indices(replace(run, train_subset=3), 100)
    assert torch.equal(training_indices(RUN, 100), torch.arange(100))
