"""Q7, vanishing gradients: not with one hidden layer, but with many of them, unless connections skip them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from analysis import statistics
from analysis.engine.run import CLASSES
from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding, statement
from analysis.formatting import (
    count_words,
    format_count,
    format_estimate,
    format_fixed,
    format_percent,
    format_range,
    format_scientific,
    join_english,
    label,
)
from analysis.plotting import FAINT, INK, MARKER, QUIET, TRAIN, WIDTH, line_style, plain_ticks, write_in
from analysis.questions.vanishing_gradient import runs
from analysis.results import Results, remembered
from analysis.statistics import Interval, final_values, late_medians, on_all_examples, t_interval

SKIP_LINES: dict[bool, Any] = {False: "-", True: (0, (2, 1))}
RATE_LINES: tuple[dict[str, Any], ...] = (  # of gradient descent, from the smaller rate on
    {"color": INK, "marker": "o"},
    {"color": TRAIN, "marker": "D", "linestyle": (0, (5, 1, 1, 1))},
)
MARKED_EPOCHS = {*range(11), 50, 100, 250, 500, 1_000, 1_500, 2_000}
SETTLED = 2  # updates after which the second layer has made its first, large moves
PLATEAU = 10  # updates after which the slopes hardly change at the larger rate
LABELLED = 100  # the epoch beside which a line's rate is written


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


@remembered
def _on_few_examples(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of SGD with few examples, which compare depths, activations and skip connections."""
    stochastic = rows[rows["batch_size"].notna()]
    return stochastic[stochastic["train_examples"] == stochastic["train_examples"].min()]


@remembered
def trained_longer(rows: pd.DataFrame) -> pd.Series[float]:
    """Return final test accuracies of what was trained for longer and on more examples, each at its best rate.

    Index: activation, depth, seed.
    """
    stochastic = rows[rows["batch_size"].notna()]
    longer = stochastic[stochastic["train_examples"] == stochastic["train_examples"].max()]
    return final_values(_at_best_rates(longer), "test_accuracy", ["activation", "depth", "seed"])


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


