"""Q3, depth and width: train and test error over capacity, bias² and variance, and the network of assignment 2."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.engine.run import num_parameters_of
from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding, statement
from analysis.formatting import (
    count_words,
    format_interval,
    format_percent,
    join_english,
)
from analysis.plotting import GREEN, MARKER, PINK, QUIET, TRAIN_TEST, WIDTH, plain_ticks, write_in
from analysis.questions.capacity.runs import BUDGETS, SUBSETS
from analysis.results import Results, remembered
from analysis.statistics import Interval, jackknife_half_width, paired_t, t_interval

MARGIN = 0.003  # validation accuracy by which another network must be better than USED to replace it
NAMED = ("10-10", "20-20", "300")  # the networks whose β the text names
USED = "300"  # the network of assignment 2
WIDE, NARROW = 300, 4  # the layers whose depth is varied in the text
DEPTHS = (1, 2, 3)
COMPONENT_STYLES: dict[str, dict[str, Any]] = {
    "squared_error": {"color": QUIET, "marker": "o", "label": "bias² + variance"},
    "bias2": {"color": GREEN, "marker": "s", "linestyle": (0, (5, 1.5)), "label": "bias²"},
    "variance": {"color": PINK, "marker": "^", "linestyle": (0, (1.5, 1)), "label": "variance"},
}
COMPONENTS = tuple(COMPONENT_STYLES)
LEAST_ERROR = 0.02  # in %: where an error of 0 is drawn on a logarithmic axis
MARKERS = ("o", "^", "s")  # by number of hidden layers, from one on


@remembered
def final_accuracies(found: Results) -> pd.DataFrame:
    """Return the end of every run, each network at the better of its rates for its number of training examples.

    Returns:
        Columns examples, hidden, depth, beta, learning_rate, replicate (seed, or disjoint training set),
        train_accuracy, validation_accuracy, test_accuracy. Order: as the experiment lists the networks.
    """
    ends = found.rows[found.rows["update"] == found.rows["update"].max()]
    all_examples = BUDGETS[found.preset].train_examples
    everything = ends.assign(examples=all_examples, replicate=ends["seed"])
    parts = _on_subsets(found).rename(columns={"subset": "replicate"})
    parts = parts[(parts["replicate"] >= 0) & (parts["examples"] != all_examples)]
    columns = ["examples", "hidden", "learning_rate", "replicate", "metric"]
    together = pd.concat([parts[[*columns, "value"]], everything[[*columns, "value"]]])
    wide = together.set_index(columns)["value"].unstack("metric").reset_index()
    means = wide.groupby(["examples", "hidden", "learning_rate"])["validation_accuracy"].mean()
    best = means.groupby(["examples", "hidden"]).idxmax().map(lambda index: index[-1]).rename("learning_rate")
    chosen = wide.merge(best.reset_index(), on=["examples", "hidden", "learning_rate"])
    return _with_sizes(
        chosen[[*columns[:-1], "train_accuracy", "validation_accuracy", "test_accuracy"]]
    ).sort_values(["examples", "depth", "beta", "replicate"], ignore_index=True)


@remembered
def leave_one_out(found: Results) -> pd.DataFrame:
    """Return bias² and variance, each network at its best rate for its number of training examples.

    Returns:
        Columns examples, hidden, learning_rate, metric (COMPONENTS), subset: the disjoint training set that is left
        out, -1 for the estimate from all of them; value.
    """
    rows = _on_subsets(found)
    by = ["examples", "hidden"]
    validation = rows[(rows["metric"] == "validation_accuracy") & (rows["subset"] >= 0)]
    means = validation.groupby([*by, "learning_rate"])["value"].mean()
    best = means.groupby(by).idxmax().map(lambda index: index[-1]).rename("learning_rate")
    chosen = rows[rows["metric"].isin(COMPONENTS)].merge(best.reset_index(), on=[*by, "learning_rate"])
    return chosen[[*by, "learning_rate", "metric", "subset", "value"]]


@remembered
def decompositions(found: Results) -> pd.DataFrame:
    """Return bias² and variance, each network at its best rate for its number of training examples.

    Returns:
        Columns examples, hidden, depth, beta, learning_rate, and for each of COMPONENTS its estimate and, as
        bias2_half and so on, the half width of its 95 % jackknife interval over the disjoint training sets.
    """
    rows = leave_one_out(found)
    index = ["examples", "hidden", "learning_rate", "metric"]
    estimates = rows[rows["subset"] < 0].set_index(index)["value"]
    halves = rows[rows["subset"] >= 0].groupby(index)["value"].agg(jackknife_half_width)
    wide = estimates.unstack("metric").join(halves.unstack("metric").add_suffix("_half"))
    return _with_sizes(wide.reset_index()).sort_values(["examples", "depth", "beta"], ignore_index=True)


def change(found: Results, examples: int, metric: str, first: str, second: str) -> Interval:
    """Return by what share a component changes from a network to another, both from the same training sets."""
    rows = leave_one_out(found)
    chosen = rows[(rows["examples"] == examples) & (rows["metric"] == metric)]
    table = chosen.pivot(index="subset", columns="hidden", values="value")
    shares = table[second] / table[first] - 1
    left_out = shares[shares.index >= 0]
    return Interval(float(shares[-1]), jackknife_half_width(left_out), len(left_out))


def _on_subsets(found: Results) -> pd.DataFrame:
    """Return the program's rows with their number of examples, which results leave out where there is but one."""
    (size, *_) = SUBSETS[found.preset]
    rows = found.programs["decomposition"]
    return rows if "examples" in rows else rows.assign(examples=size)


