"""Q7, vanishing gradients: not with one hidden layer, but with many of them, unless connections skip them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis import statistics
from analysis.engine.run import CLASSES
from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding, statement
from analysis.formatting import (
    count_words,
    format_count,
    format_estimate,
    format_fixed,
    format_interval,
    format_percent,
    format_scientific,
    join_english,
    label,
)
from analysis.plotting import FAINT, INK, MARKER, QUIET, WIDTH, line_style, plain_ticks, write_in
from analysis.questions.vanishing_gradient import runs
from analysis.results import Results, remembered
from analysis.statistics import Interval, PairedTest, paired_tests_holm, t_interval

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
SIGNIFICANCE = 0.05  # of adjusted p-values
STUCK = 0.15  # test accuracy of a network that has learnt nothing, at most


def activations(rows: pd.DataFrame) -> list[str]:
    """Return the activations in the order of the runs."""
    return [str(name) for name in rows["activation"].unique()]


def layer_values(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the rows of a metric per layer, each network at its best rate, with its depth; index: the layer."""
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


def mean_slopes(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the hidden units' mean slope in 784-300-10, mean over seeds: index epoch, a column per activation."""
    slopes = layer_values(rows, "mean_slope")
    shallow = slopes[(slopes["depth"] == 1) & (slopes["index"] == 1)]
    return shallow.pivot_table(index="epoch", columns="activation", values="value")


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
    """Return a metric's rows, each network at its best rate, with its number of hidden layers."""
    chosen = _at_best_rates(rows)
    return chosen[chosen["metric"] == metric]


@remembered
def _at_best_rates(rows: pd.DataFrame) -> pd.DataFrame:
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
        1, 3, figsize=(WIDTH, 2.3), subplot_kw={"yscale": "log"}
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
                layers.plot(hidden, predicted, color=style["color"], linewidth=5, alpha=0.25, zorder=0)
    layers.set_title(f"{deepest} hidden layers, start")
    layers.set_xlabel("layer l")
    layers.set_ylabel("size of the error δ$_l$")
    depths.set_title("first layer, start")
    depths.set_xlabel("hidden layers")
    depths.set_ylabel("relative update / η")
    handles = [Line2D([], [], label=label(name), markersize=MARKER, **line_style(name)) for name in names]
    handles.append(Line2D([], [], label="with skip", color=QUIET, linestyle=SKIP_LINES[True]))
    handles.append(Line2D([], [], label="predicted", color=QUIET, linewidth=5, alpha=0.25))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8)
    layers.set_xticks(range(1, deepest + 2, 2))
    depths.set_xticks(list(first.columns))
    best = _at_best_rates(found.rows)
    best = best[best["depth"] == 1].groupby("activation", sort=False)["learning_rate"].first()
    rates = join_english(f"{label(str(name))} {rate:g}" for name, rate in best.items())
    updates = relative_updates(found.rows)
    _draw_training(training, updates[~updates["skip"] & (updates["depth"] == 1)])
    return Picture(
        figure,
        f"Networks with hidden layers of {runs.WIDTH} units. Left: root mean square of $\\lVert\\delta_l\\rVert$ over "
        f"the training examples at the start, with {count_words(deepest, 'hidden layer')}, and what (-@eq-factors) "
        "predicts from the last hidden layer down (pale). Middle: relative update of the first layer at the start, "
        "divided by $\\eta$. Right: 784-300-10 during training, relative update of the first layer over that of the "
        f"second, at each activation's best rate ({rates}). Means over the seeds.",
        "Left: with sigmoids the error falls by orders of magnitude from the last layer to the first, with tanh and "
        "ReLU less; with skip connections it does not. Middle: the first layer's update falls with depth unless there "
        "are skip connections. Right: the ratio rises from the first epoch on, with sigmoids from far below "
        "one tenth to about a half.",
    )


