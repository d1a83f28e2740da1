"""The engine against plain PyTorch."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from analysis.network import order, plain, training_rows
from analysis.runs import Measure, Run
from analysis.training import train

CPU = torch.device("cpu")
EVERY = (Measure(metrics=("train_loss", "test_loss"), every=1),)


def reference(run, data):
    """Train losses before every update of the run in plain PyTorch, float64."""
    net = plain(run, torch.float64)
    optimizer = torch.optim.SGD(net.parameters(), run.learning_rate)
    rows = training_rows(run, len(data.train_labels))
    images, labels = data.train_images[rows].double(), data.train_labels[rows]
    batch = run.batch_size or len(rows)
    losses = []
    for epoch in range(run.epochs):
        for chosen in order(run, epoch, labels).split(batch):
            with torch.no_grad():
                losses.append(cross_entropy(net(images), labels).item())
            optimizer.zero_grad()
            cross_entropy(net(images[chosen]), labels[chosen]).backward()
            optimizer.step()
    return losses


@pytest.mark.parametrize("hidden", [(20,), (10, 10)])
@pytest.mark.parametrize("batch_size", [None, 100])
def test_losses_are_those_of_plain_pytorch(small, hidden, batch_size):
    runs = [Run(hidden=hidden, learning_rate=0.3, epochs=5, batch_size=batch_size, measures=EVERY, seed=2)]
    runs.append(replace(runs[0], learning_rate=0.1, seed=3))
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        for run, trained in zip(runs, train(runs, small, CPU, dtype=dtype), strict=True):
            losses = trained.rows.query("metric == 'train_loss'").value
            assert list(losses[:-1]) == pytest.approx(reference(run, small), rel=tolerance)