def _with_sizes(frame: pd.DataFrame) -> pd.DataFrame:
    """Add depth (number of hidden layers) and β."""
    return frame.assign(depth=frame["hidden"].str.count("-") + 1, beta=frame["hidden"].map(num_parameters_of))


def architectures(found: Results) -> pd.DataFrame:
    """Return β and mean validation accuracy of the networks trained on all examples, by increasing β.

    Returns:
        Index hidden; beta, validation_accuracy.
    """
    runs = final_accuracies(found)
    everything = runs[runs["examples"] == runs["examples"].max()]
    return everything.groupby("hidden")[["beta", "validation_accuracy"]].mean().sort_values("beta")


def one_hidden_layer(parts: pd.DataFrame, examples: int) -> pd.DataFrame:
    """Return the decompositions of networks of one hidden layer; index: its width."""
    chosen = parts[(parts["examples"] == examples) & (parts["depth"] == 1)]
    return chosen.set_index(chosen["hidden"].astype(int)).sort_index()


def accuracies_over_width(runs: pd.DataFrame, examples: int) -> pd.DataFrame:
    """Return test accuracies of networks of one hidden layer; index: replicate, columns: its width."""
    chosen = runs[(runs["examples"] == examples) & (runs["depth"] == 1)]
    wide = chosen.assign(width=chosen["hidden"].astype(int))
    return wide.pivot(index="replicate", columns="width", values="test_accuracy").sort_index(axis="columns")


# Exhibits


@exhibit("tbl-capacity", "capacity")
def networks_table(found: Results) -> Table:
    """Tabulate accuracies on all examples, and bias² and variance at the largest number of the others."""
    runs, parts = final_accuracies(found), decompositions(found)
    everything = runs[runs["examples"] == runs["examples"].max()].groupby("hidden")
    examples = parts["examples"].max()
    by_network = parts[parts["examples"] == examples].set_index("hidden")
    lines = []
    for hidden, of_network in everything:
        line = by_network.loc[hidden]
        lines.append(
            {
                "Network": f"784-{hidden}-10",
                "β": of_network["beta"].iloc[0],
                "Validation acc.": format_interval(t_interval(of_network["validation_accuracy"]), 2, ""),
                "Test acc.": format_interval(t_interval(of_network["test_accuracy"]), 2, ""),
                **{
                    name: f"{line[metric]:.3f} ± {line[f'{metric}_half']:.3f}"
                    for metric, name in (
                        ("bias2", "bias²"),
                        ("variance", "Variance"),
                        ("squared_error", "Sum"),
                    )
                },
            }
        )
    frame = pd.DataFrame(lines).sort_values("β")
    return Table(
        frame.assign(β=frame["β"].map("{:,}".format)),
        f"Every network at its best rates: accuracies in percent after training on {runs['examples'].max():,} "
        f"examples, with 95 % t intervals over {count_words(found.rows['seed'].nunique(), 'seed')}; bias², variance "
        f"and their sum with {examples:,} examples, with 95 % jackknife intervals (the disjoint training sets left "
        "out one at a time).",
        (20, 9, 14, 14, 17, 17, 17),
    )