def _draw_training(axes: Axes, updates: pd.DataFrame) -> None:
    """Draw by how much the first of two layers moves faster than the second, relative to their weights."""
    means = updates.groupby(["activation", "epoch", "index"])["value"].mean().unstack()
    for name, ratio in (means[1] / means[2]).groupby("activation"):
        axes.plot(ratio.index.get_level_values("epoch"), ratio, markersize=MARKER, **line_style(str(name)))
    axes.axhline(1, color=FAINT, linewidth=0.8, zorder=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain_ticks(axes.yaxis)
    axes.set_title("784-300-10, training")
    axes.set_xlabel("epoch")
    axes.set_ylabel("first / second layer")


@exhibit("tbl-factors", "vanishing_gradient")
def factors_table(found: Results) -> Table:
    """Tabulate predicted and measured factors."""
    lines = [
        {
            "Activation": label(name),
            "Predicted": f"${PREDICTED[name].formula} = {PREDICTED[name].value:.3f}$"
            if name in PREDICTED
            else "–",
            "Measured": format_estimate(factor, 3),
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
    slope = mean_slopes(found.rows)["sigmoid"]
    return Evidence(
        "No: $\\sigma'$ enters the first layer's gradient only once, and the units do not saturate: on average it "
        f"is {format_fixed(slope.iloc[0], 2)} at the usual start, its largest value, and "
        f"{format_fixed(slope.iloc[-1], 2)} at the end. The first layer is slowest at the very start: relative to "
        f"its weights it moves {format_fixed(sigmoid.iloc[0], 2)} times as fast as the second, "
        f"{format_fixed(sigmoid.iloc[1], 2)} times after one epoch, and {format_fixed(sigmoid.iloc[-1], 2)} times at "
        "the end.",
        {
            "the mean slope stays above 0.15": bool(slope.min() > 0.15),
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
def sizes_slow_the_first_layer(found: Results) -> Evidence:
    errors, weights = (_at_the_start(found.rows, metric) for metric in ("error_norm", "weight_norm"))
    error, sizes = errors[1] / errors[2], (weights[1] / weights[2])["sigmoid"]
    updates = relative_updates(found.rows)
    start = updates[(updates["depth"] == 1) & ~updates["skip"] & (updates["update"] == 0)]
    moved = start.pivot_table(index="activation", columns="index", values="value").loc["sigmoid"]
    return Evidence(
        f"Measured, these are {format_fixed(error['sigmoid'], 2)}, as (-@eq-factors) says, and "
        f"{format_fixed(sizes, 1)}. Together they leave {format_fixed(error['sigmoid'] / sizes, 3)} of the second "
        f"layer's relative update, where {format_fixed(moved[1] / moved[2], 3)} is measured. That the weights are "
        f"larger is not vanishing; it is the same with tanh, whose errors shrink to {format_fixed(error['tanh'], 2)} "
        "only.",
        {
            "the factor of sigmoids is as predicted": abs(error["sigmoid"] / PREDICTED["sigmoid"].value - 1)
            < 0.1,
            "that of tanh is several times as large": bool(error["tanh"] > 3 * error["sigmoid"]),
            "the two tell the measured ratio to within a factor of two": bool(
                0.5 < error["sigmoid"] / sizes / (moved[1] / moved[2]) < 2
            ),
            "the sizes are those of the initialization": abs(sizes / math.sqrt(runs.WIDTH / CLASSES) - 1)
            < 0.05,
        },
    )


def _at_the_start(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return a metric of 784-300-10 before training, mean over seeds: index activation, a column per layer."""
    values = layer_values(rows, metric)
    start = values[(values["update"] == 0) & (values["depth"] == 1) & ~values["skip"]]
    return start.pivot_table(index="activation", columns="index", values="value")


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
    gains, rows = skip_gains(found.rows), found.rows
    told = [place for place, test in gains.items() if test.p < SIGNIFICANCE]
    deepest = max(depth for _, depth in gains)
    sure = {("relu", deepest), *(place for place in gains if place[0] == "sigmoid" and place[1] > 2)}
    others = [place for place in told if place not in sure]
    without = [skip_gains(rows[rows["seed"] != seed]) for seed in found.seeds] if len(found.seeds) > 2 else []
    named = join_english(f"{label(name)}s with {count_words(depth, 'layer')}" for name, depth in others)
    further = (
        f"{named[:1].upper()}{named[1:]} gain as well, though that cannot be told whichever seed is left out. "
        if others
        else ""
    )
    harmed = min(
        (place for place in gains if place[0] == "tanh"), key=lambda place: gains[place].difference.mean
    )
    loss = gains[harmed].difference
    return Evidence(
        f"They help where gradients vanish: sigmoids from three layers on, and ReLU with {count_words(deepest)}, "
        f"learn with them and not without (paired t tests, adjusted, at {format_percent(SIGNIFICANCE, 0)}). "
        f"{further}No other difference can be told: neither further gains nor the largest drop, of tanh with "
        f"{count_words(harmed[1], 'layer')}, {format_interval(replace(loss, mean=-loss.mean), 0, '')} points before "
        "the adjustment.",
        {
            "every difference that can be told is a gain": all(
                gains[place].difference.mean > 0 for place in told
            ),
            "sigmoids from three layers on and the deepest ReLU gain": sure <= set(told),
            "other gains cannot be told with some seed left out": all(
                any(fewer[place].p >= SIGNIFICANCE for fewer in without) for place in others
            ),
            "tanh loses at some depth": loss.mean < 0,
        },
    )


def skip_gains(rows: pd.DataFrame) -> dict[tuple[str, int], PairedTest]:
    """Test what skip connections add to the test accuracy: by activation and depth, p-values adjusted after Holm."""
    accuracy = _accuracies_of_seeds(rows).unstack("skip").dropna()
    return paired_tests_holm(
        {
            (str(name), int(depth)): (group[True].droplevel([0, 1]), group[False].droplevel([0, 1]))
            for (name, depth), group in accuracy.groupby(["activation", "depth"])
        }
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
