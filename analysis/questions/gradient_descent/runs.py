"""Assignment 1, Q1: checks that full-batch SGD is gradient descent on the whole data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from analysis.campaign.keys import Program
from analysis.question import Preset

if TYPE_CHECKING:
    import torch

    from analysis.data import Data

LEARNING_RATE = 0.1
BATCH_SIZE = 128
STEPS = 10  # of the program: a momentum, or gradients that add up, would show from the second on


def checks(data: Data, device: torch.device) -> pd.DataFrame:
    """Compare what the program of exercise 1 does with -η ∇R(w), in float64.

    ∇R is computed here from the formulas of back-propagation, without automatic differentiation. Every deviation is
    relative: ‖difference‖ / ‖reference‖ over all parameters.

    Returns:
        One row per step, comparison and batch of one random permutation: check, deviation.
    """
    import torch
    from torch import nn

    from analysis.exercise1 import gradient_descent, network, one_hot

    torch.manual_seed(0)
    # Double precision on the CPU, whatever the device: the checks are about equality, and MPS has no float64.
    inputs = data.train_images.cpu().double()
    targets = one_hot(data.train_labels.cpu()).double()
    model = network().double()
    loss = nn.CrossEntropyLoss()

    def weights() -> torch.Tensor:
        return nn.utils.parameters_to_vector(model.parameters()).detach()

    def gradient_of_batch(chosen: torch.Tensor) -> torch.Tensor:
        gradients = torch.autograd.grad(
            loss(model(inputs[chosen]), targets[chosen]), list(model.parameters())
        )
        return nn.utils.parameters_to_vector(gradients)

    def deviation(value: torch.Tensor, reference: torch.Tensor) -> float:
        return float((value - reference).norm() / reference.norm())

    start, full = weights(), _gradient_by_formula(list(model.parameters()), inputs, targets)
    order = torch.randperm(len(inputs))
    weighted = torch.zeros_like(full)
    single = []
    for batch in torch.split(order, BATCH_SIZE):
        of_batch = gradient_of_batch(batch)
        weighted += of_batch * (len(batch) / len(inputs))
        single.append(deviation(of_batch, full))
    rows = [
        ("weighted_batches", deviation(weighted, full)),
        ("shuffled", deviation(gradient_of_batch(order), full)),
        *(("one_batch", each) for each in single),
    ]

    expected, before = -LEARNING_RATE * full, start
    for _ in gradient_descent(model, inputs, targets, LEARNING_RATE, STEPS):
        rows.append(("step", deviation(weights() - before, expected)))
        before = weights()
        expected = -LEARNING_RATE * _gradient_by_formula(list(model.parameters()), inputs, targets)
    return pd.DataFrame(rows, columns=["check", "deviation"])


def _gradient_by_formula(
    parameters: Sequence[torch.Tensor], inputs: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Return the gradient of the mean cross entropy of a network with one hidden layer of sigmoids, all in one vector.

    Args:
        parameters: Weights (h, d), biases (h,), weights (10, h), biases (10,).
        inputs: (n, d).
        targets: One-hot, (n, 10).
    """
    import torch

    first, first_bias, second, second_bias = (each.detach() for each in parameters)
    hidden = 1 / (1 + torch.exp(-(inputs @ first.T + first_bias)))
    p = torch.softmax(hidden @ second.T + second_bias, dim=1)
    at_logits = (p - targets) / len(inputs)
    at_hidden = (at_logits @ second) * hidden * (1 - hidden)
    gradients = (at_hidden.T @ inputs, at_hidden.sum(0), at_logits.T @ hidden, at_logits.sum(0))
    return torch.cat([each.flatten() for each in gradients])


def jobs(preset: Preset) -> tuple[Program, ...]:
    """Return the same checks for both presets: they cost seconds."""
    return (Program(name="gradient_descent.checks", function=checks, version=3),)
