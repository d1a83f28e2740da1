"""The report's figures, drawn from cached results.

One style and one palette for all: a colour means the same thing in every figure, and every line that shares
its axes with others is labelled where it ends.
Each function takes tidy frames (see `results`) and returns a matplotlib figure.
"""

from __future__ import annotations

import math
from typing import Any

import matplotlib as mpl
import matplotlib.lines
import matplotlib.pyplot as plt
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

# Okabe & Ito's colours, told apart by the colour-blind; train and test also differ in grey.
TRAIN, TEST = "#0072b2", "#d55e00"
INK, QUIET, FAINT = "#222222", "#6b6b6b", "#d9d9d9"
NETWORK_COLOURS = ("#222222", "#009e73", "#cc79a7", "#e69f00")  # in the order of the networks in Q2
TRAIN_TEST: dict[str, dict[str, Any]] = {
    "train": {"color": TRAIN},
    "test": {"color": TEST, "linestyle": (0, (4, 1.5))},
}
RATE_COLOURS = mpl.colormaps["viridis"]

WIDTH = 6.3  # inches: the text width of the A4 page
STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same on every machine
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "text.color": INK,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "axes.formatter.useoffset": False,
    "svg.hashsalt": "mnist",  # the same figure gives the same file
}
plt.style.use(STYLE)


def series(frame: pd.DataFrame, metric: str, x: str = "epoch") -> pd.DataFrame:
    """One metric's mean, least and largest value over seeds, by `x`; index: x."""
    rows = frame[frame["metric"] == metric]
    return rows.groupby(x)["value"].agg(["mean", "min", "max"])


def _line(axes: Axes, summary: pd.DataFrame, color: Any, **style: Any) -> None:
    """A mean line over a band from the least to the largest seed."""
    axes.plot(summary.index, summary["mean"], color=color, **style)
    if not summary["min"].equals(summary["max"]):
        axes.fill_between(summary.index, summary["min"], summary["max"], color=color, alpha=0.2, linewidth=0)