@exhibit(
    "fig-capacity",
    "capacity",
    explore=(
        "metric=test_accuracy"
        "&run=hidden:300,learning_rate:0.005"
        "&pin=hidden:4"
        "&pin=hidden:64"
        "&pin=hidden:1024"
        "&pin=hidden:300-300-300"
    ),
)
def errors_and_components(found: Results) -> Picture:
    """Draw errors over β above; bias² and variance over width and over depth below."""
    runs, parts = final_accuracies(found), decompositions(found)
    sizes = sorted(runs["examples"].unique())
    figure, grid = plt.subplots(2, 3, figsize=(WIDTH, 3.6), sharey="row", squeeze=False)
    for axes, examples in zip(grid[0], sizes, strict=False):
        _draw_errors(axes, runs[runs["examples"] == examples])
        axes.set_title(f"{examples:,} examples")
    for axes, examples in zip(grid[1], sorted(parts["examples"].unique()), strict=False):
        _draw_components(axes, one_hidden_layer(parts, examples))
        axes.set_title(f"{examples:,} examples")
        axes.set_xscale("log")
        axes.set_xlabel("width (one hidden layer)")
    examples = parts["examples"].max()
    for width, look in ((NARROW, {"markerfacecolor": "white"}), (WIDE, {})):
        _draw_components(grid[1, 2], over_depth(parts, examples, width), **look)
        end = over_depth(parts, examples, width)["squared_error"].iloc[-1]
        grid[1, 2].annotate(
            f"{width}", (DEPTHS[-1], end), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8
        )
    grid[1, 2].set_xlabel("hidden layers")
    grid[1, 2].set_xticks(DEPTHS)
    grid[1, 2].set_xlim(right=DEPTHS[-1] + 0.4)
    grid[1, 2].set_title(f"{examples:,} examples")
    for row, name in ((grid[0], "error in %"), (grid[1], "squared error")):
        row[0].set_yscale("log")
        row[0].set_ylabel(name)
    grid[0, 0].set_ylim(bottom=LEAST_ERROR)
    grid[0, 0].set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    plain_ticks(grid[1, 0].yaxis)
    handles = [
        *(Line2D([], [], label=name, **style) for name, style in TRAIN_TEST.items()),
        *(Line2D([], [], markersize=MARKER, **style) for style in COMPONENT_STYLES.values()),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, handlelength=2)
    return Picture(
        figure,
        "Error, bias² and variance, each network at the best of "
        f"{count_words(found.rows['learning_rate'].nunique(), 'learning rate')}. Above: train and test error over the "
        "number of parameters, means over seeds or disjoint training sets; markers: one (circle), two (triangle), "
        "three (square) hidden layers; an error of 0 is drawn at the lower edge. Below: bias², variance and their sum "
        f"on the test examples over width and over depth (layers of {NARROW} units, open, and {WIDE}), with 95 % "
        "jackknife intervals.",
        "Six panels on logarithmic axes. Above, train error falls to zero, test error falls and flattens. Below, bias² "
        "falls with width; variance falls too and turns up slightly at the largest widths; over depth, bias² falls and "
        "variance rises in wide networks, and both rise in narrow ones.",
    )


def _draw_errors(axes: Axes, runs: pd.DataFrame) -> None:
    """Draw train and test error over β, a line per depth; what lies below LEAST_ERROR is drawn there."""
    for depth, of_depth in runs.groupby("depth"):
        for part, style in TRAIN_TEST.items():
            error = 100 * (1 - of_depth.groupby("beta")[f"{part}_accuracy"].mean()).clip(
                lower=LEAST_ERROR / 100
            )
            look = {
                **style,
                "marker": MARKERS[(depth - 1) % len(MARKERS)],
                "markersize": MARKER,
            }
            axes.plot(error.index, error, linewidth=1.1 if depth == 1 else 0.6, **look)
    axes.set_xscale("log")
    axes.set_xlabel("number of parameters β")


def _draw_components(axes: Axes, frame: pd.DataFrame, **look: Any) -> None:
    """Draw bias², variance and their sum, with their intervals, over the index."""
    for name, style in COMPONENT_STYLES.items():
        line = {**style, "label": None, "markersize": MARKER, **look}
        axes.errorbar(frame.index, frame[name], frame[f"{name}_half"], elinewidth=0.8, **line)


def over_depth(parts: pd.DataFrame, examples: int, width: int) -> pd.DataFrame:
    """Return the decompositions of networks of one width; index: the number of hidden layers."""
    chosen = parts[parts["examples"] == examples].set_index("hidden")
    return chosen.loc[["-".join([str(width)] * depth) for depth in DEPTHS]].set_index("depth")


@sketch("capacity", alt="Over width, bias falls; variance falls too and then rises a little.")
def sketch_of_parts(axes: Axes, found: Results) -> None:
    parts = decompositions(found)
    means = one_hidden_layer(parts, parts["examples"].max())
    for name, colour in (("bias2", GREEN), ("variance", PINK)):
        axes.plot(means.index, means[name], color=colour)
    axes.set_xscale("log")
    axes.set_yscale("log")
    write_in(axes, 0.05, 0.1, "variance", PINK)
    write_in(axes, 0.2, 0.75, "bias²", GREEN)


