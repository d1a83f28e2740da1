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
        One row per check: check, deviation.
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
    batches = torch.split(torch.arange(len(inputs)), BATCH_SIZE)
    weighted = torch.stack([gradient(batch) * (len(batch) / len(inputs)) for batch in batches]).sum(0)
    shuffled = gradient(torch.randperm(len(inputs)))
    one_batch = gradient(batches[0])

    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    loss(model(inputs), targets).backward()
    optimizer.step()
    step = flat(weights) - start

    return pd.DataFrame(
        {
            "check": ["optimizer_step", "weighted_batches", "shuffled", "one_batch"],
            "deviation": [
                deviation(step, -LEARNING_RATE * full),
                deviation(weighted, full),
                deviation(shuffled, full),
                deviation(one_batch, full),
            ],
        }
    )


def jobs(preset: Preset) -> tuple[Program, ...]:
    """Return the same checks for both presets: they cost seconds."""
    return (Program(name="gradient_descent.checks", function=checks),)