@remembered
def descent_means(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what gradient descent of 784-300-10 measures, means over seeds.

    Returns:
        Index learning_rate and epoch, which is one update; columns metric and index (the layer).
    """
    descent = rows[rows["batch_size"].isna()]
    return descent.pivot_table(
        index=["learning_rate", "epoch"], columns=["metric", "index"], values="value", observed=True
    )


@remembered
def first_over_second(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the first layer's norms over the second's under gradient descent: error, weight, gradient and update.

    The last is the ratio of the relative updates, ‖∂R/∂W_l‖ / ‖W_l‖. Index as of `descent_means`.
    """
    means = descent_means(rows)
    ratios = pd.DataFrame(
        {
            name: means[f"{name}_norm", 1] / means[f"{name}_norm", 2]
            for name in ("error", "weight", "gradient")
        }
    )
    return ratios.assign(update=ratios["gradient"] / ratios["weight"])


def final_descents(found: Results, metric: str) -> tuple[pd.Series[float], pd.Series[float]]:
    """Return the last value of gradient descent with a frozen first layer and of the whole network.

    Returns:
        Both with the index learning_rate, seed.
    """
    frozen = found.programs["frozen_first_layer"].query(f"metric == '{metric}'")
    by = ["learning_rate", "seed"]
    last = frozen.sort_values("epoch").groupby(by)["value"].last()
    return last, final_values(found.rows[found.rows["batch_size"].isna()], metric, by)


@remembered
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


@remembered
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
    chosen = _compared(rows)
    return chosen[chosen["metric"] == metric]


@remembered
def _compared(rows: pd.DataFrame) -> pd.DataFrame:
    return _at_best_rates(_on_few_examples(rows))


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
    """Draw errors over layers, relative updates of the first layer over depth, and gradient descent of 784-300-10."""
    errors, first = layer_values(found.rows, "error_norm"), first_layer_updates(found.rows)
    names = activations(found.rows)
    figure, panels = plt.subplot_mosaic(
        [["layers", "depths", "ratio"], ["layers", "depths", "slope"]],
        figsize=(WIDTH, 2.6),
        width_ratios=(1, 1, 1.2),
    )
    layers, depths = panels["layers"], panels["depths"]
    deepest = errors["depth"].max()
    start = errors[(errors["update"] == 0) & (errors["depth"] == deepest)]
    for name in names:
        for skip, line in SKIP_LINES.items():
            if skip and name != runs.SKIPPED:
                continue
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
    layers.set_yscale("log")
    layers.set_title(f"{deepest} hidden layers, start")
    layers.set_xlabel("layer l")
    layers.set_ylabel("size of δ$_l$")
    depths.set_yscale("log")
    depths.set_title("first layer, start")
    depths.set_xlabel("hidden layers")
    depths.set_ylabel("relative update / η")
    handles = [Line2D([], [], label=label(name), markersize=MARKER, **line_style(name)) for name in names]
    handles.append(Line2D([], [], label=f"{runs.SKIPPED}, skip", color=QUIET, linestyle=SKIP_LINES[True]))
    handles.append(Line2D([], [], label="predicted", color=QUIET, linewidth=5, alpha=0.25))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8)
    layers.set_xticks(range(1, deepest + 2, 2))
    depths.set_xticks(list(first.columns))
    _draw_descent(panels["ratio"], panels["slope"], found.rows)
    return Picture(
        figure,
        f"Left and middle: networks with hidden layers of {runs.WIDTH} units, at the start. Left: root mean square of "
        f"$\\lVert\\delta_l\\rVert$ over the training examples, with {count_words(deepest, 'hidden layer')}, and what "
        "(-@eq-factors) predicts from the last hidden layer down (pale). Middle: relative update of the first layer, "
        "divided by $\\eta$. Right: gradient descent of 784-300-10 on all examples (0, then a logarithmic axis); "
        "above, the first layer's relative update divided by the second's; below, the mean slope $\\sigma'(z_1)$ "
        "over units and examples. Means over the seeds.",
        "Left: with sigmoids the error falls by orders of magnitude from the last layer to the first, with tanh and "
        "ReLU less; with skip connections it does not. Middle: the first layer's update falls with depth, but not with "
        "skip connections. Right: the ratio rises within two updates from below a tenth and ends above 1 at both "
        "rates; the slope falls little at the smaller rate and to about a tenth at the larger one.",
    )


def _draw_descent(ratio: Axes, slope: Axes, rows: pd.DataFrame) -> None:
    """Draw how fast the first of two layers moves beside the second, and the units' slope, a line per rate."""
    updates, slopes = first_over_second(rows)["update"], descent_means(rows)["mean_slope", 1]
    for rate, style in zip(updates.index.unique("learning_rate"), RATE_LINES, strict=True):
        for axes, values in ((ratio, updates[rate]), (slope, slopes[rate])):
            marked = [place for place, epoch in enumerate(values.index) if epoch in MARKED_EPOCHS]
            axes.plot(values.index, values, markersize=2.5, markevery=marked, **style)
        height, high = slopes[rate][LABELLED], slopes[rate][LABELLED] > slopes.max() / 2
        slope.annotate(
            f"η = {rate:g}",
            (LABELLED, height),
            xytext=(0, -4 if high else 4),
            textcoords="offset points",
            ha="center",
            va="top" if high else "bottom",
            fontsize=8,
        )
    ratio.axhline(1, color=FAINT, linewidth=0.8, zorder=0)
    ratio.set_yscale("log")
    plain_ticks(ratio.yaxis, decades=True)
    ratio.set_title("784-300-10, training")
    ratio.set_ylabel("1st / 2nd")
    ratio.tick_params(labelbottom=False)
    slope.set_ylim(0, 0.27)
    slope.set_ylabel("slope")
    slope.set_xlabel("update")
    for axes in (ratio, slope):
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xlim(-0.1)
        axes.set_xticks([0, 1, 10, 100, 1000], ["0", "1", "10", "100", "1,000"])
        axes.xaxis.set_minor_locator(NullLocator())


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
        "Factor by which a hidden layer multiplies the size of $\\delta$ on its way down at the start: geometric mean "
        "over the layers of the deepest network without skip connections, with 95 % t interval over the seeds.",
    )


