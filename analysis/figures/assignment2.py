"""The figures of assignment 2."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import INK, QUIET, RATE_COLOURS, WIDTH, draw_line, label_ends, plain_ticks, series

# SGD is the same line throughout; what it is compared with has its own colour and marker.
SGD: dict[str, Any] = {"color": INK, "marker": "o"}
OPTIMIZER_STYLES: dict[str, dict[str, Any]] = {"sgd": SGD, "adam": {"color": "#e69f00", "marker": "s"}}
ORDER_STYLES: dict[str, dict[str, Any]] = {
    "shuffled": SGD,
    "label_sorted": {"color": "#cc79a7", "marker": "D"},
}
GD_COLOUR = "#009e73"
MARKER = 3.5  # size in points


def _error(accuracy: Any) -> Any:
    """In percent."""
    return 100 * (1 - accuracy)


def _error_axis(axes: Axes) -> None:
    axes.set_yscale("log")
    plain_ticks(axes.yaxis)


def batches(rows: pd.DataFrame) -> Figure:
    """Train loss of every batch size at its best rate against epochs, updates and training time (exercise 1).

    Args:
        rows: As of `tables.assignment2.batch_settings`, at constant rates.
    """
    figure, panels = plt.subplots(1, 3, figsize=(WIDTH, 2.9), sharey=True)
    losses = rows[(rows["metric"] == "train_loss") & (rows["epoch"] > 0)]
    sizes = sorted(losses["batch"].unique())
    for size, colour in zip(sizes, RATE_COLOURS(np.linspace(0, 0.9, len(sizes))), strict=True):
        of_size = losses[losses["batch"] == size]
        runs = of_size[of_size["budget"] == of_size["budget"].max()]
        name = "all" if np.isinf(size) else f"{size:,.0f}"
        style = {"color": colour, "linestyle": "--" if np.isinf(size) else "-", "label": name}
        for axes, x in zip(panels, ("epoch", "update", "seconds"), strict=True):
            means = runs.groupby("epoch")[[x, "value"]].mean() if x != "epoch" else None
            if means is None:
                draw_line(axes, series(runs, "train_loss"), **style)
            else:
                axes.plot(means[x], means["value"], **style)
    for axes, name in zip(panels, ("epoch", "update", "training time in s"), strict=True):
        axes.set_xscale("log")
        axes.set_xlabel(name)
    panels[0].set_yscale("log")
    panels[0].set_ylabel("train cross entropy")
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        title="batch size",
        loc="outside upper center",
        ncols=len(sizes),
        fontsize=8,
        handlelength=1.4,
        columnspacing=1.2,
    )
    return figure


def constant_starts(rows: pd.DataFrame, names: dict[str, str], ceiling: float) -> Figure:
    """Train loss from every start, a column per activation, GD above and SGD below (exercise 2).

    Args:
        rows: As of `tables.assignment2.named_starts`.
        names: The activations, and how they are written.
        ceiling: Of the loss: what lies above is cut off.
    """
    figure, grid = plt.subplots(2, len(names), figsize=(WIDTH, 3.9), sharey=True, sharex="row", squeeze=False)
    starts = ["0", "0.01", "0.1", "1"]
    styles: dict[str, dict[str, Any]] = {
        start: {"color": colour}
        for start, colour in zip(starts, RATE_COLOURS(np.linspace(0, 0.9, len(starts))), strict=True)
    }
    styles |= {"random": {"color": INK, "linewidth": 2.2}, "one unit": {"color": QUIET, "linestyle": ":"}}
    for row, method in zip(grid, ("GD", "SGD"), strict=True):
        for axes, (activation, name) in zip(row, names.items(), strict=True):
            chosen = rows[(rows["method"] == method) & (rows["activation"] == activation)]
            for start, style in styles.items():
                runs = chosen[chosen["start"] == start]
                if len(runs):
                    label = f"all {start}" if start in starts else start
                    draw_line(axes, series(runs, "train_loss"), **style, label=label)
            axes.set_title(f"{method}, {name}")
            axes.set_ylim(0, ceiling)
        row[0].set_ylabel("train cross entropy")
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
    figure.legend(
        *grid[-1, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(styles), fontsize=8
    )
    return figure


def label_image(labels: pd.DataFrame, names: dict[str, str]) -> Figure:
    """One pixel a label, row by row, in each order (exercise 3).

    Args:
        labels: position, and a column of labels per order.
        names: The orders, and how they are written.
    """
    figure, panels = plt.subplots(1, len(names), figsize=(WIDTH, 1.9))
    width = 400
    height = -(-len(labels) // width)
    for axes, (order, name) in zip(panels, names.items(), strict=True):
        pixels = np.full(width * height, np.nan)
        pixels[: len(labels)] = labels.sort_values("position")[order]
        image = axes.imshow(
            pixels.reshape(height, width),
            cmap=RATE_COLOURS,
            vmin=0,
            vmax=9,
            interpolation="nearest",
            aspect="auto",
        )
        axes.set_title(name)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.colorbar(image, ax=list(panels), ticks=range(0, 10, 3), label="label", aspect=12)
    return figure


def stream_rates(ends: pd.DataFrame, window: pd.DataFrame, slow: pd.DataFrame) -> Figure:
    """Test accuracy over the learning rate, in both orders; and along the passes (exercise 3).

    Args:
        ends: order, learning_rate, measure ("test": mean of the last pass, "end": at its end), mean, half (interval).
        window: Rows of the runs at their best rates.
        slow: Rows at the ends of passes of the runs at small rates: method, step (η n), as `tables` gives them.
    """
    figure, (rates, course) = plt.subplots(1, 2, figsize=(WIDTH, 2.9), sharey=True)
    for order, style in ORDER_STYLES.items():
        for measure, line in (("test", "-"), ("end", ":")):
            if order == "shuffled" and measure == "end":
                continue  # there the two are alike
            chosen = ends[(ends["order"] == order) & (ends["measure"] == measure)]
            rates.errorbar(
                chosen["learning_rate"],
                100 * chosen["mean"],
                100 * chosen["half"],
                linestyle=line,
                markersize=MARKER,
                capsize=2,
                **style,
            )
    rates.text(1e-4, 88, "SGD", color=SGD["color"], ha="right")
    rates.text(1e-4, 15, "sorted", color=ORDER_STYLES["label_sorted"]["color"])
    rates.set_xscale("log")
    rates.set_xlabel("learning rate η")
    rates.set_ylabel("test accuracy in %")
    rates.set_ylim(0, 100)
    course.set_xscale("log")
    course.set_xlabel("pass")
    shuffled = window[(window["order"] == "shuffled") & (window["epoch"] >= 1)]
    means = 100 * series(shuffled, "test_accuracy")
    draw_line(course, means, color=SGD["color"])
    course.text(means.index[-1] * 1.1, means["mean"].iloc[-1], "SGD", color=SGD["color"], va="center")
    steps = sorted(slow["step"].unique())
    for step, width in zip(steps, np.linspace(0.9, 1.8, len(steps)), strict=True):
        for method, style in (
            ("gd", {"color": GD_COLOUR, "linestyle": "--"}),
            ("label_sorted", {"color": ORDER_STYLES["label_sorted"]["color"]}),
        ):
            runs = slow[(slow["step"] == step) & (slow["method"] == method) & (slow["epoch"] >= 1)]
            name = "GD" if method == "gd" else "sorted"
            draw_line(
                course,
                100 * series(runs, "test_accuracy"),
                linewidth=width,
                label=f"{name}, ηn = {step:g}",
                **style,
            )
    course.legend(fontsize=8, loc="center left", bbox_to_anchor=(0, 0.5))
    return figure


def within_pass(rows: pd.DataFrame, starts: list[float]) -> Figure:
    """What the sorted stream does within two passes, against shuffled examples (exercise 3).

    Class accuracies of the sorted stream above; test accuracy of both orders; cosine of the next example's gradient
    with the full one below.

    Args:
        rows: Of runs at one learning rate in both orders.
        starts: Where in the sorted pass each label begins, as a share of it.
    """
    figure, (classes, accuracy, cosine) = plt.subplots(
        3, 1, figsize=(WIDTH, 4.3), sharex=True, height_ratios=(1.3, 1, 1)
    )
    of_class = rows[(rows["metric"] == "class_accuracy") & (rows["order"] == "label_sorted")]
    grid = of_class.pivot_table(index="index", columns="epoch", values="value")
    image = classes.pcolormesh(
        grid.columns,
        grid.index,
        100 * grid,
        shading="nearest",
        cmap="cividis",
        vmin=0,
        vmax=100,
        rasterized=True,
    )
    classes.set_yticks(range(0, 10, 3))
    classes.set_ylabel("class")
    figure.colorbar(image, ax=classes, label="accuracy in %", pad=0.01)
    for order, style in ORDER_STYLES.items():
        chosen = rows[rows["order"] == order]
        draw_line(accuracy, 100 * series(chosen, "test_accuracy"), color=style["color"])
        draw_line(cosine, series(chosen, "gradient_cosine"), color=style["color"], linewidth=1)
    passes = int(np.ceil(rows["epoch"].max()))
    for axes in (accuracy, cosine):
        for begin in (begun + start for begun in range(passes) for start in starts):
            axes.axvline(begin, color=QUIET, linewidth=0.4, zorder=0)
    accuracy.set_ylabel("test accuracy in %")
    accuracy.set_ylim(0, 100)
    cosine.set_ylabel("cosine")
    cosine.axhline(0, color=QUIET, linewidth=0.8)
    cosine.set_xlabel("pass")
    cosine.set_xlim(0, passes)
    return figure


def optimizers(numbers: pd.DataFrame, course: pd.DataFrame, names: dict[str, str]) -> Figure:
    """Final test error over the learning rate; test error over epochs at the best rates (exercise 4).

    Args:
        numbers: optimizer, learning_rate, mean and half (interval) of the test accuracy.
        course: Rows of the runs at the best rates.
        names: The optimizers, and how they are written.
    """
    figure, (rates, epochs) = plt.subplots(1, 2, figsize=(WIDTH, 2.7), width_ratios=(1.4, 1), sharey=True)
    labels = []
    for optimizer, style in OPTIMIZER_STYLES.items():
        chosen = numbers[numbers["optimizer"] == optimizer]
        rates.errorbar(
            chosen["learning_rate"],
            _error(chosen["mean"]),
            100 * chosen["half"],
            markersize=MARKER,
            capsize=2,
            **style,
        )
        means = _error(series(course[course["optimizer"] == optimizer], "test_accuracy"))
        means = means[means.index > 0].rename(columns={"min": "max", "max": "min"})
        draw_line(epochs, means, markersize=MARKER, **style)
        labels.append((means.index[-1], means["mean"].iloc[-1], names[optimizer], style["color"]))
    rates.set_xscale("log")
    rates.set_xlabel("learning rate η")
    rates.set_ylabel("test error in %")
    epochs.set_xlabel("epoch")
    _error_axis(rates)
    rates.set_ylim(1.5, 100)
    label_ends(epochs, labels)
    return figure
