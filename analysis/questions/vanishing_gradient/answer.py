"""Q7, vanishing gradients: not with one hidden layer, but with many of them, unless connections skip them."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis import statistics
from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding, statement
from analysis.formatting import (
    count_words,
    format_count,
    format_fixed,
    format_percent,
    format_scientific,
    join_english,
    label,
)
from analysis.plotting import INK, MARKER, QUIET, WIDTH, label_ends, line_style, write_in
from analysis.questions.vanishing_gradient import runs
from analysis.results import Results

SKIP_LINES: dict[bool, Any] = {False: "-", True: (0, (2, 1))}
TRAINING_DEPTHS = (1, 2, 4)  # whose gradients are drawn along training, beside those of the largest depth


def activations(rows: pd.DataFrame) -> list[str]:
    """Return the activations in the order of the runs."""
    return [str(name) for name in rows["activation"].unique()]


def gradient_norms(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the gradient norms, each network at its better rate, with its depth; index: the layer."""
    return _with_depth(rows, "gradient_norm")


def first_layer_norms(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the initial norm of the first layer's gradient, mean over seeds.

    Returns:
        Index activation and skip, a column per depth.
    """
    norms = gradient_norms(rows)
    start = norms[(norms["update"] == 0) & (norms["index"] == 1)]
    return start.groupby(["activation", "skip", "depth"])["value"].mean().unstack()


def depth_factors(rows: pd.DataFrame) -> dict[str, float]:
    """Return by what each further hidden layer multiplies the first layer's gradient, without skip connections.

    Geometric means from the least depth to the largest, by activation.
    """
    plain = first_layer_norms(rows).xs(False, level="skip")
    shallow, deep = plain.columns[0], plain.columns[-1]
    factors = (plain[deep] / plain[shallow]) ** (1 / (deep - shallow))
    return {name: float(factors[name]) for name in activations(rows)}


def final_accuracies(rows: pd.DataFrame) -> pd.DataFrame:
    """Return test accuracies, mean over seeds; index and columns as of `first_layer_norms`."""
    accuracy = _with_depth(rows, "test_accuracy")
    last = accuracy[accuracy["update"] == accuracy["update"].max()]
    return last.groupby(["activation", "skip", "depth"])["value"].mean().unstack()


def _with_depth(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return a metric's rows, each network at its better rate, with its number of hidden layers."""
    chosen = statistics.at_best_rates(rows, ["hidden", "activation", "skip"])
    found = chosen[chosen["metric"] == metric]
    return found.assign(depth=found["hidden"].str.count("-") + 1)


# Exhibits


@exhibit(
    "fig-vanishing",
    "vanishing_gradient",
    explore=(
        "metric=gradient_norm&ylog=1"
        "&run=hidden:300-300-300-300-300-300-300-300,activation:sigmoid,skip:false,learning_rate:0.1"
        "&pin=skip:true"
        "&pin=hidden:300"
    ),
)
def gradients_by_layer(found: Results) -> Picture:
    """Draw gradient norms at initialization over layers and depth, and during training with sigmoids."""
    norms, first = gradient_norms(found.rows), first_layer_norms(found.rows)
    names = activations(found.rows)
    figure, (layers, depths, training) = plt.subplots(
        1, 3, figsize=(WIDTH, 2.6), subplot_kw={"yscale": "log"}
    )
    deepest = norms["depth"].max()
    start = norms[(norms["update"] == 0) & (norms["depth"] == deepest)]
    for name in names:
        for skip, line in SKIP_LINES.items():
            chosen = start[(start["activation"] == name) & (start["skip"] == skip)]
            mean = chosen.groupby("index")["value"].mean()
            style = {**line_style(name), "linestyle": line, "markersize": MARKER}
            layers.plot(mean.index, mean, **style)
            by_depth = first.loc[(name, skip)].dropna()
            depths.plot(by_depth.index, by_depth, **style)
    layers.set_title(f"{deepest} hidden layers, start")
    layers.set_xlabel("layer")
    layers.set_ylabel("gradient norm")
    depths.set_title("first layer, start")
    depths.set_xlabel("hidden layers")
    handles = [Line2D([], [], label=label(name), markersize=MARKER, **line_style(name)) for name in names]
    handles.append(Line2D([], [], label="with skip", color=QUIET, linestyle=SKIP_LINES[True]))
    layers.legend(handles=handles, loc="lower right", fontsize=8, handlelength=1.6, borderpad=0)
    layers.set_ylim(bottom=start["value"].min() / 100)  # room for the legend
    layers.set_xticks(range(1, deepest + 2, 2))
    depths.set_xticks(list(first.columns))
    _draw_training(training, norms[(norms["activation"] == "sigmoid") & ~norms["skip"]])
    return Picture(
        figure,
        "Norm of the training loss's gradient, one layer at a time, in networks with hidden layers of "
        f"{runs.WIDTH} units. Left: at the start, with {count_words(deepest, 'hidden layer')}. Middle: in the first "
        "layer, at the start. Right: with sigmoids during training, in the first layer unless said otherwise. Means "
        "over the seeds.",
        "Left: with sigmoids the norm falls by orders of magnitude from the last layer to the first, with tanh and "
        "ReLU less; with skip connections all layers have a similar norm. Middle: the first layer's norm falls with "
        "depth unless there are skip connections. Right: the norms of 784-300-10 stay level, those of deeper networks "
        "start lower.",
    )


def _draw_training(axes: Axes, norms: pd.DataFrame) -> None:
    """Draw norms during training: of both layers with one hidden layer, else of the first layer."""
    present = sorted(norms["depth"].unique())
    labels = []
    for depth in [*(depth for depth in present if depth in TRAINING_DEPTHS), present[-1]]:
        for layer in (1, 2) if depth == 1 else (1,):
            chosen = norms[(norms["depth"] == depth) & (norms["index"] == layer)]
            mean = chosen.groupby("epoch")["value"].mean()
            style: dict[str, Any] = {
                "color": INK if depth == 1 else QUIET,
                "linestyle": "-" if layer == 1 else ":",
            }
            axes.plot(mean.index, mean, **style)
            name = f"{runs.WIDTH}, layer {layer}" if depth == 1 else f"depth {depth}"
            labels.append((mean.index[-1], mean.iloc[-1], name, style["color"]))
    axes.set_title("sigmoid, training")
    axes.set_xlabel("epoch")
    label_ends(axes, labels)


@exhibit("tbl-vanishing", "vanishing_gradient")
def accuracies_table(found: Results) -> Table:
    """Tabulate what the networks learn, over depth."""
    accuracies = final_accuracies(found.rows)
    lines = [
        {
            "Activation": label(name),
            "Skip": "yes" if skip else "no",
            **{
                str(depth): "–" if math.isnan(value) else format_percent(value)
                for depth, value in accuracies.loc[(name, skip)].items()
            },
        }
        for name in activations(found.rows)
        for skip in SKIP_LINES
    ]
    rates = count_words(found.rows["learning_rate"].nunique(), "learning rate")
    return Table(
        pd.DataFrame(lines),
        f"Test accuracy by number of hidden layers (of {runs.WIDTH} units), each network at the better of {rates} on "
        "validation data, means over the seeds; few examples and epochs, alike for all.",
    )


@sketch("vanishing_gradient", alt="The first gradient falls with depth, but not with skip connections.")
def sketch_of_depths(axes: Axes, found: Results) -> None:
    norms = first_layer_norms(found.rows)
    for skip, line in SKIP_LINES.items():
        by_depth = norms.loc[("sigmoid", skip)].dropna()
        axes.plot(by_depth.index, by_depth, color=line_style("sigmoid")["color"], linestyle=line)
    axes.set_yscale("log")
    write_in(axes, 0.3, 0.68, "skip connections", INK)
    write_in(axes, 0.03, 0.1, "sigmoid layers", INK)


# Findings


@finding("vanishing_gradient", headline=True)
def shallow_gradient_does_not_vanish(found: Results) -> Evidence:
    norms = gradient_norms(found.rows)
    shallow = norms[(norms["depth"] == 1) & (norms["activation"] == "sigmoid")]
    means = shallow.groupby(["epoch", "index"])["value"].mean().unstack()
    ratio = means[1] / means[2]
    return Evidence(
        "No: with two weight layers, $\\sigma'$ enters its first layer's gradient only once. At the start, the "
        f"gradient's norm is {format_fixed(means[1].iloc[0], 2)} in the first layer and "
        f"{format_fixed(means[2].iloc[0], 2)} in the second, and in {format_count(int(means.index[-1]), 'epoch')} of "
        f"training the first layer's never falls below {format_percent(ratio.min(), 0)} of the second's.",
        {"the first layer's norm is always above 10 % of the second's": bool(ratio.min() > 0.1)},
        "Not with one hidden layer; each further sigmoid layer weakens it about sevenfold.",
    )


@finding("vanishing_gradient")
def depth_makes_the_gradient_vanish(found: Results) -> Evidence:
    norms = first_layer_norms(found.rows)
    deep = norms.columns[-1]
    factors = depth_factors(found.rows)
    named = join_english(
        f"{format_fixed(factor, 2)} with {'the sigmoid' if name == 'sigmoid' else label(name)}"
        for name, factor in factors.items()
    )
    return Evidence(
        f"Measured, every further hidden layer multiplies the first layer's gradient by {named} (geometric means up to "
        f"{format_count(deep, 'hidden layer')}); with the sigmoid it ends at "
        f"{format_scientific(norms.loc[('sigmoid', False), deep])}.",
        {
            "the sigmoid's factor is below 1/4": factors["sigmoid"] < 0.25,
            "every activation's factor is below 1": max(factors.values()) < 1,
        },
    )


@finding("vanishing_gradient")
def skip_keeps_the_gradient(found: Results) -> Evidence:
    norms = first_layer_norms(found.rows)
    shallow, deep = norms.columns[0], norms.columns[-1]
    ratios = {
        name: norms.loc[(name, True), deep] / norms.loc[(name, False), shallow]
        for name in activations(found.rows)
    }
    return Evidence(
        "With skip connections the first layer's gradient is no smaller with "
        f"{format_count(deep, 'hidden layer')} than with one "
        f"({join_english(format_fixed(ratio, 1) for ratio in ratios.values())} times it for "
        f"{join_english(map(label, ratios))}).",
        {
            "with every activation it is more than 90 % of that with one hidden layer": min(ratios.values())
            > 0.9
        },
    )


@statement("vanishing_gradient", said="ReLU makes gradients explode.")
def relu_explodes(found: Results) -> Evidence:
    factor = depth_factors(found.rows)["relu"]
    return Evidence(
        "With ReLU every further hidden layer multiplies the first layer's gradient by "
        f"{format_fixed(factor, 2)} (geometric mean).",
        {"the factor is above 1": factor > 1},
    )


@statement(said="Residual connections set weights to 0 at random.")
def residual_connections_drop() -> Evidence:
    return Evidence(
        "They add a layer's input to its output; setting values to 0 at random is dropout (@sec-q7).",
        {"they set something to 0 at random": False},
    )
