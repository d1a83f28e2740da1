"""Assignment 1, Q5: ten one-hot outputs against a single one of three kinds, under several label permutations."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from analysis.campaign.keys import Job, Program
from analysis.engine.run import CLASSES, Loss, Measure, Output, Run, Target
from analysis.question import VALIDATION_EXAMPLES, Budget, Preset

if TYPE_CHECKING:
    import numpy as np
    import torch

    from analysis.data import Data

ENCODINGS: tuple[tuple[Target, Loss, Output], ...] = (
    ("one_hot", "cross_entropy", "softmax"),
    ("one_hot", "quadratic", "sigmoid"),  # differs from the next by nothing but the encoding
    ("scaled_label", "quadratic", "sigmoid"),
    ("scaled_label", "quadratic", "identity"),  # its error does not vanish at the ends of the scale
    ("scaled_label", "cross_entropy", "sigmoid"),  # nor does this one's, for all that the sigmoid saturates
)
# Digit d is trained as class LABEL_PERMUTATIONS[i][d]: the identity, and three drawn once.
LABEL_PERMUTATIONS = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
    (2, 8, 4, 9, 1, 6, 7, 3, 0, 5),
    (6, 0, 3, 7, 9, 2, 5, 1, 8, 4),
    (5, 3, 9, 0, 2, 8, 1, 6, 4, 7),
)
# About where each was expected to be best, closer together where some networks no longer learn.
LEARNING_RATES = (0.3, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0)
OTHER_LEARNING_RATES = {  # an error that does not vanish needs smaller rates
    "identity": (0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 1.0),
    "cross_entropy": (0.03, 0.1, 0.3, 0.5, 1.0, 2.0, 3.0),
}
BATCH_SIZE = 128
BUDGETS = {"full": Budget((0, 1, 2, 3, 4), 15), "quick": Budget((0,), 1, 2_000)}
# All once more, for longer and with steps that steep directions do not limit.
ADAM_RATES = (0.0003, 0.001, 0.003, 0.01, 0.03)
RENUMBERED_WITH_ADAM = ENCODINGS[1:3]  # which differ by nothing but the encoding
ADAM_EPOCHS: dict[Preset, int] = {"full": 30, "quick": 1}
# All encodings for still longer, at the rates that are best for them: whether the single outputs come closer.
LONG_RATES = {
    ENCODINGS[0]: 0.003,
    ENCODINGS[1]: 0.003,
    ENCODINGS[2]: 0.01,
    ENCODINGS[3]: 0.001,
    ENCODINGS[4]: 0.01,
}
# The same pair above a second hidden layer, whether the line is hard to reach from one; and above a single one of as
# many units, which has more parameters, to tell depth from capacity.
OTHER_HIDDEN = ((300, 300), (600,))
# Of the quadratic loss, the test loss tells how far outputs lie from their targets.
SPREAD = ("test_loss",)
LONG_EPOCHS: dict[Preset, int] = {"full": 120, "quick": 2}
# Single outputs with the quadratic loss, at the best rate of their hidden layers.
READ_BY_THRESHOLDS = {(300,): 0.01, (300, 300): 0.003}
MEASUREMENTS = 6  # of all these along training

METRICS = ("train_loss", "validation_accuracy", "test_accuracy")


def learning_rates(target: Target, loss: Loss, output: Output) -> tuple[float, ...]:
    """Return the rates at which an encoding is trained."""
    if target == "one_hot":
        return LEARNING_RATES
    return OTHER_LEARNING_RATES.get(output) or OTHER_LEARNING_RATES.get(loss) or LEARNING_RATES


def label_permutations(target: Target, loss: Loss, output: Output) -> tuple[tuple[int, ...], ...]:
    """Return the permutations under which an encoding is trained: those that show a metric's part need no other."""
    return (
        LABEL_PERMUTATIONS
        if target == "one_hot" or (loss, output) == ("quadratic", "sigmoid")
        else LABEL_PERMUTATIONS[:1]
    )


def jobs(preset: Preset) -> tuple[Job, ...]:
    """Return every encoding under its label permutations at every rate, longer runs with Adam, and larger networks;
    single outputs that are read by thresholds."""
    by_thresholds = Program(
        name="encoding.learnt_thresholds", function=learnt_thresholds, arguments=(("preset", preset),)
    )
    return (*with_sgd(preset), *with_adam(preset), *larger(preset), by_thresholds)


