"""The reference for the engine: runs trained one at a time by nn.Module, torch.optim and autograd in float64."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import fields, replace

import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from analysis.data import Data
from analysis.engine.network import reference_model, sample_order, training_indices
from analysis.engine.optimizers import OPTIMIZERS, update_rule
from analysis.engine.run import Measure, Run
from analysis.engine.training import TrainingResult, train
from tests.helpers import digits

CPU = torch.device("cpu")
MEASURES = (Measure(metrics=("train_loss",), every=1),)
RUN = Run(hidden=(50,), learning_rate=0.3, epochs=12, measures=MEASURES, train_examples=80)

LOSSES = {
    "cross_entropy": {},
    "quadratic_softmax": {"loss": "quadratic"},
    "cross_entropy_sigmoid": {"output": "sigmoid"},
    "quadratic_sigmoid": {"loss": "quadratic", "output": "sigmoid"},
    "scaled_label": {"loss": "quadratic", "output": "sigmoid", "target": "scaled_label"},
    "scaled_label_linear": {"loss": "quadratic", "output": "identity", "target": "scaled_label"},
    "scaled_label_cross_entropy": {"loss": "cross_entropy", "output": "sigmoid", "target": "scaled_label"},
    "quadratic_linear": {"loss": "quadratic", "output": "identity"},
}
BATCHES = {
    "full": {"batch_size": None, "epochs": 24},
    "minibatch": {"batch_size": 32, "epochs": 8},
    "online": {"batch_size": 1, "epochs": 1, "train_examples": 40},
}
LEARNING_RATES = dict.fromkeys(OPTIMIZERS, 0.1) | {"momentum": 0.02, "adam": 0.003}
REGIMES = [(optimizer, batch) for optimizer in OPTIMIZERS for batch in BATCHES]


def run_with(optimizer: str, loss: str, batch: str, activation: str = "sigmoid", **other: object) -> Run:
    """Return a run of these kinds, with constants of its optimizer that are not the defaults."""
    defaults = {field.name: field.default for field in fields(Run)}
    constants = {name: 0.99 * defaults[name] for name in update_rule(optimizer).constants}
    kinds = {"optimizer": optimizer, "learning_rate": LEARNING_RATES[optimizer], "activation": activation}
    return replace(RUN, **(kinds | constants | LOSSES[loss] | BATCHES[batch] | other))


def training_set(run: Run, data: Data) -> tuple[Tensor, Tensor]:
    """Return the run's training images, in float64, and their digits."""
    indices = training_indices(run, len(data.train_labels))
    return data.train_images[indices].double(), data.train_labels[indices]


def loss_of(run: Run, logits: Tensor, digits: Tensor) -> Tensor:
    """Return the run's mean loss by its definition."""
    labels = torch.tensor(run.labels)[digits]
    if (run.loss, run.output) == ("cross_entropy", "softmax"):
        return cross_entropy(logits, labels)
    targets = one_hot(labels, 10).double() if run.target == "one_hot" else labels[:, None].double() / 9
    if run.loss == "cross_entropy":
        return binary_cross_entropy_with_logits(logits, targets, reduction="sum") / len(targets)
    outputs = {"softmax": logits.softmax(1), "sigmoid": logits.sigmoid(), "identity": logits}[run.output]
    return (outputs - targets).square().sum(1).mean() / 2


def reference(run: Run, data: Data) -> Iterator[tuple[nn.Sequential, Tensor, Tensor, Tensor]]:
    """Yield network, images, digits and the next batch before every update, and at the end."""
    net = reference_model(run, torch.float64)
    optimizer = update_rule(run.optimizer).reference(net.parameters(), run)
    images, digits = training_set(run, data)
    for epoch in range(run.epochs + 1):
        batches = sample_order(run, epoch, digits).split(run.batch_size or len(digits))
        for number, batch in enumerate(batches):
            yield net, images, digits, batch
            if epoch == run.epochs:
                return
            decayed = run.learning_rate / (1 + run.decay * (epoch + number / len(batches)))
            optimizer.param_groups[0]["lr"] = decayed
            optimizer.zero_grad()
            loss_of(run, net(images[batch]), digits[batch]).backward()
            optimizer.step()


@functools.cache
def reference_losses(run: Run) -> list[float]:
    """Return the training loss before every update and at the end; shared by back ends and precisions."""
    trained = reference(run, digits.load())
    return [loss_of(run, net(images), labels).item() for net, images, labels, _ in trained]


def assert_parity(run: Run, data: Data, precision: tuple[torch.dtype, float]) -> None:
    """Compare a stack of two runs of different rate, seed, decay, constants and labels with the reference."""
    dtype, tolerance = precision
    other = replace(
        run,
        learning_rate=run.learning_rate / 2,
        seed=3,
        decay=0.5,
        labels=(3, 1, 4, 0, 5, 9, 2, 6, 8, 7),
        **{name: 0.9 * getattr(run, name) for name in update_rule(run.optimizer).constants},
    )
    stack = [run, other]
    for each, result in zip(stack, train(stack, data, CPU, dtype=dtype), strict=True):
        assert values(result) == pytest.approx(reference_losses(each), rel=tolerance)


def values(result: TrainingResult, metric: str = "train_loss") -> list[float]:
    """Return the measured values of a metric."""
    return result.rows.query("metric == @metric").value.tolist()


def measured(run: Run, data: Data, *metrics: str, every: int = 1) -> tuple[Run, pd.DataFrame]:
    """Return the run with these metrics and the rows of its training in float64."""
    run = replace(run, measures=(Measure(metrics=metrics, every=every),))
    (result,) = train([run], data, CPU, dtype=torch.float64)
    return run, result.rows