def _label_ends(axes: Axes, labels: list[tuple[float, float, str, Any]]) -> None:
    """Labels (x, y, text, colour) beside the ends of lines, moved apart where they would overlap.

    To be called when the axes have their scales and limits.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # places are known only then
    height = plt.rcParams["font.size"] * figure.dpi / 72
    lowest = -math.inf
    for x, y, text, colour in sorted(
        (label for label in labels if math.isfinite(label[1])), key=lambda e: e[1]
    ):
        place = axes.transData.transform((x, y))[1]
        lowest = max(place, lowest + height)
        offset = 4, (lowest - place) * 72 / figure.dpi
        axes.annotate(text, (x, y), xytext=offset, textcoords="offset points", color=colour, va="center")


def _plain_ticks(axis: Axis) -> None:
    """Logarithmic ticks at 1, 2 and 5, written as plain numbers."""
    axis.set_major_locator(mpl.ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(mpl.ticker.NullLocator())


def _train_test_legend(axes: Axes) -> None:
    axes.legend(
        handles=[mpl.lines.Line2D([], [], label=metric, **style) for metric, style in TRAIN_TEST.items()]
    )


def digits(frame: pd.DataFrame) -> Figure:
    """Some training digits with their labels (exercise 1).

    Args:
        frame: One row per pixel: example, label, pixel (0 … 783), value (0 … 255).
    """
    images = frame.sort_values(["example", "pixel"]).groupby("example")
    columns = 10
    figure, grid = plt.subplots(math.ceil(len(images) / columns), columns, figsize=(WIDTH, 1.75))
    for axes, (_, image) in zip(grid.flat, images, strict=True):
        axes.imshow(image["value"].to_numpy().reshape(28, 28), cmap="gray_r", vmin=0, vmax=255)
        axes.set_title(str(image["label"].iloc[0]), fontsize=9, pad=2, loc="center")
        axes.set_axis_off()
    return figure


def _loss_panel(axes: Axes, frame: pd.DataFrame, logarithmic: bool) -> None:
    """Train and test loss against epochs; on logarithmic axes epoch 0 is left out."""
    for name, style in TRAIN_TEST.items():
        summary = series(frame, f"{name}_loss")
        _line(axes, summary[summary.index > 0] if logarithmic else summary, **style)
    if logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
        _plain_ticks(axes.yaxis)
    axes.set_xlabel("epoch")


def loss_curves(frames: dict[str, pd.DataFrame]) -> Figure:
    """Train and test loss of several networks against epochs: linear axes above, logarithmic below (Q2)."""
    figure, grid = plt.subplots(2, len(frames), figsize=(WIDTH, 3.9), squeeze=False)
    for column, (name, frame) in enumerate(frames.items()):
        for row, logarithmic in enumerate((False, True)):
            _loss_panel(grid[row, column], frame, logarithmic)
        grid[0, column].set_title(name)
        grid[0, column].set_ylim(bottom=0)
        grid[0, column].set_xlabel("")
    for row in grid:
        row[0].set_ylabel("cross entropy")
    _train_test_legend(grid[0, 0])
    return figure


def learning_rate_curves(frame: pd.DataFrame) -> Figure:
    """Train and test loss at one learning rate, on linear and on logarithmic axes (Q6, appendix)."""
    figure, (linear, logarithmic) = plt.subplots(1, 2, figsize=(WIDTH, 2.2))
    _loss_panel(linear, frame, logarithmic=False)
    _loss_panel(logarithmic, frame, logarithmic=True)
    linear.set_ylabel("cross entropy")
    linear.set_ylim(bottom=0)
    _train_test_legend(linear)
    return figure


def generalisation_gap(frames: dict[str, pd.DataFrame]) -> Figure:
    """Test loss minus train loss against epochs; a dot marks the epoch of least test loss (Q2)."""
    figure, axes = plt.subplots(figsize=(WIDTH, 2.6))
    labels = []
    for (name, frame), colour in zip(frames.items(), NETWORK_COLOURS, strict=True):
        test = series(frame, "test_loss")["mean"]
        gap = (test - series(frame, "train_loss")["mean"])[test.index > 0]
        axes.plot(gap.index, gap, color=colour)
        best = test[test.index > 0].idxmin()
        axes.plot(best, gap[best], "o", color=colour, markersize=5)
        labels.append((gap.index[-1], gap.iloc[-1], name, colour))
    axes.axhline(0, color=FAINT, linewidth=0.8, zorder=0)
    axes.set_xscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("test loss − train loss")
    _label_ends(axes, labels)
    return figure


def loss_against_seconds(frames: dict[str, pd.DataFrame]) -> Figure:
    """Mean test loss against training seconds (Q2)."""
    figure, axes = plt.subplots(figsize=(WIDTH, 2.4))
    labels = []
    for (name, frame), colour in zip(frames.items(), NETWORK_COLOURS, strict=False):
        rows = frame[(frame["metric"] == "test_loss") & (frame["epoch"] > 0)]
        means = rows.groupby("epoch")[["seconds", "value"]].mean()
        axes.plot(means["seconds"], means["value"], color=colour)
        labels.append((means["seconds"].iloc[-1], means["value"].iloc[-1], name, colour))
    axes.set_xscale("log")
    axes.set_yscale("log")
    _plain_ticks(axes.yaxis)
    axes.set_xlabel("training time in seconds")
    axes.set_ylabel("test cross entropy")
    _label_ends(axes, labels)
    return figure


def learning_rate_summary(table: pd.DataFrame) -> Figure:
    """Final losses and test accuracy over the learning rate (Q6).

    Args:
        table: One row per learning rate: learning_rate, train_loss, test_loss, test_accuracy.
    """
    figure, (losses, accuracies) = plt.subplots(1, 2, figsize=(WIDTH, 2.4))
    for name, style in TRAIN_TEST.items():
        losses.plot(table["learning_rate"], table[f"{name}_loss"], marker="o", markersize=3.5, **style)
    losses.set_yscale("log")
    _plain_ticks(losses.yaxis)
    losses.set_ylabel("final cross entropy")
    _train_test_legend(losses)
    accuracies.plot(
        table["learning_rate"], 100 * table["test_accuracy"], marker="o", markersize=3.5, **TRAIN_TEST["test"]
    )
    accuracies.set_ylabel("final test accuracy in %")
    for axes in (losses, accuracies):
        axes.set_xscale("log")
        axes.set_xlabel("learning rate η")
    return figure


def sharpness(curves: pd.DataFrame) -> Figure:
    """Sharpness relative to 2/η along training, one line per learning rate (Q6).

    Args:
        curves: λ_max η / 2: index epoch, a column per learning rate.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.4))
    colours = RATE_COLOURS(np.linspace(0, 0.9, len(curves.columns)))
    labels = []
    for (rate, line), colour in zip(curves[curves.index > 0].items(), colours, strict=True):
        axes.plot(line.index, line, color=colour)
        labels.append((line.index[-1], line.iloc[-1], f"{rate:g}", colour))
    axes.axhline(1, color=QUIET, linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("sharpness λ$_{max}$ relative to 2/η")
    _label_ends(axes, labels)
    return figure