@exhibit("tbl-descent", "vanishing_gradient")
def descent_table(found: Results) -> Table:
    """Tabulate how both layers fare under gradient descent, and what freezing the first does."""
    means, ratios = descent_means(found.rows), first_over_second(found.rows)
    frozen, whole = final_descents(found, "test_accuracy")
    quantities = {
        "$\\lVert W_1 \\rVert$": (means["weight_norm", 1], 3),
        "$\\lVert W_2 \\rVert$": (means["weight_norm", 2], 3),
        "$\\lVert \\delta_1 \\rVert / \\lVert \\delta_2 \\rVert$": (ratios["error"], 2),
        "$\\lVert \\nabla_{W_1} R \\rVert$": (means["gradient_norm", 1], 2),
        "$\\lVert \\nabla_{W_2} R \\rVert$": (means["gradient_norm", 2], 2),
        "Relative updates, first over second": (ratios["update"], 2),
        "Mean slope $\\sigma'(z_1)$": (means["mean_slope", 1], 2),
    }
    rates = list(ratios.index.unique("learning_rate"))
    lines = [
        {
            "Quantity": name,
            "Start": f"{values[rates[0]].iloc[0]:#.{digits}g}",
            **{f"End, $\\eta = {rate:g}$": f"{values[rate].iloc[-1]:#.{digits}g}" for rate in rates},
        }
        for name, (values, digits) in quantities.items()
    ]
    for name, accuracy in (("Test accuracy, %", whole), ("Test accuracy, first layer frozen, %", frozen)):
        ends = {f"End, $\\eta = {rate:g}$": format_range(100 * accuracy[rate], 1) for rate in rates}
        lines.append({"Quantity": name, "Start": "", **ends})
    lines.append(
        {
            "Quantity": "Test accuracy, second layer fitted by L-BFGS, first layer frozen, %",
            "Start": format_range(100 * found.programs["fitted_readout"]["test_accuracy"], 1),
        }
    )
    return Table(
        pd.DataFrame(lines).fillna(""),
        f"Gradient descent of 784-300-10 on all examples, {ratios.index[-1][1]:,.0f} updates: means over "
        f"{count_words(whole.index.get_level_values('seed').nunique(), 'seed')}, of accuracies the least and "
        "largest. Norms of $\\delta_l$ are root mean squares over the training examples.",
        (48, 14, 19, 19),
    )


@exhibit("tbl-vanishing", "vanishing_gradient")
def accuracies_table(found: Results) -> Table:
    """Tabulate what the networks learn, over depth."""
    by = ["activation", "skip", "depth"]
    summary = (100 * _accuracies_of_seeds(found.rows)).groupby(by).agg(["mean", "min", "max"])
    table = summary.apply(_mean_and_range, axis="columns").unstack().fillna("–")
    lines = [
        {
            "Hidden layers": label(name) + (", skip connections" if skip else ""),
            **{str(depth): cell for depth, cell in table.loc[(name, skip)].items()},
        }
        for skip in SKIP_LINES
        for name in (activations(found.rows) if not skip else [runs.SKIPPED])
    ]
    longer, budget = 100 * trained_longer(found.rows), runs.LONGER_BUDGETS[found.preset]
    for name in runs.LONGER:
        ends = longer[name].groupby("depth").agg(["mean", "min", "max"])
        lines.append(
            {
                "Hidden layers": f"{label(name)}, longer",
                **{
                    str(depth): _mean_and_range(ends.loc[depth]) if depth in ends.index else "–"
                    for depth in runs.DEPTHS
                },
            }
        )
    compared = _on_few_examples(found.rows)
    seeds = compared["seed"].nunique()
    examples, epochs = (compared[column].max() for column in ("train_examples", "epochs"))
    return Table(
        pd.DataFrame(lines),
        f"Test accuracy in % by number of hidden layers (of {runs.WIDTH} units), each network at its best learning "
        f"rate on validation data, of {count_words(len(runs.LEARNING_RATES))} (one hidden layer: of "
        f"{count_words(compared['learning_rate'].nunique())}): mean, least and largest of "
        f"{count_words(seeds, 'seed')}, after "
        f"{epochs:.0f} epochs on {examples:,.0f} examples; longer: of {count_words(len(budget.seeds), 'seed')}, after "
        f"{budget.epochs} epochs on {budget.train_examples:,}, at the better of {_longer_rates()} (–: not run).",
        (28, *(12 for _ in runs.DEPTHS)),
    )