# Findings


@finding("capacity", headline=True)
def width_has_an_optimum(found: Results) -> Evidence:
    parts = decompositions(found)
    sizes = sorted(parts["examples"].unique())
    few = sizes[0]
    shallow = {size: one_hidden_layer(parts, size) for size in sizes}
    widest = shallow[few].index[-1]
    rises = {size: change(found, size, "squared_error", str(WIDE), str(widest)) for size in sizes}
    return Evidence(
        "Width lowers bias² and, by and large, the variance too, up to some hundred units. Beyond, their sum rises a "
        f"little if examples are few: with {few:,}, by {format_interval(rises[few], 1)} from {WIDE} to {widest:,} "
        "units. Three layers instead of one lower the bias of wide networks, and raise their variance by more.",
        {
            f"up to width {WIDE}, bias² is least at the end, whatever the number of examples": all(
                each.loc[:WIDE, "bias2"].idxmin() == WIDE for each in shallow.values()
            ),
            f"the variance at width {WIDE} is below half of its largest": all(
                bool(each.loc[WIDE, "variance"] < each["variance"].max() / 2) for each in shallow.values()
            ),
            "the sum rises beyond, by more than the interval": all(
                rise.mean > rise.half_width for rise in rises.values()
            ),
            **_depth_conditions(found),
        },
        "With few examples, some hundred units are best; wide networks vary more with depth.",
    )


@finding("capacity")
def the_optimum_moves_with_the_examples(found: Results) -> Evidence:
    parts, runs = decompositions(found), final_accuracies(found)
    few, more, most = parts["examples"].min(), parts["examples"].max(), runs["examples"].max()
    accuracy = {size: accuracies_over_width(runs, size) for size in (few, more, most)}
    widest = accuracy[few].columns[-1]
    lost = {size: paired_t(table[WIDE], table[widest]).difference for size, table in accuracy.items()}
    rise = change(found, more, "squared_error", str(WIDE), str(widest))
    return Evidence(
        f"Confirmed: with few examples, there is an optimum at moderate width. With {more:,} too, the sum rises beyond "
        f"{WIDE} units, by {format_interval(rise, 1)}, and test accuracy falls. With {most:,}, widths {WIDE} and "
        f"{widest:,} have the same accuracy within the noise.",
        {
            "with few and with more examples accuracy falls, by more than the interval": all(
                lost[size].mean > lost[size].half_width for size in (few, more)
            ),
            "with most it does not": abs(lost[most].mean) < lost[most].half_width,
            "the sum rises with more examples": rise.mean > rise.half_width,
        },
    )


@finding("capacity")
def variance_rises_at_every_rate(found: Results) -> Evidence:
    rows = _on_subsets(found)
    chosen = rows[(rows["subset"] < 0) & (rows["metric"] == "variance")]
    table = chosen.pivot(index=["examples", "learning_rate"], columns="hidden", values="value")
    widest = max(int(name) for name in table.columns if "-" not in name)
    rates = table.index.unique("learning_rate")
    return Evidence(
        f"The variance rises from width {WIDE} to {widest:,} at each of the {count_words(len(rates))} rates, with "
        "either number of examples: the rise does not come from choosing the rate.",
        {
            f"the variance rises from width {WIDE} to the largest at every rate": bool(
                (table[str(widest)] > table[str(WIDE)]).all()
            )
        },
    )


@finding("capacity")
def depth_trades_bias_for_variance(found: Results) -> Evidence:
    examples = decompositions(found)["examples"].max()
    bias, variance = (
        change(found, examples, metric, str(WIDE), _deep(WIDE)) for metric in ("bias2", "variance")
    )
    return Evidence(
        f"Depth trades bias for variance: three layers of {WIDE} units instead of one lower bias² by "
        f"{format_interval(replace(bias, mean=-bias.mean), 0)} and raise the variance by "
        f"{format_interval(variance, 0)}. Their sum is larger with three layers than with one at every width; layers "
        f"of {NARROW} units, a bottleneck, raise bias² as well.",
        _depth_conditions(found),
    )


def _deep(width: int) -> str:
    return "-".join([str(width)] * DEPTHS[-1])


