"""Q7, vanishing gradients: not with one hidden layer, but with many of them, unless connections skip them."""

from __future__ import annotations

import math
from dataclasses import dataclass
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
    format_scientific,
    join_english,
    label,
)
from analysis.plotting import INK, MARKER, QUIET, WIDTH, label_ends, line_style, write_in
from analysis.questions.vanishing_gradient import runs
from analysis.results import Results, remembered
from analysis.statistics import Interval, t_interval

SKIP_LINES: dict[bool, Any] = {False: "-", True: (0, (2, 1))}


@dataclass(frozen=True)
class Factor:
    """By what a layer multiplies an error: as the text writes it, and its value."""

    formula: str
    value: float


# With weights of variance 1/(3h): slopes of about 1/4, about 1, and 1 for one unit of two.
PREDICTED = {
    "sigmoid": Factor(r"1/(4\sqrt 3)", 1 / (4 * math.sqrt(3))),
    "tanh": Factor(r"1/\sqrt 3", 1 / math.sqrt(3)),
    "relu": Factor(r"1/\sqrt 6", 1 / math.sqrt(6)),
}
STUCK = 0.15  # test accuracy of a network that has learnt nothing, at most
TRAINING_DEPTHS = (1, 2, 4)  # whose gradients are drawn along training, beside those of the largest depth


def activations(rows: pd.DataFrame) -> list[str]:
    """Return the activations in the order of the runs."""
    return [str(name) for name in rows["activation"].unique()]