def _longer_rates() -> str:
    return ", ".join(
        f"{' and '.join(f'{rate:g}' for rate in rates)} ({label(name)})"
        for name, (_, rates) in runs.LONGER.items()
    )


def _mean_and_range(line: pd.Series[float]) -> str:
    return f"{line['mean']:.0f} ({line['min']:.0f}–{line['max']:.0f})"


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


@finding("vanishing_gradient", "overfitting", headline=True)
def shallow_gradient_does_not_vanish(found: Results, longer: Results) -> Evidence:
    ratio = first_over_second(found.rows)["update"].unstack("learning_rate")
    least, end = ratio[ratio.index >= SETTLED].min(axis=None), ratio.iloc[-1]
    fitted = found.programs["fitted_readout"]
    slow, fast = min(ratio.columns), max(ratio.columns)
    frozen, trained = final_descents(found, "test_accuracy")
    slowly, whole = trained[slow], trained[fast]
    long = on_all_examples(longer.rows, str(runs.WIDTH)).query("learning_rate == @slow")
    late = late_medians(long, "test_accuracy", ["seed"])
    shrinks = 1 / layer_factors(found.rows)["sigmoid"].mean
    return Evidence(
        "No. A network suffers from vanishing gradients if so little gradient reaches its first layer that training "
        "this layer is no better than freezing it. Here the first layer starts more slowly than the second, but "
        "comes to keep pace, and what it learns matters: at the program's rate the network reads "
        f"{format_percent(slowly.mean(), 0)} of the test digits after {ratio.index[-1]:,.0f} updates, and "
        f"{format_percent(late.mean(), 0)} after ten times as many (@tbl-overfitting). With the first layer frozen at "
        f"its random start, the best fit of the second reads {format_percent(fitted['test_accuracy'].mean(), 0)}. "
        "Gradients vanish when many layers each shrink them by a factor below 1; here there is one such factor.",
        {
            "after the first updates the ratio is above a fifth": bool(least > 0.2),
            "at the end the first layer moves faster than the second": bool((end > 1).all()),
            "the longer runs have ten times the updates": long["epoch"].max() == 10 * ratio.index[-1],
            "there, a frozen first layer costs every start more than ten points": bool(
                slowly.min() - frozen[slow].max() > 0.1
            ),
            "fitted above a frozen first layer, every start stays points behind one trained for long": bool(
                late.min() - fitted["test_accuracy"].max() > 0.02
            ),
            "and one at the larger rate": bool(whole.min() - fitted["test_accuracy"].max() > 0.02),
            "on the training examples too": bool(
                final_descents(found, "train_loss")[1][fast].max() < fitted["train_loss"].min() / 2
            ),
        },
        f"Not with one hidden layer; at first each sigmoid layer divides the gradient by {shrinks:.0f}.",
    )


