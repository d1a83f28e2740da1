"""Assignment 1, Q7: gradient norms per layer, over depth, activation and skip connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.campaign.keys import Job, Program
from analysis.engine.run import CLASSES, Activation, Measure, Run
from analysis.question import Budget, Preset

if TYPE_CHECKING:
    import torch

    from analysis.data import Data

SKIPPED: Activation = "sigmoid"  # whose gradient vanishes soonest: with skip connections, too
ACTIVATIONS: tuple[Activation, ...] = ("sigmoid", "tanh", "relu")
DEPTHS = (1, 2, 3, 4, 6, 8)  # hidden layers
WIDTH = 300
LEARNING_RATES = (0.1, 0.5)
# Of one hidden layer, where the larger of those was the best for sigmoids.
FURTHER_RATES = (1.0, 2.0)
BATCH_SIZE = 128
# Fewer examples than elsewhere: the gradients are the subject, not the accuracy.
BUDGETS = {"full": Budget((0, 1, 2, 3, 4), 6, 10_000), "quick": Budget((0,), 1, 1_000)}
# What stays at chance in that budget, for longer and on all examples that validation leaves: depths and rates.
LONGER: dict[Activation, tuple[tuple[int, ...], tuple[float, ...]]] = {
    "sigmoid": ((3, 4, 8), (0.5, 2.0)),
    "relu": ((8,), (0.1, 0.5)),
}
LONGER_BUDGETS = {"full": Budget((0, 1, 2), 15), "quick": Budget((0,), 2, 2_000)}
LONGER_METRICS = ("validation_accuracy", "test_accuracy")

# The question's own network, trained as in the program of exercise 1, and at the rate that is fastest there.
DESCENT_RATES = (0.1, 2.0)
DESCENT_SEEDS: dict[Preset, tuple[int, ...]] = {"full": (0, 1, 2), "quick": (0,)}
DESCENT_EPOCHS: dict[Preset, int] = {"full": 2_000, "quick": 4}

METRICS = ("gradient_norm", "weight_norm", "error_norm", "train_loss", "validation_accuracy", "test_accuracy")
SLOPE = ("mean_slope",)  # of the network that the question asks about: whether it saturates as it is trained
READOUT_ITERATIONS: dict[Preset, int] = {"full": 4_000, "quick": 5}  # of L-BFGS
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


def fitted_readout(data: Data, device: torch.device, iterations: int, seeds: tuple[int, ...]) -> pd.DataFrame:
    """Fit the second layer of 784-300-10 to the end, above first layers that stand at the starts of the descent.

    The loss is convex in this layer; L-BFGS minimizes it in double precision.

    Returns:
        One row per seed: seed, train_loss, gradient_norm, test_accuracy.
    """
    import torch
    from scipy.optimize import minimize

    from analysis.engine.network import initial_weights

    labels, test_labels = data.train_labels.cpu(), data.test_labels.cpu()
    targets = torch.nn.functional.one_hot(labels, CLASSES).double()
    rows = []
    for seed in seeds:
        first, second = initial_weights(_descent(1.0, 1, seed), torch.float64)
        features, test_features = (
            _with_ones(torch.sigmoid(_with_ones(images.cpu().double()) @ first.T))
            for images in (data.train_images, data.test_images)
        )

        def loss_and_gradient(weights: Any, features: torch.Tensor = features) -> tuple[float, Any]:
            logits = features @ torch.from_numpy(weights).view(CLASSES, -1).T
            log_p = logits.log_softmax(1)
            gradient = (log_p.exp() - targets).T @ features / len(features)
            return -float((log_p * targets).sum(1).mean()), gradient.numpy().ravel()

        fitted = minimize(
            loss_and_gradient,
            second.numpy().ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": iterations, "maxfun": 2 * iterations, "ftol": 0, "gtol": 0},
        )
        loss, gradient = loss_and_gradient(fitted.x)
        predicted = (test_features @ torch.from_numpy(fitted.x).view(CLASSES, -1).T).argmax(1)
        hits = float((predicted == test_labels).double().mean())
        rows.append((seed, loss, float((gradient**2).sum() ** 0.5), hits))
    return pd.DataFrame(rows, columns=["seed", "train_loss", "gradient_norm", "test_accuracy"])


def _with_ones(activations: torch.Tensor) -> torch.Tensor:
    """Return activations (n, h) with a column of ones, for the bias."""
    import torch

    return torch.cat([activations, torch.ones_like(activations[:, :1])], dim=1)


def _descent(rate: float, epochs: int, seed: int) -> Run:
    return Run(hidden=(WIDTH,), learning_rate=rate, epochs=epochs, measures=DESCENT_MEASURES, seed=seed)


def jobs(preset: Preset) -> tuple[Job, ...]:
    """Return networks of equal hidden layers; gradient descent of the one with a single hidden layer, whole and frozen.

    Skip connections, which need at least two hidden layers, for one activation.
    """
    stochastic = tuple(
        run
        for depth in DEPTHS
        for run in BUDGETS[preset].grid(
            BATCH_SIZE,
            METRICS + (SLOPE if depth == 1 else ()),
            hidden=((WIDTH,) * depth,),
            skip=(False,),
            activation=ACTIVATIONS,
            learning_rate=LEARNING_RATES,
        )
    ) + tuple(
        run
        for depth in DEPTHS
        if depth > 1
        for run in BUDGETS[preset].grid(
            BATCH_SIZE,
            METRICS,
            hidden=((WIDTH,) * depth,),
            skip=(True,),
            activation=(SKIPPED,),
            learning_rate=LEARNING_RATES,
        )
    )
    further = BUDGETS[preset].grid(
        BATCH_SIZE, METRICS + SLOPE, hidden=((WIDTH,),), activation=ACTIVATIONS, learning_rate=FURTHER_RATES
    )
    longer = tuple(
        run
        for activation, (depths, rates) in LONGER.items()
        for depth in depths
        for run in LONGER_BUDGETS[preset].grid(
            BATCH_SIZE,
            LONGER_METRICS,
            hidden=((WIDTH,) * depth,),
            activation=(activation,),
            learning_rate=rates,
        )
    )
    epochs, seeds = DESCENT_EPOCHS[preset], DESCENT_SEEDS[preset]
    descent = tuple(_descent(rate, epochs, seed) for rate in DESCENT_RATES for seed in seeds)
    frozen = Program(
        name="vanishing_gradient.frozen_first_layer",
        function=frozen_first_layer,
        arguments=(("epochs", epochs), ("rates", DESCENT_RATES), ("seeds", seeds)),
    )
    fitted = Program(
        name="vanishing_gradient.fitted_readout",
        function=fitted_readout,
        arguments=(("iterations", READOUT_ITERATIONS[preset]), ("seeds", seeds)),
    )
    return (*stochastic, *further, *longer, *descent, frozen, fitted)
