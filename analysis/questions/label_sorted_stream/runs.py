"""Assignment 2, exercise 3: online gradient on the examples sorted by label, against SGD with batch size 1."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from analysis.campaign.keys import Job, Program
from analysis.engine.run import CLASSES, TRAIN_EXAMPLES, Measure, Order, Run
from analysis.question import VALIDATION_EXAMPLES, Budget, Preset

if TYPE_CHECKING:
    import torch

    from analysis.data import Data

ORDERS: tuple[Order, ...] = ("shuffled", "label_sorted")
LEARNING_RATES = (1e-6, 3e-6, 1e-5, 3e-5, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
BUDGETS = {"full": Budget((0, 1, 2), 6), "quick": Budget((0,), 1, 500)}
# At the least rates an epoch does about what one step of gradient descent does with a rate larger by the number of
# examples; both get as many epochs as show how far that goes, and the stream larger rates as well. What is compared
# with gradient descent is measured after every pass, other rates after every tenth.
SLOW_RATES = (1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.14, 0.2, 0.3)
COMPARED = (1e-6, 3e-6, 1e-4)
ALSO_DESCENDED = (1e-5, 3e-5)  # compared as well, by what is measured after every tenth pass
SLOW = {"full": Budget((0, 1, 2), 300), "quick": Budget((0,), 2, 500)}
# SGD for as many passes, to compare with.
LONG_SGD_RATES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
# The stream at rates about its best for twice as many passes, to see whether it still gains.
MORE_PASSES_RATES, MORE_PASSES = (1e-5, 1e-3, 3e-3, 1e-2, 3e-2, 0.06, 0.1, 0.14), {"full": 600, "quick": 3}
MORE_SGD_RATES = (0.01, 0.03, 0.1)  # and SGD about its own best
# What the stream ends in at its best rate after all these passes, trained on by SGD: does the order hold it back?
THEN_SHUFFLED: dict[Preset, int] = {"full": 20, "quick": 1}  # passes
THEN_SHUFFLED_RATE = 0.1  # of both
# The cosine of the next example's gradient is measured so often in WITHIN_PASS that changes of label show.
COSINES: dict[Preset, int] = {"full": 600, "quick": 50}  # measurements in a pass
# An order that is as fixed as the sorted one, but drawn at random: is it the sorting, or that the order stays?
FIXED_RATES = (0.001, 0.03, 0.1)
WITHIN_PASS_RATES = (0.001, 0.01)  # of the runs that are measured many times within an epoch
WITHIN_PASS = {"full": Budget((0, 1, 2), 2, TRAIN_EXAMPLES), "quick": Budget((0,), 1, 500)}


def labels(data: Data, device: torch.device) -> pd.DataFrame:
    """Return the labels in the order in which the first epoch of a run with seed 0 meets them.

    Returns:
        One row per training example: position, and a column per order.
    """
    from analysis.engine.network import sample_order

    columns = {}
    for name in ORDERS:
        run = Run(order=name, learning_rate=1, batch_size=1, epochs=1, measures=())
        columns[name] = data.train_labels[sample_order(run, 0, data.train_labels)].numpy()
    return pd.DataFrame(columns).rename_axis("position").reset_index()


def then_shuffled(data: Data, device: torch.device, preset: Preset) -> pd.DataFrame:
    """Train on the sorted stream to its end, and go on with shuffled passes of SGD.

    Returns:
        One row per seed, pass after the stream and metric: seed, pass (0: at the stream's end), metric (train_loss,
        test_accuracy), value.
    """
    import torch
    from torch import nn

    from analysis.engine.network import logits_of, training_indices
    from analysis.engine.training import train

    stream = longest_streams(preset)
    indices = training_indices(stream[0], len(data.train_labels))
    images, labels = data.train_images[indices].cpu(), data.train_labels[indices].cpu()
    ones = torch.ones(len(images), 1)
    with_bias = torch.cat([images, ones], 1)
    targets = nn.functional.one_hot(labels, CLASSES).float()
    rows: list[tuple[int, int, str, float]] = []

    def measure(seed: int, passes: int, weights: list[torch.Tensor]) -> None:
        loss = nn.functional.cross_entropy(logits_of(weights, images), labels)
        hits = logits_of(weights, data.test_images.cpu()).argmax(1) == data.test_labels.cpu()
        rows.append((seed, passes, "train_loss", float(loss)))
        rows.append((seed, passes, "test_accuracy", float(hits.double().mean())))

    for run, trained in zip(stream, train(stream, data, device), strict=True):
        first, second = weights = [layer.clone() for layer in trained.weights]
        measure(run.seed, 0, weights)
        generator = torch.Generator().manual_seed(run.seed)
        for passes in range(1, THEN_SHUFFLED[preset] + 1):
            for i in torch.randperm(len(images), generator=generator).tolist():
                hidden = torch.sigmoid(first @ with_bias[i])
                above = torch.cat([hidden, ones[0]])
                error = (second @ above).softmax(0) - targets[i]
                below = (second[:, :-1].T @ error) * hidden * (1 - hidden)
                second.addr_(error, above, alpha=-run.learning_rate)
                first.addr_(below, with_bias[i], alpha=-run.learning_rate)
            measure(run.seed, passes, weights)
    return pd.DataFrame(rows, columns=["seed", "pass", "metric", "value"])


def weight_norms(data: Data, device: torch.device, preset: Preset) -> pd.DataFrame:
    """Measure the norm of all weights along the sorted stream and SGD: does it stay bounded, as the proof supposes?

    Returns:
        One row per order and measurement: order, epoch, value.
    """
    from analysis.engine.training import train

    slow = SLOW[preset]
    measure = Measure(metrics=("weight_norm",), every=slow.updates(1))
    stream, *_ = longest_streams(preset)
    runs = [replace(stream, order=order, epochs=slow.epochs, measures=(measure,)) for order in ORDERS]
    tables = [
        trained.rows.assign(value=trained.rows["value"] ** 2)
        .groupby("epoch", as_index=False)["value"]
        .sum()
        .assign(order=run.order)
        for run, trained in zip(runs, train(runs, data, device), strict=True)
    ]
    norms = pd.concat(tables, ignore_index=True)
    return norms.assign(value=norms["value"] ** 0.5)[["order", "epoch", "value"]]


def cosines(data: Data, device: torch.device, preset: Preset) -> pd.DataFrame:
    """Measure the cosine of the next example's gradient with the full one, often, in two passes over the stream.

    Returns:
        One row per measurement: epoch, value.
    """
    from analysis.engine.training import train

    within = WITHIN_PASS[preset]
    run = Run(
        order="label_sorted",
        learning_rate=max(WITHIN_PASS_RATES),
        batch_size=1,
        train_examples=within.train_examples,
        epochs=within.epochs,
        measures=(Measure(metrics=("gradient_cosine",), every=within.train_examples // COSINES[preset]),),
    )
    (trained,) = train([run], data, device)
    return trained.rows[["epoch", "value"]].reset_index(drop=True)


def jobs(preset: Preset) -> tuple[Job, ...]:
    """Return both orders at every rate, measured ten times an epoch; the sorted one for many epochs, beside gradient
    descent and SGD; both orders within a few epochs over all examples; SGD after the stream; norms and cosines; the
    labels."""
    budget, slow, within = BUDGETS[preset], SLOW[preset], WITHIN_PASS[preset]
    window_measures = (
        Measure(metrics=("validation_accuracy", "test_accuracy"), every=budget.updates(1) // 10),
        Measure(metrics=("train_loss",), every=budget.updates(1)),
    )
    window = tuple(
        Run(
            order=order,
            learning_rate=rate,
            batch_size=1,
            train_examples=budget.train_examples,
            validation_examples=VALIDATION_EXAMPLES,
            epochs=budget.epochs,
            measures=window_measures,
            seed=seed,
        )
        for order in ORDERS
        for rate in LEARNING_RATES
        for seed in budget.seeds
    )
    # every time a tenth of a pass later in the pass, as measuring ten times in every pass would take most of the time
    phases = (
        Measure(metrics=("validation_accuracy",), every=10 * slow.updates(1) + max(1, slow.updates(1) // 10)),
    )
    small_rates = tuple(
        Run(
            order="label_sorted",
            learning_rate=rate * (1 if batch_size else slow.train_examples),
            batch_size=batch_size,
            train_examples=slow.train_examples,
            validation_examples=VALIDATION_EXAMPLES,
            epochs=slow.epochs,
            measures=(
                Measure(
                    metrics=("test_accuracy",),
                    every=max(1, slow.updates(batch_size) // 2)
                    if rate in COMPARED
                    else 10 * slow.updates(batch_size),
                ),
                Measure(metrics=("train_loss",), every=10 * slow.updates(batch_size)),
                *(phases if batch_size else ()),
            ),
            seed=seed,
        )
        for batch_size, rates in ((1, SLOW_RATES), (None, (*COMPARED, *ALSO_DESCENDED)))
        for rate in rates
        for seed in slow.seeds
    )
    long_sgd = tuple(
        Run(
            learning_rate=rate,
            batch_size=1,
            train_examples=slow.train_examples,
            validation_examples=VALIDATION_EXAMPLES,
            epochs=slow.epochs,
            measures=(
                Measure(metrics=("train_loss", "test_accuracy"), every=10 * slow.updates(1)),
                *phases,
            ),
            seed=seed,
        )
        for rate in LONG_SGD_RATES
        for seed in slow.seeds
    )
    within_measures = (
        Measure(metrics=("class_accuracy", "test_accuracy"), every=within.train_examples // 120),
        Measure(metrics=("gradient_cosine",), every=within.train_examples // 60),
    )
    passes = tuple(
        Run(
            order=order,
            learning_rate=rate,
            batch_size=1,
            train_examples=within.train_examples,
            epochs=within.epochs,
            measures=within_measures,
            seed=seed,
        )
        for order in ORDERS
        for rate in WITHIN_PASS_RATES
        for seed in within.seeds
    )
    return (
        *window,
        *small_rates,
        *long_sgd,
        *more_passes(preset),
        *passes,
        Program(
            name="label_sorted_stream.then_shuffled", function=then_shuffled, arguments=(("preset", preset),)
        ),
        Program(
            name="label_sorted_stream.weight_norms", function=weight_norms, arguments=(("preset", preset),)
        ),
        Program(name="label_sorted_stream.cosines", function=cosines, arguments=(("preset", preset),)),
        Program(name="label_sorted_stream.labels", function=labels),
    )


def longest_streams(preset: Preset) -> list[Run]:
    """Return the runs of `more_passes` over the sorted stream at the rate THEN_SHUFFLED_RATE."""
    longest = ("label_sorted", THEN_SHUFFLED_RATE, MORE_PASSES[preset])
    return [run for run in more_passes(preset) if (run.order, run.learning_rate, run.epochs) == longest]


def more_passes(preset: Preset) -> tuple[Run, ...]:
    """Return the stream and SGD at some rates for more passes, and examples shuffled once."""
    slow = SLOW[preset]
    to_the_end = (
        Measure(metrics=("train_loss", "validation_accuracy", "test_accuracy"), every=10 * slow.updates(1)),
    )
    further: list[tuple[Order, float, int]] = [
        *(("shuffled", rate, MORE_PASSES[preset]) for rate in MORE_SGD_RATES),
        *(("label_sorted", rate, MORE_PASSES[preset]) for rate in MORE_PASSES_RATES),
        *(("shuffled_once", rate, slow.epochs) for rate in FIXED_RATES),
    ]
    return tuple(
        Run(
            order=order,
            learning_rate=rate,
            batch_size=1,
            train_examples=slow.train_examples,
            validation_examples=VALIDATION_EXAMPLES,
            epochs=epochs,
            measures=to_the_end,
            seed=seed,
        )
        for order, rate, epochs in further
        for seed in slow.seeds
    )
