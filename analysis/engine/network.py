"""The multi-layer perceptron of a run: its size, initialization, training set and sample order.

Symbols used throughout: layers l = 1 … L of h_l units, h_0 inputs, h_L outputs.
Layer l has the matrix W_l of shape (h_l, h_{l-1} + 1): its last column is the bias, so that with a row of ones
below the activations a_{l-1} the pre-activation is z_l = W_l [a_{l-1}; 1].

Random numbers come from NumPy generators seeded with (seed, purpose, …): they are the same on every device, and
the sample order of any epoch follows without drawing those before it, so that resuming needs no generator's state.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from analysis.engine.run import Run

_INITIALIZATION, _ORDER, _SPLIT = range(3)  # purposes of random numbers: each has a stream of its own


def initial_weights(run: Run, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Return a run's initial W_1 … W_L, each of shape (h_l, h_{l-1} + 1) with the bias as last column.

    They are drawn in float64 and then rounded, so that runs of either precision start from the same numbers.
    """
    random = np.random.default_rng((run.seed, _INITIALIZATION))
    weights = []
    for inputs, units in itertools.pairwise(run.sizes):
        shape = units, inputs + 1
        match run.init:
            case "constant":
                layer = np.full(shape, run.init_scale)
            case "normal":
                layer = random.normal(0, run.init_scale, shape)
            case "uniform_fan_in" | "saturated_output":
                bound = (1.0 if run.init == "saturated_output" else run.init_scale) / math.sqrt(inputs)
                layer = random.uniform(-bound, bound, shape)
        weights.append(torch.from_numpy(layer))
    if run.init == "saturated_output":
        weights[-1][:, -1] -= run.init_scale
        weights[-1][0, -1] += 2 * run.init_scale
    return [layer.to(dtype) for layer in weights]


class _Residual(nn.Module):
    """A hidden layer that adds its input to its activation."""

    def __init__(self, *layer: nn.Module) -> None:
        super().__init__()
        self.layer = nn.Sequential(*layer)

    def forward(self, below: Tensor) -> Tensor:
        above: Tensor = self.layer(below)
        return above + below


def reference_model(run: Run, dtype: torch.dtype = torch.float32) -> nn.Sequential:
    """Return the run's network in plain PyTorch, initialized, with logits as output: the engine's reference."""
    activation = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}[run.activation]
    net = nn.Sequential()
    for number, layer in enumerate(initial_weights(run, dtype)):
        linear = nn.Linear(layer.shape[1] - 1, layer.shape[0], dtype=dtype)
        with torch.no_grad():
            linear.weight.copy_(layer[:, :-1])
            linear.bias.copy_(layer[:, -1])
        if number == len(run.hidden):
            net.append(linear)
        elif run.skip and number > 0:
            net.append(_Residual(linear, activation()))
        else:
            net.append(linear).append(activation())
    return net


def logits_of(weights: Sequence[Tensor], images: Tensor) -> Tensor:
    """Return the logits (n, h_L) of a network of sigmoids with trained weights, biases last, on images (n, p)."""
    *hidden, last = weights
    above = images
    for layer in hidden:
        above = torch.sigmoid(nn.functional.linear(above, layer[:, :-1], layer[:, -1]))
    return nn.functional.linear(above, last[:, :-1], last[:, -1])


def training_indices(run: Run, examples: int) -> Tensor:
    """Return the indices (n,) of the data's training examples that the run is trained on, ascending.

    All runs cut one fixed permutation: validation examples at its end, disjoint training sets from its beginning.

    Args:
        run: Its sizes and number of the training set.
        examples: Number of the data's training examples.

    Raises:
        ValueError: There are not enough examples for that training set.
    """
    available = examples - run.validation_examples
    size = available if run.train_examples is None else run.train_examples
    start = size * run.train_subset
    if size < 1 or start + size > available:
        raise ValueError(f"{run}: {available} training examples have no subset {run.train_subset} of {size}")
    return torch.from_numpy(np.sort(_split(examples)[start : start + size]))


def validation_indices(run: Run, examples: int) -> Tensor:
    """Return the indices of the data's training examples that the run holds out for validation, ascending."""
    return torch.from_numpy(np.sort(_split(examples)[examples - run.validation_examples :]))


def _split(examples: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.random.default_rng((0, _SPLIT)).permutation(examples)


def sample_order(run: Run, epoch: int, digits: Tensor) -> Tensor:
    """Return the order in which an epoch uses the run's training examples: a permutation (n,) of 0 … n-1.

    Args:
        run: Its seed determines the permutation, with the epoch.
        epoch: Number of the epoch, from 0.
        digits: The digits that the run's training examples show, (n,).
    """
    if run.batch_size is None:
        return torch.arange(len(digits))
    if run.order == "label_sorted":
        return torch.argsort(digits, stable=True).cpu()
    drawn = epoch if run.order == "shuffled" else 0
    return torch.from_numpy(np.random.default_rng((run.seed, _ORDER, drawn)).permutation(len(digits)))
