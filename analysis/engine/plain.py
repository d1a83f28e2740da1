"""What an update of 784-300-10 costs in plain PyTorch: nn.Sequential, autograd and torch.optim, without loader."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from analysis.engine.network import reference_model
from analysis.engine.run import Measure, Run

if TYPE_CHECKING:
    from analysis.data import Data

REPETITIONS = 3  # of a timing


def seconds_per_update(
    data: Data, device: torch.device, batch_size: int, optimizer: Callable[..., torch.optim.Optimizer]
) -> float:
    """Return the median of REPETITIONS timings of up to 300 updates each, in seconds per update."""
    images, labels = data.train_images.to(device), data.train_labels.to(device)
    loss_function = torch.nn.CrossEntropyLoss()
    network = reference_model(
        Run(learning_rate=0.1, epochs=1, measures=(Measure(metrics=("train_loss",), every=1),))
    ).to(device)
    stepper = optimizer(network.parameters(), lr=0.001)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0)).to(device)
    batches = torch.split(order, batch_size)[: max(1, min(300, 30_000 // batch_size))]
    seconds = []
    for _ in range(1 + REPETITIONS):
        started = time.perf_counter()
        for batch in batches:
            stepper.zero_grad()
            loss = loss_function(network(images[batch]), labels[batch])
            loss.backward()
            stepper.step()
        loss.item()  # waits for the device
        seconds.append((time.perf_counter() - started) / len(batches))
    return statistics.median(seconds[1:])  # the first one warms up
