"""Q3, depth and width: train and test error over capacity, bias² and variance, and the network of assignment 2."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.engine.run import num_parameters_of
from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding, statement
from analysis.formatting import (
    count_words,
    format_count,
    format_interval,
    format_percent,
    join_english,
)
from analysis.plotting import GREEN, INK, PINK, QUIET, TRAIN_TEST, WIDTH, plain_ticks, write_in
from analysis.questions.capacity.runs import BUDGETS, SUBSETS
from analysis.results import Results, remembered
from analysis.statistics import paired_t

MARGIN = 0.003  # validation accuracy by which another network must be better than USED to replace it
NAMED = ("10-10", "20-20", "300")  # the networks whose β the text names
USED = "300"  # the network of assignment 2
WIDE, NARROW = 300, 4  # the layers whose depth is varied in the text
DEPTHS = (1, 2, 3)
FITTED = 0.005  # a train error below it is as good as none
SMALL_RISE = 0.1  # by which the squared error may rise over width, relative to its least value
LEAST_ERROR = 0.02  # in %: where an error of 0 is drawn on a logarithmic axis
DEPTH_STYLES: tuple[dict[str, Any], ...] = (  # by number of hidden layers, from one on
    {"marker": "o", "linestyle": "-"},
    {"marker": "^", "linestyle": (0, (4, 1.5))},
    {"marker": "s", "linestyle": (0, (1.5, 1))},
)


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
def decompositions(found: Results) -> pd.DataFrame:
    """Return bias² and variance, all networks of a number of training examples at one rate.

    That is the rate with the higher mean validation accuracy over these networks: another rate stops at another point
    of training, and would be read as an effect of the network.

    Returns:
        Columns examples, hidden, depth, beta, learning_rate, bias2, variance, squared_error.
    """
    rows = _on_subsets(found)
    validation = rows[rows["metric"] == "validation_accuracy"]
    means = validation.groupby(["examples", "learning_rate"])["value"].mean()
    best = means.groupby("examples").idxmax().map(lambda index: index[-1]).rename("learning_rate")
    chosen = rows[rows["subset"] < 0].merge(best.reset_index(), on=["examples", "learning_rate"])
    wide = chosen.set_index(["examples", "hidden", "learning_rate", "metric"])["value"].unstack("metric")
    return _with_sizes(wide.reset_index()).sort_values(["examples", "depth", "beta"], ignore_index=True)


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


def relative_rise(over_width: pd.Series[float]) -> float:
    """Return how far the last value lies above the least, relative to it."""
    return float(over_width.iloc[-1] / over_width.min() - 1)


# Exhibits


@exhibit("tbl-parameters", "capacity")
def parameters_table(found: Results) -> Table:
    """Tabulate β by formula and counted."""
    table = found.programs["parameters"]
    frame = pd.DataFrame(
        {
            "Network": "784-" + table["hidden"] + "-10",
            "β by @eq-beta": table["beta"].map("{:,}".format),
            "Counted": table["counted"].map("{:,}".format),
        }
    )
    return Table(frame, "Number of parameters β by the formula, and counted in the built networks.")


@exhibit(
    "fig-capacity",
    "capacity",
    explore=(
        "metric=test_accuracy"
        "&run=hidden:300,learning_rate:0.001"
        "&pin=hidden:4"
        "&pin=hidden:64"
        "&pin=hidden:1024"
        "&pin=hidden:300-300-300"
    ),
)
def errors_over_capacity(found: Results) -> Picture:
    """Draw errors over β above, bias² and variance below, a column per number of training examples."""
    runs, parts = final_accuracies(found), decompositions(found)
    sizes = sorted(runs["examples"].unique())
    figure, grid = plt.subplots(2, len(sizes), figsize=(WIDTH, 2.9), sharex=True, sharey="row", squeeze=False)
    for column, examples in enumerate(sizes):
        above, below = grid[:, column]
        above.set_title(f"{examples:,} examples")
        errors = {f"{part}_error": 100 * (1 - runs[f"{part}_accuracy"]) for part in TRAIN_TEST}
        _draw_over_beta(
            above,
            runs[runs["examples"] == examples].assign(**errors),
            {f"{part}_error": style["color"] for part, style in TRAIN_TEST.items()},
            LEAST_ERROR,
        )
        above.set_yscale("log")
        plain_ticks(above.yaxis)
        above.set_ylim(bottom=LEAST_ERROR)
        chosen = parts[parts["examples"] == examples]
        if len(chosen):
            _draw_over_beta(below, chosen, {"squared_error": QUIET, "bias2": GREEN, "variance": PINK})
            below.set_yscale("log")
            plain_ticks(below.yaxis)
        else:
            below.set_axis_off()
            above.tick_params(labelbottom=True)
        (below if len(chosen) else above).set_xlabel("number of parameters β")
        above.set_xscale("log")
    _depth_legend(grid[1, -1], sorted(runs["depth"].unique()))
    _name_lines(*grid[:, 0])
    grid[0, 0].set_ylabel("error in %")
    grid[1, 0].set_ylabel("squared error")
    panels = len(sizes) + parts["examples"].nunique()
    return Picture(
        figure,
        "Error, bias² and variance over capacity. Above: train and test error over β, each network at the better of "
        f"{count_words(found.rows['learning_rate'].nunique(), 'learning rate')}, means over seeds or disjoint training "
        "sets; an error of 0 is drawn at the lower edge. Below: bias², variance and their sum on the test set, all "
        "networks of a panel at the same rate. Test error falls and flattens; it does not turn up.",
        f"{count_words(panels, 'panel').capitalize()} over the number of parameters on logarithmic axes, for "
        f"{join_english(f'{size:,}' for size in sizes)} training examples. Train error falls to zero, test error falls "
        "and flattens. Bias² falls, variance falls from its value for the narrowest networks and rises slightly at the "
        "end; with two and three hidden layers variance is higher.",
    )


def _draw_over_beta(axes: Axes, frame: pd.DataFrame, colours: dict[str, str], least: float = 0.0) -> None:
    """Draw the mean of some columns over β, a line per depth; what lies below `least` is drawn there."""
    for depth, of_depth in frame.groupby("depth"):
        for column, colour in colours.items():
            mean = of_depth.groupby("beta")[column].mean().clip(lower=least)
            axes.plot(mean.index, mean, color=colour, markersize=3.5, label=column, **_depth_style(depth))


def _depth_style(depth: int) -> dict[str, Any]:
    return DEPTH_STYLES[(depth - 1) % len(DEPTH_STYLES)]


def _name_lines(above: Axes, below: Axes) -> None:
    """Name the lines of the first column, on the side where each has room."""
    for axes, names in (
        (above, {"test_error": ("test", -1, 5), "train_error": ("train", 4, 5)}),
        (below, {"squared_error": ("bias² + variance", -1, 5), "bias2": ("bias²", -1, -9)}),
        (below, {"variance": ("variance", -1, -9)}),
    ):
        for line in axes.lines:
            if line.get_label() in names:
                text, point, offset = names.pop(str(line.get_label()))  # the first is of one hidden layer
                x, y = (np.asarray(data) for data in line.get_data())
                point = min(point, len(x) - 1)
                axes.annotate(
                    text,
                    (x[point], y[point]),
                    xytext=(0, offset),
                    textcoords="offset points",
                    ha="right" if point == -1 else "left",
                    va="center",
                    fontsize=8,
                    color=line.get_color(),
                )


def _depth_legend(axes: Axes, depths: list[int]) -> None:
    """Name the markers, in the middle of a panel that is free."""
    handles = [
        Line2D(
            [],
            [],
            color=INK,
            markersize=3.5,
            label=format_count(depth, "hidden layer"),
            **_depth_style(depth),
        )
        for depth in depths
    ]
    axes.legend(handles=handles, loc="best" if axes.axison else "center", fontsize=8, handlelength=2.6)


@sketch("capacity", alt="Over width, bias falls; variance first falls and then stays nearly level.")
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
def variance_hardly_pays(found: Results) -> Evidence:
    parts = decompositions(found)
    examples = parts["examples"].max()
    shallow = one_hidden_layer(parts, examples)
    bias, variance = shallow["bias2"], shallow["variance"]
    rises = [
        relative_rise(one_hidden_layer(parts, size)["squared_error"]) for size in parts["examples"].unique()
    ]
    return Evidence(
        "Width lowers the bias, and at first the variance too: with "
        f"{examples:,} examples it is least at width {variance.idxmin():,} and rises only little beyond. Bias² and "
        f"variance together never rise by more than {format_percent(max(rises), 0)}, so there is hardly an optimum at "
        "moderate capacity.",
        {
            "bias² is least at the largest width": bool(bias.idxmin() == bias.index[-1]),
            "the variance is least in between": 0
            < list(variance.index).index(variance.idxmin())
            < len(variance) - 1,
            "it ends below half of its largest value": bool(variance.iloc[-1] < variance.max() / 2),
            f"bias² + variance rises by less than {format_percent(SMALL_RISE, 0)} whatever the number of examples": (
                max(rises) < SMALL_RISE
            ),
        },
        "Width lowers the bias and hardly raises the variance: wider is seldom worse.",
    )


@finding("capacity")
def no_optimum_at_moderate_capacity(found: Results) -> Evidence:
    parts, runs = decompositions(found), final_accuracies(found)
    few, more, most = parts["examples"].min(), parts["examples"].max(), runs["examples"].max()
    errors = {size: one_hidden_layer(parts, size)["squared_error"] for size in (few, more)}
    accuracy = {size: accuracies_over_width(runs, size) for size in (few, more, most)}
    wide = accuracy[few].columns[-1]
    bottom = errors[few].idxmin()
    train = 1 - runs[(runs["depth"] == 1) & (runs["hidden"] == str(wide))]["train_accuracy"]
    rise = relative_rise(errors[few])
    return Evidence(
        f"Confirmed: bias² falls with width, and wide networks fit nearly all training examples. Not confirmed: an "
        f"optimum at moderate capacity. With {few:,} examples there is a trace of it, a rise of bias² + variance by "
        f"{format_percent(rise)} from width {bottom:,} on; with more examples the widest network of one hidden layer "
        "is the best.",
        {
            f"the widest network's train error is below {format_percent(FITTED)} whatever the number of examples": bool(
                train.groupby(runs["examples"]).mean().max() < FITTED
            ),
            "with the fewest examples, bias² + variance rises at the end": rise > 0,
            f"it rises by less than {format_percent(SMALL_RISE, 0)}": rise < SMALL_RISE,
            "with more examples, bias² + variance is least at the largest width": bool(
                errors[more].idxmin() == wide
            ),
            "with more examples, the widest network has the highest test accuracy": all(
                accuracy[size].mean().idxmax() == wide for size in (more, most)
            ),
        },
    )


@finding("capacity")
def depth_trades_bias_for_variance(found: Results) -> Evidence:
    parts, runs = decompositions(found), final_accuracies(found)
    examples = parts["examples"].max()
    by_network = parts[parts["examples"] == examples].set_index("hidden")
    wide, narrow = (
        by_network.loc[["-".join([str(width)] * depth) for depth in DEPTHS], ["bias2", "variance"]]
        for width in (WIDE, NARROW)
    )
    accuracy = runs[runs["examples"] == examples].pivot(
        index="replicate", columns="hidden", values="test_accuracy"
    )
    second = paired_t(accuracy[f"{WIDE}-{WIDE}"], accuracy[f"{WIDE}"]).difference
    return Evidence(
        f"Depth trades bias for variance: with {examples:,} examples, every further layer of {WIDE} units lowers bias² "
        f"and raises the variance. The second lowers the test error by {format_interval(second, 2, '')} points. Layers "
        f"of {NARROW} units, a bottleneck, raise bias² instead.",
        {
            f"with {WIDE} units, every further layer lowers bias²": wide["bias2"].is_monotonic_decreasing,
            f"with {WIDE} units, every further layer raises the variance": wide[
                "variance"
            ].is_monotonic_increasing,
            f"with {NARROW} units, every further layer raises bias²": narrow["bias2"].is_monotonic_increasing,
            "the second layer lowers the test error by more than the interval's half width": (
                second.mean > second.half_width
            ),
        },
    )


@finding("capacity")
def more_examples_lower_both(found: Results) -> Evidence:
    parts = decompositions(found)
    of_300 = parts[parts["hidden"] == "300"].set_index("examples").sort_index()
    few, more = of_300.iloc[0], of_300.iloc[-1]
    return Evidence(
        f"More examples lower both: from {of_300.index[0]:,} to {of_300.index[-1]:,}, the variance of 784-300-10 falls "
        f"by {format_percent(1 - more['variance'] / few['variance'], 0)} and its bias² by "
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
        f"$\\beta$ is {named}, and agrees with the tensors of all {len(table)} networks that were built.",
        {"formula and count agree for every network": bool((table["beta"] == table["counted"]).all())},
    )


@statement("capacity", said="β is 8,070, 16,330 and 238,510 for 784-10-10-10, 784-20-20-10 and 784-300-10.")
def numbers_of_parameters(found: Results) -> Evidence:
    counted = found.programs["parameters"].set_index("hidden").loc[list(NAMED), "counted"]
    return Evidence(
        f"{join_english(f'{value:,}' for value in counted)}, by formula and by counting.",
        {"the counts are these": counted.tolist() == [8_070, 16_330, 238_510]},
    )