@finding("vanishing_gradient")
def sizes_slow_the_first_layer(found: Results) -> Evidence:
    ratios = first_over_second(found.rows)
    start, updates = ratios.iloc[0], ratios["update"].unstack("learning_rate")
    end, (slow, fast) = updates.iloc[-1], updates.columns
    # from the first measurement on after which it stays larger
    overtakes = (updates[::-1] > 1).cummin()[::-1].idxmax()
    return Evidence(
        "Along training the gradients of both layers shrink, as the loss does (@tbl-descent), so their ratio is what "
        f"tells. At the start the first layer's update is {1 / start['update']:.0f} times smaller than the second's. "
        f"Its $\\delta$ is {1 / start['error']:.1f} times smaller, by the one factor, and its weights "
        f"{start['weight']:.1f} times larger; the layers' inputs, and how far the examples' gradients cancel, take "
        f"back a factor of {start['gradient'] / start['error']:.1f}. It overtakes the second for good within "
        f"{overtakes[fast]:.0f} updates at $\\eta = {fast:g}$, and within {overtakes[slow]:,.0f} at {slow:g} "
        "(@fig-vanishing, right).",
        {
            "the gradients of both layers end smaller than at the start": all(
                bool(gradients[rate].iloc[-1] < gradients[rate].iloc[0])
                for layer in (1, 2)
                for gradients in [descent_means(found.rows)["gradient_norm", layer]]
                for rate in (slow, fast)
            ),
            "the ratio of the errors is as predicted": abs(start["error"] / PREDICTED["sigmoid"].value - 1)
            < 0.1,
            "that of the weights is that of the initialization": abs(
                start["weight"] / math.sqrt(runs.WIDTH / CLASSES) - 1
            )
            < 0.05,
            "both make most of the factor": bool(start["error"] / start["weight"] < 2 * start["update"]),
            "at the end it is the larger one": bool((end > 1).all()),
        },
    )


@finding("vanishing_gradient")
def frozen_first_layer_holds_back(found: Results) -> Evidence:
    accuracy, whole = final_descents(found, "test_accuracy")
    slow, fast = sorted(accuracy.index.unique("learning_rate"))
    losses = found.programs["frozen_first_layer"].query("metric == 'train_loss'")
    alone = losses.pivot(index="epoch", columns=["learning_rate", "seed"], values="value")
    fitted = found.programs["fitted_readout"]
    readout, gradient = fitted["test_accuracy"], fitted["gradient_norm"].max()
    norms = descent_means(found.rows)["weight_norm", 1].unstack("learning_rate")
    slope = descent_means(found.rows)["mean_slope", 1].unstack("learning_rate")[fast].iloc[-1]
    return Evidence(
        "In the second layer alone the loss is convex, and L-BFGS, a quasi-Newton method, fits it to "
        f"{format_range(100 * readout, 1)} % test accuracy. Trained as a whole at $\\eta = {fast:g}$, the network "
        f"ends {format_fixed(100 * (whole[fast].mean() - readout.mean()), 1)} points higher (@tbl-descent), although "
        f"its hidden units saturate (mean slope {format_fixed(slope, 3)}). At {slow:g} it is ahead of gradient "
        f"descent on the second layer alone (which is unstable at {fast:g}), but still learning, and not yet ahead of "
        "the fitted second layer.",
        {
            "the first layer's weights nearly triple": bool(
                2.5 < norms[fast].iloc[-1] / norms[fast].iloc[0] < 3
            ),
            "on the second layer alone, the train loss rises again and again at the larger rate": bool(
                ((alone[fast].diff().iloc[1:] > 0).mean() > 0.25).all()
            ),
            "at the smaller rate every start is points ahead of those with a frozen first layer": bool(
                whole[slow].min() - accuracy[slow].max() > 0.1
            ),
            "L-BFGS is nearly done: gradients end below a thousandth": bool(gradient < 1e-3),
            "frozen, every start falls short of the best second layer": bool(accuracy.max() < readout.min()),
            "every fitted second layer is better than every whole network at the smaller rate": bool(
                readout.min() > whole[slow].max()
            ),
            "and more than four points worse than those at the larger one, in the mean": bool(
                whole[fast].mean() - readout.mean() > 0.04
            ),
            "there units saturate": bool(slope < 0.05),
            "and the errors of the first layer end at least as large as the second's": bool(
                first_over_second(found.rows)["error"].unstack("learning_rate")[fast].iloc[-1] > 1
            ),
        },
    )