def _depth_conditions(found: Results) -> dict[str, bool]:
    parts = decompositions(found)
    examples = parts["examples"].max()
    by_network = parts[parts["examples"] == examples].set_index("hidden")
    widths = [
        int(name) for name in by_network.index if name.isdigit() and _deep(int(name)) in by_network.index
    ]
    changes = {
        metric: {width: change(found, examples, metric, str(width), _deep(width)) for width in widths}
        for metric in COMPONENTS
    }
    bias, variance = changes["bias2"][WIDE], changes["variance"][WIDE]
    return {
        f"three layers of {WIDE} units lower bias², by more than the interval": -bias.mean > bias.half_width,
        "they raise the variance, by more than the interval": variance.mean > variance.half_width,
        "three layers raise the sum at every width": all(
            each.mean > each.half_width for each in changes["squared_error"].values()
        ),
        f"layers of {NARROW} units raise bias²": changes["bias2"][NARROW].mean
        > changes["bias2"][NARROW].half_width,
    }


@finding("capacity")
def best_rates_on_the_edge(found: Results) -> Evidence:
    parts = decompositions(found)
    rates = sorted(found.rows["learning_rate"].unique())
    on_edge = parts[parts["learning_rate"] == rates[-1]]
    slow = parts[parts["learning_rate"] <= rates[1]]
    units = join_english(slow["hidden"]) if len(slow) else "none"
    everywhere = (
        _on_subsets(found).query("subset < 0").set_index(["examples", "hidden", "learning_rate", "metric"])
    )
    at_largest = everywhere["value"].xs(rates[-1], level="learning_rate").unstack("metric")
    least = slow.set_index(["examples", "hidden"])
    beside = at_largest.loc[least.index]
    return Evidence(
        f"For {len(on_edge)} of the {len(parts)} estimates the best rate is the largest that was tried. Where it is "
        f"small, for {units} units with {slow['examples'].min():,.0f} examples, training has come less far at its end, "
        "which shows as less variance and more bias.",
        {
            "some are the largest": len(on_edge) > 0,
            "some are small, with the fewest examples only": set(slow["examples"])
            == {parts["examples"].min()},
            "these have less variance and more bias than at the largest rate": bool(
                (least["variance"] < beside["variance"]).all() and (least["bias2"] > beside["bias2"]).all()
            ),
        },
    )


@finding("capacity")
def more_examples_lower_both(found: Results) -> Evidence:
    parts = decompositions(found)
    of_300 = parts[parts["hidden"] == "300"].set_index("examples").sort_index()
    few, more = of_300.iloc[0], of_300.iloc[-1]
    return Evidence(
        f"{count_words(round(of_300.index[-1] / of_300.index[0])).capitalize()} times as many examples lower both: the "
        f"variance of 784-300-10 by {format_percent(1 - more['variance'] / few['variance'], 0)}, its bias² by "
        f"{format_percent(1 - more['bias2'] / few['bias2'], 0)}.",
        {
            "the variance falls with more examples": bool(more["variance"] < few["variance"]),
            "bias² falls with more examples": bool(more["bias2"] < few["bias2"]),
        },
    )


@finding("capacity")
def architecture_by_rule(found: Results) -> Evidence:
    networks = architectures(found)
    accuracy = networks["validation_accuracy"]
    smallest = accuracy.index[accuracy >= accuracy.max() - MARGIN][0]
    return Evidence(
        f"The best, 784-{accuracy.idxmax()}-10, is {100 * (accuracy.max() - accuracy[USED]):.2f} points better, so "
        f"784-{USED}-10 is kept; a network as small as 784-{smallest}-10 would also do.",
        {f"784-{USED}-10 lies within the margin": bool(accuracy[USED] >= accuracy.max() - MARGIN)},
    )


@finding("capacity")
def parameters_counted(found: Results) -> Evidence:
    table = found.programs["parameters"].set_index("hidden")
    named = join_english(f"{table.loc[hidden, 'beta']:,} for 784-{hidden}-10" for hidden in NAMED)
    return Evidence(
        f"$\\beta$ is {named}; it agrees with the tensors of {len(table)} networks, all of this chapter among them.",
        {"formula and count agree for every network": bool((table["beta"] == table["counted"]).all())},
    )


@statement("capacity", said="β is 8,070, 16,330 and 238,510 for 784-10-10-10, 784-20-20-10 and 784-300-10.")
def numbers_of_parameters(found: Results) -> Evidence:
    counted = found.programs["parameters"].set_index("hidden").loc[list(NAMED), "counted"]
    return Evidence(
        f"{join_english(f'{value:,}' for value in counted)}, by formula and by counting.",
        {"the counts are these": counted.tolist() == [8_070, 16_330, 238_510]},
    )
