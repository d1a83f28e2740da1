"""The figures of assignment 1."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures import (
    FAINT,
    INK,
    NETWORK_COLOURS,
    QUIET,
    RATE_COLOURS,
    TRAIN_TEST,
    WIDTH,
    draw_line,
    label_ends,
    plain_ticks,
    series,
    train_test_legend,
)
from analysis.tables.assignment1 import ACTIVATIONS

# By loss, and by encoding where they are its losses (Q4 and Q5).
LOSS_STYLES: dict[str, dict[str, Any]] = {
    "cross entropy": {"color": INK},
    "quadratic, softmax": {"color": "#009e73", "linestyle": (0, (5, 1.5))},
    "quadratic, sigmoid": {"color": "#cc79a7", "linestyle": (0, (1.5, 1))},
}

DEPTH_STYLES: dict[int, dict[str, Any]] = {  # by number of hidden layers (Q3)
    1: {"marker": "o", "linestyle": "-"},
    2: {"marker": "^", "linestyle": (0, (4, 1.5))},
    3: {"marker": "s", "linestyle": (0, (1.5, 1))},
}
ENCODING_STYLES: dict[str, dict[str, Any]] = {  # the first two are losses of Q4
    "one-hot, cross entropy": {"color": INK, "marker": "o"},
    "one-hot, quadratic": {"color": "#cc79a7", "marker": "s"},
    "single output, quadratic": {"color": "#e69f00", "marker": "^"},
}
ACTIVATION_STYLES: dict[str, dict[str, Any]] = {
    "sigmoid": {"color": INK, "marker": "o"},
    "tanh": {"color": "#009e73", "marker": "s"},
    "relu": {"color": "#e69f00", "marker": "^"},
}
BIAS, VARIANCE = "#009e73", "#cc79a7"


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
        draw_line(axes, summary[summary.index > 0] if logarithmic else summary, **style)
    if logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
        plain_ticks(axes.yaxis)
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
    train_test_legend(grid[0, 0])
    return figure


def learning_rate_curves(frame: pd.DataFrame) -> Figure:
    """Train and test loss at one learning rate, on linear and on logarithmic axes (Q6, appendix)."""
    figure, (linear, logarithmic) = plt.subplots(1, 2, figsize=(WIDTH, 2.2))
    _loss_panel(linear, frame, logarithmic=False)
    _loss_panel(logarithmic, frame, logarithmic=True)
    linear.set_ylabel("cross entropy")
    linear.set_ylim(bottom=0)
    train_test_legend(linear)
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
    label_ends(axes, labels)
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
    plain_ticks(axes.yaxis)
    axes.set_xlabel("training time in seconds")
    axes.set_ylabel("test cross entropy")
    label_ends(axes, labels)
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
    plain_ticks(losses.yaxis)
    losses.set_ylabel("final cross entropy")
    train_test_legend(losses)
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
    label_ends(axes, labels)
    return figure


def losses(gradients: pd.DataFrame, trained: pd.DataFrame) -> Figure:
    """First gradients of each loss over the raised bias; accuracies from the usual and from the wrong start (Q4).

    Args:
        gradients: Norm at the start by name, bias and seed.
        trained: Rows of the trained runs, with name and bias.
    """
    figure, (norms, usual, wrong) = plt.subplots(1, 3, figsize=(WIDTH, 2.5), width_ratios=(0.9, 1, 1))
    usual.sharey(wrong)
    for name, style in LOSS_STYLES.items():
        mean = gradients[gradients["name"] == name].groupby("bias")["norm"].mean()
        norms.plot(mean.index, mean, marker="o", markersize=3, label=name, **style)
        for axes, start in ((usual, trained["bias"] == 0), (wrong, trained["bias"] > 0)):
            summary = series(trained[start & (trained["name"] == name)], "test_accuracy")
            draw_line(axes, 100 * summary, **style)
    norms.set_yscale("log")
    norms.set_xticks(sorted(gradients["bias"].unique()))
    norms.set_xlabel("bias raised by s")
    norms.set_ylabel("norm of the first gradient")
    usual.legend(*norms.get_legend_handles_labels(), loc="lower right", fontsize=8)
    usual.set_ylabel("test accuracy in %")
    for axes, title in (
        (usual, "usual start"),
        (wrong, "wrong start, s = {:g}".format(gradients["bias"].max())),
    ):
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.set_ylim(0, 100)
    return figure


def capacity(runs: pd.DataFrame, parts: pd.DataFrame) -> Figure:
    """Train and test errors over β above, bias² and variance below, a column per number of training examples (Q3).

    Args:
        runs: One row per run: examples, depth, beta, train_accuracy, test_accuracy.
        parts: examples (some of those), depth, beta, bias2, variance, squared_error.
    """
    sizes = sorted(runs["examples"].unique())
    figure, grid = plt.subplots(2, len(sizes), figsize=(WIDTH, 3.8), sharex=True, sharey="row", squeeze=False)
    for column, examples in enumerate(sizes):
        above, below = grid[:, column]
        above.set_title(f"{examples:,} examples")
        _over_beta(
            above,
            runs[runs["examples"] == examples].assign(
                **{f"{part}_error": 100 * (1 - runs[f"{part}_accuracy"]) for part in ("train", "test")}
            ),
            {f"{name}_error": style["color"] for name, style in TRAIN_TEST.items()},
        )
        above.set_yscale("log")
        plain_ticks(above.yaxis)
        above.set_ylim(bottom=LEAST_ERROR)
        chosen = parts[parts["examples"] == examples]
        if len(chosen):
            _over_beta(below, chosen, {"squared_error": QUIET, "bias2": BIAS, "variance": VARIANCE})
            below.set_yscale("log")
            plain_ticks(below.yaxis)
            below.set_xlabel("number of parameters β")
        else:
            _depth_legend(below)
            above.tick_params(labelbottom=True)
            above.set_xlabel("number of parameters β")
        above.set_xscale("log")
    _capacity_labels(*grid[:, 0])
    grid[0, 0].set_ylabel("error in %")
    grid[1, 0].set_ylabel("squared error")
    return figure


LEAST_ERROR = 0.02  # in %: where an error of 0 is drawn on a logarithmic axis


def _over_beta(axes: Axes, frame: pd.DataFrame, colours: dict[str, str]) -> None:
    """The mean of some columns over β, a line per depth."""
    for depth, of_depth in frame.groupby("depth"):
        for column, colour in colours.items():
            mean = of_depth.groupby("beta")[column].mean().clip(lower=LEAST_ERROR)
            axes.plot(mean.index, mean, color=colour, markersize=3.5, label=column, **DEPTH_STYLES[depth])


def _capacity_labels(above: Axes, below: Axes) -> None:
    """Names the lines of the first column, on the side where each has room."""
    for axes, names in (
        (above, {"test_error": ("test", -1, 5), "train_error": ("train", 4, 5)}),
        (below, {"squared_error": ("bias² + variance", -1, 5), "bias2": ("bias²", -1, -9)}),
        (below, {"variance": ("variance", -1, -9)}),
    ):
        for line in axes.lines:
            if line.get_label() in names:
                text, point, offset = names.pop(str(line.get_label()))  # the first is of one hidden layer
                side = "right" if point == -1 else "left"
                axes.annotate(
                    text,
                    (np.asarray(line.get_xdata())[point], np.asarray(line.get_ydata())[point]),
                    xytext=(0, offset),
                    textcoords="offset points",
                    ha=side,
                    va="center",
                    fontsize=8,
                    color=line.get_color(),
                )


def _depth_legend(axes: Axes) -> None:
    """Names the markers in a panel of its own."""
    handles = [
        Line2D(
            [],
            [],
            color=INK,
            markersize=3.5,
            label=f"{depth} hidden layer{'s' if depth > 1 else ''}",
            **style,
        )
        for depth, style in DEPTH_STYLES.items()
    ]
    axes.legend(handles=handles, loc="center", fontsize=8, handlelength=2.6)
    axes.set_axis_off()


def encodings(confusions: pd.DataFrame, accuracies: pd.DataFrame) -> Figure:
    """Confusions of two encodings with the same loss, and accuracies under every numbering of the digits (Q5).

    Args:
        confusions: name, numbering, true, predicted, count.
        accuracies: Index seed, columns (name, numbering).
    """
    figure, panels = plt.subplots(1, 3, figsize=(WIDTH, 2.35), width_ratios=(1, 1, 1.05))
    for axes, name in zip(panels, ("single output, quadratic", "one-hot, quadratic"), strict=False):
        chosen = confusions[(confusions["name"] == name) & (confusions["numbering"] == 0)]
        counts = chosen.pivot(index="true", columns="predicted", values="count").to_numpy()
        shares = 100 * counts / counts.sum(1, keepdims=True)
        image = axes.imshow(shares, cmap="gray_r", norm=PowerNorm(0.5, vmin=0, vmax=100))
        axes.set_title(name.removesuffix(", quadratic"))
        axes.set_xlabel("read as")
        axes.set_xticks(range(0, 10, 3))
        axes.set_yticks(range(0, 10, 3))
    panels[0].set_ylabel("digit")
    bar = figure.colorbar(image, ax=panels[:2], shrink=0.75, pad=0.02)
    bar.ax.set_title("%", fontsize=8, loc="center")
    bar.set_ticks([0, 5, 25, 100])
    axes = panels[2]
    for name, style in ENCODING_STYLES.items():
        of_encoding = 100 * accuracies[name]
        for numbering, column in of_encoding.items():
            axes.plot([numbering] * len(column), column, linestyle="", markersize=3.5, **style)
        above = of_encoding.to_numpy().max()
        offset = -8 if name == "one-hot, quadratic" else 8
        axes.annotate(
            name,
            (1.5, above if offset > 0 else of_encoding.to_numpy().min()),
            xytext=(0, offset),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8,
            color=style["color"],
        )
    axes.set_xticks(list(accuracies.columns.levels[1]))
    axes.set_xlim(-0.5, len(accuracies.columns.levels[1]) - 0.5)
    axes.set_ylim(40, 106)
    axes.set_xlabel("numbering of the digits")
    axes.set_ylabel("test accuracy in %")
    return figure


def vanishing_gradient(norms: pd.DataFrame, first: pd.DataFrame) -> Figure:
    """Gradient norms at the start over layers and depth, and during training of 784-300-10 (Q7).

    Args:
        norms: Of every network: activation, skip, depth, epoch, update, index (the layer), value.
        first: Norm of the first layer at the start: index activation and skip, a column per depth.
    """
    figure, panels = plt.subplots(1, 3, figsize=(WIDTH, 2.6), subplot_kw={"yscale": "log"})
    layers, depths, training = panels
    deepest = norms["depth"].max()
    start = norms[(norms["update"] == 0) & (norms["depth"] == deepest)]
    for activation, style in ACTIVATION_STYLES.items():
        for skip, line in ((False, "-"), (True, (0, (2, 1)))):
            chosen = start[(start["activation"] == activation) & (start["skip"] == skip)]
            mean = chosen.groupby("index")["value"].mean()
            drawn = {**style, "linestyle": line, "markersize": 3.5}
            layers.plot(mean.index, mean, **drawn)
            by_depth = first.loc[(activation, skip)].dropna()
            depths.plot(by_depth.index, by_depth, **drawn)
    layers.set_title(f"{deepest} hidden layers, start")
    layers.set_xlabel("layer")
    layers.set_ylabel("gradient norm")
    depths.set_title("first layer, start")
    depths.set_xlabel("hidden layers")
    handles = [
        Line2D([], [], label=ACTIVATIONS[name], markersize=3.5, **style)
        for name, style in ACTIVATION_STYLES.items()
    ]
    handles.append(Line2D([], [], label="with skip", color=QUIET, linestyle=(0, (2, 1))))
    layers.legend(handles=handles, loc="lower right", fontsize=8, handlelength=1.6, borderpad=0)
    layers.set_ylim(bottom=start["value"].min() / 100)  # room for the legend
    layers.set_xticks(range(1, deepest + 2, 2))
    depths.set_xticks(list(first.columns))
    labels = []
    for depth, shown in ((1, (1, 2)), (2, (1,)), (4, (1,)), (deepest, (1,))):
        sigmoid = norms[(norms["activation"] == "sigmoid") & ~norms["skip"] & (norms["depth"] == depth)]
        for layer in shown:
            mean = sigmoid[sigmoid["index"] == layer].groupby("epoch")["value"].mean()
            style = {"color": INK if depth == 1 else QUIET, "linestyle": "-" if layer == 1 else ":"}
            training.plot(mean.index, mean, **style)
            name = f"depth {depth}" if len(shown) == 1 else f"300, layer {layer}"
            labels.append((mean.index[-1], mean.iloc[-1], name, style["color"]))
    training.set_title("sigmoid, training")
    training.set_xlabel("epoch")
    label_ends(training, labels)
    return figure
