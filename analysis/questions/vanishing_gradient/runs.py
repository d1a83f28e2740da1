"""Assignment 1, Q7: gradient norms per layer, over depth, activation and skip connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from analysis.campaign.keys import Job, Program
from analysis.engine.run import Activation, Measure, Run
from analysis.question import Budget, Preset

if TYPE_CHECKING:
    import torch

    from analysis.data import Data

ACTIVATIONS: tuple[Activation, ...] = ("sigmoid", "tanh", "relu")
DEPTHS = (1, 2, 3, 4, 6, 8)  # hidden layers
WIDTH = 300
LEARNING_RATES = (0.1, 0.5)
BATCH_SIZE = 128
# Fewer examples than elsewhere: the gradients are the subject, not the accuracy.
BUDGETS = {"full": Budget((0, 1, 2, 3, 4), 6, 10_000), "quick": Budget((0,), 1, 1_000)}

# The question's own network, trained as in the program of exercise 1, and at the rate that is fastest there.
DESCENT_RATES = (0.1, 2.0)
DESCENT_SEEDS: dict[Preset, tuple[int, ...]] = {"full": (0, 1, 2), "quick": (0,)}
DESCENT_EPOCHS: dict[Preset, int] = {"full": 2_000, "quick": 4}

METRICS = ("gradient_norm", "weight_norm", "error_norm", "train_loss", "validation_accuracy", "test_accuracy")
SLOPE = ("mean_slope",)  # of the network that the question asks about: whether it saturates as it is trained
DESCENT_EVERY = 50
DESCENT_MEASURES = (
    Measure(
        metrics=("gradient_norm", "weight_norm", "error_norm", "mean_slope"),
        every=DESCENT_EVERY,
        dense_until=10,
    ),
    Measure(metrics=("train_loss", "test_accuracy"), every=DESCENT_EVERY, dense_until=10),
)


def frozen_first_layer(
    data: Data, device: torch.device, epochs: int, rates: tuple[float, ...], seeds: tuple[int, ...]
) -> pd.DataFrame:
    """Train only the second layer of 784-300-10, from the starts of the descent: what a first layer that stands does.

    Returns:
        One row per measurement, every DESCENT_EVERY epochs: learning_rate, seed, epoch, metric, value.
    """
    import torch
    from torch import nn

    from analysis.engine.network import reference_model

    images, labels = data.train_images.to(device), data.train_labels.to(device)
    test_images, test_labels = data.test_images.to(device), data.test_labels.to(device)
    cross_entropy = nn.CrossEntropyLoss()
    rows: list[tuple[float, int, int, str, float]] = []
    for rate in rates:
        for seed in seeds:
            *first, second = reference_model(_descent(rate, epochs, seed)).to(device)
            with torch.no_grad():
                features, test_features = (nn.Sequential(*first)(x) for x in (images, test_images))
            optimizer = torch.optim.SGD(second.parameters(), lr=rate)
            for epoch in range(epochs + 1):
                optimizer.zero_grad()
                loss = cross_entropy(second(features), labels)
                if epoch % DESCENT_EVERY == 0:
                    with torch.no_grad():
                        hits = second(test_features).argmax(1) == test_labels
                    rows.append((rate, seed, epoch, "train_loss", loss.item()))
                    rows.append((rate, seed, epoch, "test_accuracy", hits.double().mean().item()))
                loss.backward()
                optimizer.step()
    return pd.DataFrame(rows, columns=["learning_rate", "seed", "epoch", "metric", "value"])


def _descent(rate: float, epochs: int, seed: int) -> Run:
    return Run(hidden=(WIDTH,), learning_rate=rate, epochs=epochs, measures=DESCENT_MEASURES, seed=seed)


def jobs(preset: Preset) -> tuple[Job, ...]:
    """Return networks of equal hidden layers; gradient descent of the one with a single hidden layer, whole and frozen.

    A skip connection needs at least two hidden layers.
    """
    stochastic = tuple(
        run
        for depth in DEPTHS
        for run in BUDGETS[preset].grid(
            BATCH_SIZE,
            METRICS + (SLOPE if depth == 1 else ()),
            hidden=((WIDTH,) * depth,),
            skip=(False, True) if depth > 1 else (False,),
            activation=ACTIVATIONS,
            learning_rate=LEARNING_RATES,
        )
    )
    epochs, seeds = DESCENT_EPOCHS[preset], DESCENT_SEEDS[preset]
    descent = tuple(_descent(rate, epochs, seed) for rate in DESCENT_RATES for seed in seeds)
    frozen = Program(
        name="vanishing_gradient.frozen_first_layer",
        function=frozen_first_layer,
        arguments=(("epochs", epochs), ("rates", DESCENT_RATES), ("seeds", seeds)),
    )
    return (*stochastic, *descent, frozen)