@finding("vanishing_gradient")
def factors_are_as_predicted(found: Results) -> Evidence:
    factors = layer_factors(found.rows)
    off = {
        name: factor.mean / PREDICTED[name].value - 1 for name, factor in factors.items() if name in PREDICTED
    }
    worst = max(off, key=lambda name: abs(off[name]))
    return Evidence(
        f"The measured factors lie within {math.ceil(100 * abs(off[worst]))} % of the predicted ones.",
        {
            "all within a tenth": abs(off[worst]) < 0.1,
        },
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
        f"{format_scientific(share['sigmoid'])} of what it is with one, close to the {deep - shallow}th power of the "
        f"factor, {format_scientific(PREDICTED['sigmoid'].value ** (deep - shallow))}. "
        f"{from_on[:1].upper()}{from_on[1:]}, test accuracy stays at chance within this budget, but not with skip "
        "connections (@tbl-vanishing). Tanh and ReLUs lose less per layer: tanh learns at every depth, ReLUs do with "
        f"up to {updates.columns[-2]} layers.",
        {
            "what is left is about the power of the predicted factor": bool(
                0.5 < share["sigmoid"] / PREDICTED["sigmoid"].value ** (deep - shallow) < 2
            ),
            "tanh ends far above it at every depth, ReLUs at all but the largest": bool(
                final_accuracies(found.rows).loc[("tanh", False)].min() > 0.5
                and final_accuracies(found.rows).loc[("relu", False), updates.columns[:-1]].min() > 0.5
            ),
            "with sigmoids less than a thousandth is left": bool(share["sigmoid"] < 1e-3),
            "with every activation less is left than with one layer": bool((share < 1).all()),
            "with skip connections they are far above chance at every depth": bool(
                final_accuracies(found.rows).loc[("sigmoid", True)].min() > 0.8
            ),
            "sigmoid networks stay at chance from some depth on": len(stuck) > 0
            and bool((accuracy[accuracy.index >= stuck.min()] < STUCK).all()),
        },
    )


@finding("vanishing_gradient")
def more_training_leaves_the_deepest_at_chance(found: Results) -> Evidence:
    ends = trained_longer(found.rows)
    least = ends.groupby(["activation", "depth"]).min()
    *others, deepest = runs.LONGER["sigmoid"][0]
    return Evidence(
        "In part that is a matter of budget and rate: trained for longer, on more examples, "
        f"{join_english(map(count_words, others))} layers of sigmoids learn, and so do "
        f"{count_words(least['relu'].index.max())} of ReLUs, but not {count_words(deepest)} of sigmoids (last rows).",
        {
            "but for the deepest, all sigmoids learn from every start": bool(
                least["sigmoid"][others].min() > 0.9
            ),
            "the deepest stay at chance": bool(ends["sigmoid", deepest].max() < STUCK),
            "the deepest ReLUs learn": bool(least["relu"].min() > 0.9),
        },
    )


@finding("vanishing_gradient")
def skip_keeps_the_gradient(found: Results) -> Evidence:
    updates = first_layer_updates(found.rows)
    shallow, deep = updates.columns[0], updates.columns[-1]
    ratio = updates.loc[(runs.SKIPPED, True), deep] / updates.loc[(runs.SKIPPED, False), shallow]
    return Evidence(
        f"With {format_count(deep, 'hidden layer')} of sigmoids the first layer's relative update is then larger "
        "than with one (@fig-vanishing, middle).",
        {"it is larger than with one hidden layer": bool(ratio > 1)},
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
        "They add a layer's input to its output (@sec-q7); setting values to 0 at random is dropout.",
        {"they set something to 0 at random": False},
    )
