"""Assignment 1, Q1: checks that full-batch SGD is gradient descent on the whole data set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd

from analysis.campaign.keys import Program
from analysis.question import Preset

if TYPE_CHECKING:
    import torch

    from analysis.data import Data

LEARNING_RATE = 0.1
BATCH_SIZE = 128


def checks(data: Data, device: torch.device) -> pd.DataFrame:
    """Compare the optimizer's full-batch step with w - η ∇R(w) in float64, each by another route.

    Every deviation is relative: ‖difference‖ / ‖reference‖ over all parameters.

    Returns:
        One row per check: check, deviation; of single batches, those of one random permutation, a row each.
    """
    import torch
    from torch import nn

    from analysis.exercise1 import network, one_hot

    torch.manual_seed(0)
    # Double precision on the CPU, whatever the device: the checks are about equality, and MPS has no float64.
    inputs = data.train_images.cpu().double()
    targets = one_hot(data.train_labels.cpu()).double()
    model = network().double()
    loss = nn.CrossEntropyLoss()
    weights = list(model.parameters())

    def flat(tensors: Iterable[torch.Tensor]) -> torch.Tensor:
        return torch.cat([tensor.detach().flatten() for tensor in tensors])

    def gradient(chosen: torch.Tensor | slice) -> torch.Tensor:
        return flat(torch.autograd.grad(loss(model(inputs[chosen]), targets[chosen]), weights))

    def deviation(value: torch.Tensor, reference: torch.Tensor) -> float:
        return float((value - reference).norm() / reference.norm())

    start = flat(weights)
    full = gradient(slice(None))
    shuffled = gradient(torch.randperm(len(inputs)))
    weighted = torch.zeros_like(full)
    single = []
    for batch in torch.split(torch.randperm(len(inputs)), BATCH_SIZE):
        of_batch = gradient(batch)
        weighted += of_batch * (len(batch) / len(inputs))
        single.append(deviation(of_batch, full))

    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    loss(model(inputs), targets).backward()
    optimizer.step()
    step = flat(weights) - start

    rows = [
        ("optimizer_step", deviation(step, -LEARNING_RATE * full)),
        ("weighted_batches", deviation(weighted, full)),
        ("shuffled", deviation(shuffled, full)),
        *(("one_batch", each) for each in single),
    ]
    return pd.DataFrame(rows, columns=["check", "deviation"])


def jobs(preset: Preset) -> tuple[Program, ...]:
    """Return the same checks for both presets: they cost seconds."""
    return (Program(name="gradient_descent.checks", function=checks, version=2),)
