"""Assignment 2, exercise 2: all weights and biases initialized with one value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from analysis.campaign.keys import Job, Program
from analysis.engine.run import INPUTS, TRAIN_EXAMPLES, Activation, Measure, Run
from analysis.question import Budget, Preset

if TYPE_CHECKING:
    import torch

    from analysis.data import Data

ACTIVATIONS: tuple[Activation, ...] = ("sigmoid", "tanh", "relu")
SATURATING: tuple[Activation, ...] = ("sigmoid", "tanh")
CONSTANTS = (0.0, 0.01, 0.1, 1.0)
HIDDEN = (300,)
LEARNING_RATE = 0.1
BATCH_SIZE = 128
# Nothing is chosen here, so nothing is held out. The full batch gets more epochs, as its epochs are one update.
BUDGETS = {"full": Budget((0, 1, 2), 15, TRAIN_EXAMPLES), "quick": Budget((0,), 1, 1_000)}
FULL_BATCH_EPOCHS: dict[Preset, int] = {"full": 1_000, "quick": 3}
FULL_BATCH_EVERY: dict[Preset, int] = {"full": 20, "quick": 1}  # as measuring takes longer than its updates

METRICS = ("train_loss", "test_accuracy", "unit_distance", "gradient_norm", "mean_slope")


# What 300 equal units compute and one unit with other rates: the starts (tanh from 0 moves no weight), and the epochs.
EQUIVALENT_STARTS: tuple[tuple[Activation, float], ...] = (
    ("sigmoid", 0.0),
    ("sigmoid", 0.01),
    ("tanh", 0.01),
    ("relu", 0.01),
)
EQUIVALENT_EPOCHS: dict[Preset, int] = {"full": 100, "quick": 3}
EQUIVALENT_EVERY: dict[Preset, int] = {
    "full": 105,
    "quick": 4,
}  # of the one unit alone, for as many updates as SGD

# A rate at which saturated units' steps should no longer overshoot, as the step of the logits is (1 + 300) η < 20.
SMALLER_RATE = 0.05
SMALLER_RATE_EPOCHS: dict[Preset, int] = {"full": 200, "quick": 2}

# What a single unit reaches in the end, from random starts: as much as equal units could, given time.
CEILING_LEARNING_RATES = (0.01, LEARNING_RATE, 1.0)  # the smallest was added when 1 had proved too large
CEILING_EPOCHS: dict[Preset, int] = {"full": 300, "quick": 2}
CEILING_EVERY: dict[Preset, int] = {"full": 20, "quick": 1}  # epochs


def one_unit(
    data: Data,
    device: torch.device,
    epochs: int,
    every: int = 1,
    sizes: tuple[int, ...] = (HIDDEN[0], 1),
    starts: tuple[tuple[Activation, float], ...] = EQUIVALENT_STARTS,
) -> pd.DataFrame:
    """Train 300 equal units and the one unit that they amount to, by gradient descent in plain PyTorch and float64.

    The one unit starts with 300 times the outgoing weights. Its rates are η/300 for the incoming weights and bias,
    300 η for the outgoing weights, η for the output bias.

    Args:
        data: MNIST.
        device: Not used, see below.
        epochs: How long.
        every: Epochs between measurements.
        sizes: 300 for the equal units, 1 for the one.
        starts: Activations and constants.

    Returns:
        One row per start, network and measurement: activation, constant, units, epoch, train_loss.
    """
    import torch
    from torch import nn

    activations = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}
    # Double precision on the CPU, whatever the device: the claim is equality, and MPS has no float64.
    inputs, labels = data.train_images.cpu().double(), data.train_labels.cpu()
    cross_entropy = nn.CrossEntropyLoss()
    rows = []
    for activation, constant in starts:
        for units in sizes:
            first, second = nn.Linear(INPUTS, units).double(), nn.Linear(units, 10).double()
            network = nn.Sequential(first, activations[activation](), second)
            stands_for = HIDDEN[0] // units  # how many equal units each of these is
            for tensor in network.parameters():
                nn.init.constant_(tensor, constant)
            nn.init.constant_(second.weight, stands_for * constant)
            optimizer = torch.optim.SGD(
                [
                    {"params": list(first.parameters()), "lr": LEARNING_RATE / stands_for},
                    {"params": [second.weight], "lr": LEARNING_RATE * stands_for},
                    {"params": [second.bias], "lr": LEARNING_RATE},
                ]
            )
            for epoch in range(epochs + 1):
                optimizer.zero_grad()
                loss = cross_entropy(network(inputs), labels)
                if epoch % every == 0:
                    rows.append((activation, constant, units, epoch, loss.item()))
                loss.backward()
                optimizer.step()
    return pd.DataFrame(rows, columns=["activation", "constant", "units", "epoch", "train_loss"])


def jobs(preset: Preset) -> tuple[Job, ...]:
    """Return constant initializations and, to compare, random ones; `one_unit`, and one unit for long;
    the largest constant at a smaller rate.

    A constant initialization does not depend on the seed, which decides the order of the examples only: full-batch
    descent from it needs one run.
    """
    budget = BUDGETS[preset]
    runs: list[Job] = [
        Program(
            name="constant_init.one_unit",
            function=one_unit,
            arguments=(("epochs", EQUIVALENT_EPOCHS[preset]),),
        ),
        Program(
            name="constant_init.one_unit_for_longer",
            function=one_unit,
            arguments=(
                ("epochs", budget.epochs * budget.updates(BATCH_SIZE)),
                ("every", EQUIVALENT_EVERY[preset]),
                ("sizes", (1,)),
                ("starts", EQUIVALENT_STARTS[:2]),
            ),
        ),
    ]
    for batch_size in (None, BATCH_SIZE):
        epochs = budget.epochs if batch_size else FULL_BATCH_EPOCHS[preset]
        every = budget.updates(batch_size) if batch_size else FULL_BATCH_EVERY[preset]
        measures = (Measure(metrics=METRICS, every=every),)
        for activation in ACTIVATIONS:
            for constant in (*CONSTANTS, None):
                seeds = budget.seeds if batch_size or constant is None else budget.seeds[:1]
                runs += [
                    Run(
                        hidden=HIDDEN,
                        activation=activation,
                        init="uniform_fan_in" if constant is None else "constant",
                        init_scale=1.0 if constant is None else constant,
                        learning_rate=LEARNING_RATE,
                        batch_size=batch_size,
                        train_examples=budget.train_examples,
                        epochs=epochs,
                        measures=measures,
                        seed=seed,
                    )
                    for seed in seeds
                ]
    runs += [
        Run(
            hidden=HIDDEN,
            activation=activation,
            init="constant",
            init_scale=max(CONSTANTS),
            learning_rate=SMALLER_RATE,
            train_examples=budget.train_examples,
            epochs=SMALLER_RATE_EPOCHS[preset],
            measures=(Measure(metrics=("train_loss", "mean_slope"), every=1),),
        )
        for activation in SATURATING
    ]
    runs += [
        Run(
            hidden=(1,),
            activation=activation,
            learning_rate=rate,
            batch_size=BATCH_SIZE,
            train_examples=budget.train_examples,
            epochs=CEILING_EPOCHS[preset],
            measures=(
                Measure(
                    metrics=("train_loss", "test_accuracy"),
                    every=CEILING_EVERY[preset] * budget.updates(BATCH_SIZE),
                ),
            ),
            seed=seed,
        )
        for activation in ACTIVATIONS
        for rate in CEILING_LEARNING_RATES
        for seed in budget.seeds
    ]
    return tuple(runs)