def layer_values(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the rows of a metric per layer, each network at its better rate, with its depth; index: the layer."""
    return _with_depth(rows, metric)


@remembered
def relative_updates(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the relative size of a step per unit of η, ‖∂R/∂W_l‖ / ‖W_l‖ with biases included.

    Without η, which differs between the networks, so that they can be compared.

    Returns:
        Columns activation, skip, depth, seed, epoch, update, index (the layer), value.
    """
    by = ["activation", "skip", "depth", "seed", "epoch", "update", "index"]
    gradient, weight = (
        layer_values(rows, metric).set_index(by)["value"] for metric in ("gradient_norm", "weight_norm")
    )
    return (gradient / weight).rename("value").reset_index()


def first_layer_updates(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the first layer's relative update per unit of η at the start, mean over seeds.

    Returns:
        Index activation and skip, a column per depth.
    """
    updates = relative_updates(rows)
    start = updates[(updates["update"] == 0) & (updates["index"] == 1)]
    return start.groupby(["activation", "skip", "depth"])["value"].mean().unstack()


@remembered
def layer_factors(rows: pd.DataFrame) -> dict[str, Interval]:
    """Return by what each hidden layer multiplies the error on its way down, without skip connections.

    The geometric mean over the layers of the deepest network at the start, by activation, over seeds.
    """
    errors = layer_values(rows, "error_norm")
    deepest = errors["depth"].max()
    start = errors[(errors["update"] == 0) & (errors["depth"] == deepest) & ~errors["skip"]]
    table = start.pivot(index=["activation", "seed"], columns="index", values="value")
    factors = (table[1] / table[deepest]) ** (1 / (deepest - 1))
    return {name: t_interval(factors[name]) for name in activations(rows)}


def final_accuracies(rows: pd.DataFrame) -> pd.DataFrame:
    """Return test accuracies, mean over seeds; index and columns as of `first_layer_updates`."""
    return _accuracies_of_seeds(rows).groupby(["activation", "skip", "depth"]).mean().unstack()


@remembered
def _accuracies_of_seeds(rows: pd.DataFrame) -> pd.Series[float]:
    accuracy = _with_depth(rows, "test_accuracy")
    last = accuracy[accuracy["update"] == accuracy["update"].max()]
    return last.set_index(["activation", "skip", "depth", "seed"])["value"]


def _with_depth(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return a metric's rows, each network at its better rate, with its number of hidden layers."""
    chosen = _at_better_rates(rows)
    return chosen[chosen["metric"] == metric]


@remembered
def _at_better_rates(rows: pd.DataFrame) -> pd.DataFrame:
    chosen = statistics.at_best_rates(rows, ["hidden", "activation", "skip"])
    return chosen.assign(depth=chosen["hidden"].str.count("-") + 1)


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
def errors_and_updates(found: Results) -> Picture:
    """Draw errors over layers, relative updates of the first layer over depth, and those during training."""
    errors, first = layer_values(found.rows, "error_norm"), first_layer_updates(found.rows)
    names = activations(found.rows)
    figure, (layers, depths, training) = plt.subplots(
        1, 3, figsize=(WIDTH, 2.5), subplot_kw={"yscale": "log"}
    )
    deepest = errors["depth"].max()
    start = errors[(errors["update"] == 0) & (errors["depth"] == deepest)]
    for name in names:
        for skip, line in SKIP_LINES.items():
            chosen = start[(start["activation"] == name) & (start["skip"] == skip)]
            mean = chosen.groupby("index")["value"].mean()
            style = {**line_style(name), "linestyle": line, "markersize": MARKER}
            layers.plot(mean.index, mean, **style)
            by_depth = first.loc[(name, skip)].dropna()
            depths.plot(by_depth.index, by_depth, **style)
            if not skip and name in PREDICTED:
                hidden = range(1, deepest + 1)
                predicted = [mean[deepest] * PREDICTED[name].value ** (deepest - layer) for layer in hidden]
                layers.plot(hidden, predicted, color=style["color"], linestyle=":", linewidth=0.9)
    layers.set_title(f"{deepest} hidden layers, start")
    layers.set_xlabel("layer l")
    layers.set_ylabel("size of the error δ$_l$")
    depths.set_title("first layer, start")
    depths.set_xlabel("hidden layers")
    depths.set_ylabel("relative update / η")
    handles = [Line2D([], [], label=label(name), markersize=MARKER, **line_style(name)) for name in names]
    handles.append(Line2D([], [], label="with skip", color=QUIET, linestyle=SKIP_LINES[True]))
    handles.append(Line2D([], [], label="predicted", color=QUIET, linestyle=":", linewidth=0.9))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8)
    layers.set_xticks(range(1, deepest + 2, 2))
    depths.set_xticks(list(first.columns))
    updates = relative_updates(found.rows)
    _draw_training(training, updates[(updates["activation"] == "sigmoid") & ~updates["skip"]])
    return Picture(
        figure,
        f"Networks with hidden layers of {runs.WIDTH} units. Left: root mean square of $\\lVert\\delta_l\\rVert$ over "
        f"the training examples at the start, with {count_words(deepest, 'hidden layer')}, and what (-@eq-factors) "
        "predicts from the last hidden layer down. Middle: relative update of the first layer at the start, divided by "
        "$\\eta$. Right: the same with sigmoids during training, by number of hidden layers, of the first layer, "
        "and with one hidden layer of the second too. Means over the seeds.",
        "Left: with sigmoids the error falls by orders of magnitude from the last layer to the first, with tanh and "
        "ReLU less; with skip connections it does not. Middle: the first layer's update falls with depth unless there "
        "are skip connections. Right: the updates of 784-300-10 come to one size, those of the deepest "
        "networks stay smaller by far.",
    )


def _draw_training(axes: Axes, updates: pd.DataFrame) -> None:
    """Draw relative updates during training: of both layers with one hidden layer, else of the first layer."""
    present = sorted(updates["depth"].unique())
    labels = []
    for depth in [*(depth for depth in present if depth in TRAINING_DEPTHS), present[-1]]:
        for layer in (1, 2) if depth == 1 else (1,):
            chosen = updates[(updates["depth"] == depth) & (updates["index"] == layer)]
            mean = chosen.groupby("epoch")["value"].mean()
            style: dict[str, Any] = {
                "color": INK if depth == 1 else QUIET,
                "linestyle": "-" if layer == 1 else (0, (4, 1.5)),
            }
            axes.plot(mean.index, mean, **style)
            name = f"1 (layer {layer})" if depth == 1 else f"{depth}"
            labels.append((mean.index[-1], mean.iloc[-1], name, style["color"]))
    axes.set_title("sigmoid, training")
    axes.set_xlabel("epoch")
    label_ends(axes, labels)


@exhibit("tbl-factors", "vanishing_gradient")
def factors_table(found: Results) -> Table:
    """Tabulate predicted and measured factors."""
    lines = [
        {
            "Activation": label(name),
            "Predicted": f"${PREDICTED[name].formula} = {PREDICTED[name].value:.3f}$"
            if name in PREDICTED
            else "–",
            "Measured": f"{factor.mean:.3f} ± {factor.half_width:.3f}"
            if factor.n > 1
            else f"{factor.mean:.3f}",
        }
        for name, factor in layer_factors(found.rows).items()
    ]
    return Table(
        pd.DataFrame(lines),
        "Factor by which a hidden layer multiplies the size of the error on its way down at the start: geometric mean "
        "over the layers of the deepest network without skip connections, with 95 % t interval over the seeds.",
    )


@exhibit("tbl-vanishing", "vanishing_gradient")
def accuracies_table(found: Results) -> Table:
    """Tabulate what the networks learn, over depth."""
    by = ["activation", "skip", "depth"]
    accuracies = 100 * _accuracies_of_seeds(found.rows)
    summary = accuracies.groupby(by).agg(["mean", "min", "max"])
    words = summary.apply(
        lambda line: f"{line['mean']:.0f} ({line['min']:.0f}–{line['max']:.0f})", axis="columns"
    )
    table = words.unstack().fillna("–")
    lines = [
        {
            "Activation": label(name),
            "Skip": "yes" if skip else "no",
            **{str(depth): cell for depth, cell in table.loc[(name, skip)].items()},
        }
        for name in activations(found.rows)
        for skip in SKIP_LINES
    ]
    rates = count_words(found.rows["learning_rate"].nunique(), "learning rate")
    return Table(
        pd.DataFrame(lines),
        f"Test accuracy in % by number of hidden layers (of {runs.WIDTH} units), each network at the better of {rates} "
        f"on validation data: mean, least and largest of {count_words(found.rows['seed'].nunique(), 'seed')}; few "
        "examples and epochs, alike for all.",
    )


@sketch("vanishing_gradient", alt="The first gradient falls with depth, but not with skip connections.")
def sketch_of_depths(axes: Axes, found: Results) -> None:
    updates = first_layer_updates(found.rows)
    for skip, line in SKIP_LINES.items():
        by_depth = updates.loc[("sigmoid", skip)].dropna()
        axes.plot(by_depth.index, by_depth, color=line_style("sigmoid")["color"], linestyle=line)
    axes.set_yscale("log")
    write_in(axes, 0.3, 0.68, "skip connections", INK)
    write_in(axes, 0.03, 0.1, "sigmoid layers", INK)


# Findings


@finding("vanishing_gradient", headline=True)
def shallow_gradient_does_not_vanish(found: Results) -> Evidence:
    updates = relative_updates(found.rows)
    shallow = updates[(updates["depth"] == 1) & ~updates["skip"]]
    means = shallow.groupby(["activation", "epoch", "index"])["value"].mean().unstack()
    ratio = means[1] / means[2]
    sigmoid, tanh = ratio["sigmoid"], ratio["tanh"]
    shrinks = 1 / layer_factors(found.rows)["sigmoid"].mean
    return Evidence(
        "No: $\\sigma'$ enters the first layer's gradient only once. That slows this layer at the start, where it "
        f"moves, relative to its weights, {format_fixed(sigmoid.iloc[0], 2)} times as fast as the second, with tanh "
        f"{format_fixed(tanh.iloc[0], 2)} times. But from the first epoch on, with sigmoids, it moves "
        f"{format_fixed(sigmoid.iloc[1:].min(), 2)} to {format_fixed(sigmoid.iloc[1:].max(), 2)} times as fast.",
        {
            "at the start the first layer is slower with sigmoids than with tanh": bool(
                sigmoid.iloc[0] < tanh.iloc[0] / 2
            ),
            "after the start, the first layer's relative update is above 10 % of the second's": bool(
                sigmoid.iloc[1:].min() > 0.1
            ),
            "it is largest at the end": bool(sigmoid.idxmax() == sigmoid.index[-1]),
        },
        f"Not with one hidden layer; each further layer of sigmoids divides the gradient by {shrinks:.0f}.",
    )


@finding("vanishing_gradient")
def factors_are_as_predicted(found: Results) -> Evidence:
    off = {
        name: factor.mean / PREDICTED[name].value - 1
        for name, factor in layer_factors(found.rows).items()
        if name in PREDICTED
    }
    worst = max(off, key=lambda name: abs(off[name]))
    return Evidence(
        f"The measured factors lie within {math.ceil(100 * abs(off[worst]))} % of the predicted ones.",
        {"all within a tenth": abs(off[worst]) < 0.1},
    )


@finding("vanishing_gradient")
def depth_makes_the_gradient_vanish(found: Results) -> Evidence:
    updates = first_layer_updates(found.rows)
    shallow, deep = updates.columns[0], updates.columns[-1]
    share = updates[deep].xs(False, level="skip") / updates[shallow].xs(False, level="skip")
    accuracy = final_accuracies(found.rows).loc[("sigmoid", False)]
    stuck = accuracy.index[accuracy < STUCK]
    from_on = f"from {count_words(stuck.min())} such layers on" if len(stuck) else "with none of these depths"
    return Evidence(
        f"With {format_count(deep, 'hidden layer')} of sigmoids the first layer's relative update is "
        f"{format_scientific(share['sigmoid'])} of what it is with one; {from_on}, nothing is learnt within this "
        "budget (@tbl-vanishing).",
        {
            "with sigmoids less than a thousandth is left": bool(share["sigmoid"] < 1e-3),
            "with every activation less is left than with one layer": bool((share < 1).all()),
            "sigmoid networks stay at chance from some depth on": len(stuck) > 0
            and bool((accuracy[accuracy.index >= stuck.min()] < STUCK).all()),
        },
    )


@finding("vanishing_gradient")
def skip_keeps_the_gradient(found: Results) -> Evidence:
    updates = first_layer_updates(found.rows)
    shallow, deep = updates.columns[0], updates.columns[-1]
    ratios = {
        name: updates.loc[(name, True), deep] / updates.loc[(name, False), shallow]
        for name in activations(found.rows)
    }
    return Evidence(
        f"With skip connections and {format_count(deep, 'hidden layer')} the first layer's relative update is "
        f"{join_english(format_fixed(ratio, 1) for ratio in ratios.values())} times that with one layer, for "
        f"{join_english(map(label, ratios))}.",
        {
            "with every activation it is more than half of that with one hidden layer": min(ratios.values())
            > 0.5
        },
    )


@finding("vanishing_gradient")
def skip_helps_where_gradients_vanish(found: Results) -> Evidence:
    accuracy = final_accuracies(found.rows)
    gain = (accuracy.xs(True, level="skip") - accuracy.xs(False, level="skip")).dropna(axis="columns")
    worse = gain.columns[gain.loc["tanh"] < 0]
    deep = gain.columns[-1]
    return Evidence(
        "They help where gradients vanish: with eight layers, every activation is more accurate with them. Elsewhere "
        f"they need not: tanh with {join_english(count_words(depth) for depth in worse)} layers is less accurate on "
        "average.",
        {
            "with the most layers they help every activation": bool((gain[deep] > 0).all()),
            "the most layers are eight": deep == 8,
            "with sigmoids they help at every depth": bool((gain.loc["sigmoid"] > 0).all()),
            "with tanh they do not help with few layers": set(worse) == {2, 3, 4},
        },
    )


@statement("vanishing_gradient", said="ReLU makes gradients explode.")
def relu_explodes(found: Results) -> Evidence:
    factor = layer_factors(found.rows)["relu"].mean
    return Evidence(
        f"At our initialization every hidden layer multiplies the error by {format_fixed(factor, 2)} on its way down; "
        f"weights {format_fixed(1 / factor, 1)} times as large would be the limit.",
        {"the factor is above 1": factor > 1},
    )


@statement(said="Residual connections set weights to 0 at random.")
def residual_connections_drop() -> Evidence:
    return Evidence(
        "They add a layer's input to its output; setting values to 0 at random is dropout (@sec-q7).",
        {"they set something to 0 at random": False},
    )
