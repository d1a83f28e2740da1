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
from analysis.statistics import final_values

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
    losses = found.programs["program"].query("metric == 'train_loss'")
    figure, axes = plt.subplots(figsize=(WIDTH / 2, 1.35))
    axes.plot(losses["epoch"], losses["value"], **TRAIN_TEST["train"])
    axes.set_ylabel("train loss")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("epoch")
    return Picture(
        figure,
        f"Train loss of the program, as step 5 yields it, $\\eta = {LEARNING_RATE:g}$.",
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
        f"The completed program learns: its train loss falls at every update, from {losses.iloc[0]:.2f} to "
        f"{losses.iloc[-1]:.2f}, and after {format_count(int(final['epoch']), 'epoch')} with $\\eta = "
        f"{LEARNING_RATE:g}$ it reads {format_percent(final['value'], 0)} of the test digits correctly.",
        {
            "the training loss falls from every update to the next": bool((losses.diff().dropna() < 0).all()),
            "the test accuracy exceeds 90 %": bool(final["value"] > 0.9),
        },
        f"The completed program reads {format_percent(final['value'], 0)} of the test digits.",
    )


@finding("exercise1", "learning_rate")
def final_accuracy(found: Results, rates: Results) -> Evidence:
    rows = found.programs["program"]
    accuracy, losses = rows[rows["metric"] == "test_accuracy"], rows[rows["metric"] == "train_loss"]
    printed, last = accuracy["value"].iloc[-1], losses["value"].iloc[-2:]
    ends = final_values(rates.rows, "test_accuracy", ["learning_rate", "seed"])
    alike, best = ends[LEARNING_RATE], ends.groupby("learning_rate").mean().max()
    return Evidence(
        f"After its last epoch the program prints a test accuracy of {format_percent(printed, 2)}; the runs of "
        f"@sec-q6 with the same rate and epochs end at {100 * alike.min():.1f} to {format_percent(alike.max())}. "
        "Rate and number of epochs are the source's. The loss still falls; other rates give up to "
        f"{format_percent(best)} on average in as many epochs (@sec-q6).",
        {
            "it is measured once, after the last epoch": accuracy["epoch"].tolist() == [rows["epoch"].max()],
            "the other runs have as many epochs": rates.rows["epoch"].max() == rows["epoch"].max(),
            "they end within half a point of it": bool((alike - printed).abs().max() < 0.005),
            "the loss still falls": bool(last.diff().iloc[-1] < 0),
            "another rate ends more than three points higher": bool(best > printed + 0.03),
        },
    )
