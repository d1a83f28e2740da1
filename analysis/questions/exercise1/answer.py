"""Exercise 1, the completed program: its training loss and accuracy, and the digits that it shows."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from analysis.exhibits import Picture, exhibit, sketch
from analysis.findings import Evidence, finding
from analysis.formatting import count_words, format_count, format_percent
from analysis.plotting import TRAIN_TEST, WIDTH, write_in
from analysis.questions.exercise1.runs import LEARNING_RATE
from analysis.results import Results

COLUMNS = 10  # digits beside each other


@exhibit("fig-digits", "exercise1")
def digits(found: Results) -> Picture:
    """Draw the first training digits with their labels."""
    frame = found.programs["digits"].sort_values(["example", "pixel"])
    images = frame.groupby("example")
    rows = math.ceil(len(images) / COLUMNS)
    figure, grid = plt.subplots(rows, COLUMNS, figsize=(WIDTH, 0.875 * rows), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (_, image) in zip(grid.flat, images, strict=False):
        axes.imshow(image["value"].to_numpy().reshape(28, 28), cmap="gray_r", vmin=0, vmax=255)
        axes.set_title(str(image["label"].iloc[0]), fontsize=9, pad=2, loc="center")
    return Picture(
        figure,
        f"The first {count_words(len(images), 'training digit')} with their labels.",
        f"{count_words(rows, 'row').capitalize()} of {count_words(COLUMNS)} small images of handwritten digits, dark "
        "on white, each with its label above.",
    )


@exhibit("fig-program", "exercise1")
def loss_curve(found: Results) -> Picture:
    """Draw the program's training loss."""
    rows = found.programs["program"]
    losses = rows[rows["metric"] == "train_loss"]
    figure, axes = plt.subplots(figsize=(WIDTH, 1.4))
    axes.plot(losses["epoch"], losses["value"], **TRAIN_TEST["train"])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("epoch")
    axes.set_ylabel("train loss")
    return Picture(
        figure,
        f"The losses that the program yields, $\\eta = {LEARNING_RATE:g}$.",
        "A curve that falls, steeply at first.",
    )


@sketch("exercise1", alt="A falling curve.")
def sketch_of_loss(axes: Axes, found: Results) -> None:
    rows = found.programs["program"]
    losses = rows[rows["metric"] == "train_loss"]
    axes.plot(losses["epoch"], losses["value"], **TRAIN_TEST["train"])
    write_in(axes, 0.3, 0.7, "train loss", TRAIN_TEST["train"]["color"])


@finding("exercise1", headline=True)
def exercise1_accuracy(found: Results) -> Evidence:
    rows = found.programs["program"]
    losses = rows.loc[rows["metric"] == "train_loss", "value"]
    final = rows[rows["metric"] == "test_accuracy"].iloc[-1]
    return Evidence(
        f"The completed program learns: its training loss falls all the way, and after "
        f"{format_count(int(final['epoch']), 'epoch')} with $\\eta = {LEARNING_RATE:g}$ it reads "
        f"{format_percent(final['value'], 0)} of the test digits.",
        {
            "the training loss falls from every update to the next": bool((losses.diff().dropna() < 0).all()),
            "the test accuracy exceeds 85 %": bool(final["value"] > 0.85),
        },
        f"The completed program reads {format_percent(final['value'], 0)} of the test digits.",
    )


@finding("exercise1", "learning_rate")
def final_accuracy(found: Results, rates: Results) -> Evidence:
    rows = found.programs["program"]
    accuracy = rows[rows["metric"] == "test_accuracy"]
    same = rates.rows[
        (rates.rows["learning_rate"] == LEARNING_RATE) & (rates.rows["metric"] == "test_accuracy")
    ]
    stopped, end = rows["epoch"].max(), same["epoch"].max()
    others, later = (same.loc[same["epoch"] == epoch, "value"] for epoch in (stopped, end))
    spread = f"{100 * others.min():.1f} to {format_percent(others.max())}" if len(others) else "–"
    losses = rates.rows[
        (rates.rows["learning_rate"] == LEARNING_RATE) & (rates.rows["metric"] == "train_loss")
    ].pivot(index="epoch", columns="seed", values="value")
    return Evidence(
        f"For the network after its last epoch the program prints {format_percent(accuracy['value'].iloc[-1], 2)}. "
        f"This is an early stop: from {count_words(len(others), 'start')} of @sec-q6, networks trained alike have "
        f"{spread} by then, {format_percent(later.mean())} after {format_count(int(end), 'epoch')}, and their loss "
        "still falls.",
        {
            "it is measured once, after the last epoch": accuracy["epoch"].tolist() == [rows["epoch"].max()],
            "those end within a point of it": bool(
                len(others) and (others - accuracy["value"].iloc[-1]).abs().max() < 0.01
            ),
            "they have become more accurate by the end": bool(later.min() > others.max()),
            "their loss falls up to the last update": bool((losses.diff().iloc[-1] < 0).all()),
        },
    )