def learnt_thresholds(data: Data, device: torch.device, preset: Preset) -> pd.DataFrame:
    """Train single sigmoids with the quadratic loss; read them between thresholds learnt from the training examples.

    Returns:
        One row per hidden layers, seed and reading (nearest: as the nearest digit; thresholds: between the nine that
        most training examples are read right with): hidden, seed, reading, value (test accuracy).
    """
    import numpy as np
    import torch

    from analysis.engine.network import logits_of, training_indices
    from analysis.engine.training import form_stacks, train

    runs = [
        replace(each, hidden=hidden)
        for hidden, rate in READ_BY_THRESHOLDS.items()
        for each in with_adam(preset)
        if (each.target, each.loss, each.output) == ENCODINGS[2]
        and (each.labels, each.epochs, each.learning_rate)
        == (LABEL_PERMUTATIONS[0], ADAM_EPOCHS[preset], rate)
    ]
    test_labels = data.test_labels.cpu().numpy()
    rows: list[tuple[str, int, str, float]] = []
    for stack in form_stacks(runs, data, device):
        for run, trained in zip(stack, train(stack, data, device), strict=True):
            indices = training_indices(run, len(data.train_labels))
            of_training, of_test = (
                torch.sigmoid(logits_of(trained.weights, images.cpu())).flatten().numpy()
                for images in (data.train_images[indices], data.test_images)
            )
            thresholds = best_thresholds(of_training, data.train_labels[indices].cpu().numpy())
            for reading, digits in (
                ("nearest", np.rint(of_test * (CLASSES - 1))),
                ("thresholds", np.searchsorted(thresholds, of_test)),
            ):
                hidden = "-".join(map(str, run.hidden))
                rows.append((hidden, run.seed, reading, float((digits == test_labels).mean())))
    return pd.DataFrame(rows, columns=["hidden", "seed", "reading", "value"])


def best_thresholds(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the nine ascending thresholds between which most outputs (n,) are read as their label (n,).

    An output below the first is read as 0, one between the first and the second as 1. By dynamic programming: the best
    way to read the first outputs, of ascending ones, with the first digits alone.
    """
    import numpy as np

    order = np.argsort(outputs, kind="stable")
    ascending = np.concatenate([[-np.inf], outputs[order], [np.inf]])
    of_class = labels[order] == np.arange(CLASSES)[:, None]
    below = np.concatenate(
        [np.zeros((CLASSES, 1), int), of_class.cumsum(axis=1)], axis=1
    )  # of a label, among the first
    right, cuts = below[0], []
    for digit in range(1, CLASSES):
        gain = right - below[digit]  # if this digit's stretch begins after so many outputs
        best = np.maximum.accumulate(gain)
        cuts.append(np.maximum.accumulate(np.where(gain == best, np.arange(len(gain)), 0)))
        right = below[digit] + best
    thresholds, end = [], len(outputs)
    for cut in reversed(cuts):
        end = int(cut[end])
        thresholds.append((ascending[end] + ascending[end + 1]) / 2)
    return np.array(thresholds[::-1])


def with_adam(preset: Preset) -> tuple[Run, ...]:
    """Return encodings under label permutations at every rate of Adam, and the best for longer."""
    settings = (
        *(
            (encoding, labels, rate, ADAM_EPOCHS[preset], ())
            for encoding in ENCODINGS
            for labels in (LABEL_PERMUTATIONS if encoding in RENUMBERED_WITH_ADAM else LABEL_PERMUTATIONS[:1])
            for rate in ADAM_RATES
        ),
        *(
            (
                encoding,
                LABEL_PERMUTATIONS[0],
                rate,
                LONG_EPOCHS[preset],
                SPREAD if encoding in RENUMBERED_WITH_ADAM else (),
            )
            for encoding, rate in LONG_RATES.items()
        ),
    )
    return tuple(
        replace(
            run(
                preset,
                encoding,
                rate,
                seed,
                epochs,
                max(1, epochs // MEASUREMENTS),
                (*METRICS, "train_accuracy", *further),
            ),
            optimizer="adam",
            labels=labels,
        )
        for encoding, labels, rate, epochs, further in settings
        for seed in BUDGETS[preset].seeds
    )


def larger(preset: Preset) -> tuple[Run, ...]:
    """Return the encodings that differ by nothing else above other hidden layers, at every rate of Adam."""
    return tuple(
        replace(each, hidden=hidden)
        for hidden in OTHER_HIDDEN
        for each in with_adam(preset)
        if (each.target, each.loss, each.output) in RENUMBERED_WITH_ADAM
        and (each.labels, each.epochs) == (LABEL_PERMUTATIONS[0], ADAM_EPOCHS[preset])
    )


def with_sgd(preset: Preset) -> tuple[Run, ...]:
    """Return every encoding under every label permutation at every rate."""
    budget = BUDGETS[preset]
    return tuple(
        replace(run(preset, encoding, rate, seed, budget.epochs, 1, METRICS), labels=labels)
        for encoding in ENCODINGS
        for labels in label_permutations(*encoding)
        for rate in learning_rates(*encoding)
        for seed in budget.seeds
    )


def run(
    preset: Preset,
    encoding: tuple[Target, Loss, Output],
    rate: float,
    seed: int,
    epochs: int,
    every: int,
    metrics: tuple[str, ...],
) -> Run:
    """Return an encoding's run, measured every so many epochs, with the confusions at the end."""
    target, loss, output = encoding
    budget = BUDGETS[preset]
    updates = budget.updates(BATCH_SIZE)
    return Run(
        target=target,
        loss=loss,
        output=output,
        learning_rate=rate,
        batch_size=BATCH_SIZE,
        train_examples=budget.train_examples,
        validation_examples=VALIDATION_EXAMPLES,
        epochs=epochs,
        measures=(
            Measure(metrics=metrics, every=every * updates),
            Measure(metrics=("confusion",), every=updates * epochs),
        ),
        seed=seed,
    )
