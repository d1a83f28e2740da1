"""Q3, depth and width: train and test error over capacity, bias² and variance, and the network of assignment 2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MultipleLocator

from analysis.engine.run import num_parameters_of
from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding, statement
from analysis.formatting import (
    count_words,
    format_interval,
    format_percent,
    format_rate,
    join_english,
)
from analysis.plotting import (
    GREEN,
    MARKER,
    PINK,
    QUIET,
    TEST,
    TRAIN_TEST,
    WIDTH,
    label_ends,
    plain_ticks,
    write_in,
)
from analysis.question import Budget
from analysis.questions.capacity.runs import BATCH_SIZE, BUDGETS, CONTENDERS, CONTEST_RATE, SUBSETS
from analysis.results import Results, remembered
from analysis.statistics import Interval, final_values, jackknife_half_width, paired_t, t_interval

MARGIN = 0.003  # validation accuracy: the rule of the first runs
NAMED = ("10-10", "20-20", "300")  # the networks whose β the text names
CONTEST = tuple("-".join(map(str, hidden)) for hidden in CONTENDERS)
USED = "300"  # the network of assignment 1, and of assignment 2
WIDE, NARROW = 300, 4  # the layers whose depth is varied in the text; wider ones are compared with WIDE
DEPTHS = (1, 2, 3)
LARGE = 128  # the table has the networks of layers with at least so many units
DRAWN_FROM = 64  # the least width whose change to WIDE is drawn
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
    planned = found.rows["seed"].isin(BUDGETS[found.preset].seeds)
    ends = found.rows[planned & (found.rows["update"] == found.rows["update"].max())]
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


def change(
    found: Results, examples: int, metric: str, first: str, second: str, rate: float | None = None
) -> Interval:
    """Return by what share a component changes from a network to another, both from the same training sets.

    Args:
        rate: The learning rate of both; if there is none, each has its best one.
    """
    rows = leave_one_out(found) if rate is None else _on_subsets(found)
    chosen = rows[(rows["examples"] == examples) & (rows["metric"] == metric)]
    if rate is not None:
        chosen = chosen[chosen["learning_rate"] == rate]
    return _change(chosen.pivot(index="subset", columns="hidden", values="value"), first, second)


def _change(table: pd.DataFrame, first: str | int, second: str | int) -> Interval:
    """Return by what share one column of estimates exceeds another; index: the training set left out, or -1."""
    shares = table[second] / table[first] - 1
    left_out = shares[shares.index >= 0]
    return Interval(float(shares[-1]), jackknife_half_width(left_out), len(left_out))


def _rises_with_every_step(values: pd.Series[float]) -> bool:
    """Return whether values over width rise from WIDE on."""
    return bool((values.loc[WIDE:].diff().dropna() > 0).all())


@remembered
def by_rate(found: Results) -> pd.DataFrame:
    """Return what becomes of networks of one hidden layer from WIDE to the widest, at every rate by itself.

    Returns:
        Index: examples, learning_rate. Columns: train_loss and train_loss_widest; bias2, variance and squared_error:
        the Interval of their change; bias2_rises and so on: whether they rise with every step of the width; and
        least_variance and least_sum, the widths at which those are least.
    """
    rows = _on_subsets(found)
    rows = rows[~rows["hidden"].str.contains("-")].assign(width=lambda each: each["hidden"].astype(int))
    lines = {}
    for (examples, rate), of_rate in rows.groupby(["examples", "learning_rate"]):
        losses = of_rate[of_rate["metric"] == "train_loss"].groupby("width")["value"].mean()
        widest = losses.index[-1]
        tables = {
            metric: of_rate[of_rate["metric"] == metric].pivot(
                index="subset", columns="width", values="value"
            )
            for metric in COMPONENTS
        }
        variance = tables["variance"].loc[-1]
        lines[examples, rate] = {
            "train_loss": losses[WIDE],
            "train_loss_widest": losses[widest],
            **{metric: _change(table, WIDE, widest) for metric, table in tables.items()},
            **{f"{metric}_rises": _rises_with_every_step(tables[metric].loc[-1]) for metric in COMPONENTS},
            "least_variance": variance.idxmin(),
            "least_sum": tables["squared_error"].loc[-1].idxmin(),
        }
    frame = pd.DataFrame.from_dict(lines, orient="index")
    return frame.rename_axis(index=["examples", "learning_rate"])


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
        if _width(str(hidden)) >= LARGE:
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
        f"Networks with layers of {LARGE} units or more, each at its best rate: accuracies in percent after training "
        f"on {runs['examples'].max():,} examples, with 95 % t intervals over "
        f"{count_words(len(BUDGETS[found.preset].seeds), 'seed')}; bias², variance and their sum with {examples:,} "
        "examples, with 95 % jackknife intervals (the disjoint training sets left out one at a time).",
        (20, 9, 14, 14, 17, 17, 17),
    )


@exhibit("tbl-capacity-expected", "capacity")
def expectations_table(found: Results) -> Table:
    """Tabulate what was expected of width and depth beside what was found, each network at its best rate."""
    sizes, widest = _sizes(decompositions(found)), _widest(found)
    layers = f"{count_words(1)} to {count_words(DEPTHS[-1])} layers of"
    changes = [
        *(
            (f"width {first:,} to {second:,}", str(first), str(second), examples, "falls", "rises")
            for first, second in ((NARROW, WIDE), (WIDE, widest))
            for examples in sizes
        ),
        (f"{layers} {WIDE}", str(WIDE), _deep(WIDE), sizes[-1], "falls", "rises"),
        (f"{layers} {NARROW}", str(NARROW), _deep(NARROW), sizes[-1], "rises", "stays"),
    ]
    lines = [
        {
            "Change": words,
            "Examples": f"{examples:,}",
            "bias² expected": bias,
            "bias² found": format_interval(change(found, examples, "bias2", first, second), 0),
            "Variance expected": variance,
            "Variance found": format_interval(change(found, examples, "variance", first, second), 0),
            "Sum found": format_interval(change(found, examples, "squared_error", first, second), 0),
        }
        for words, first, second, examples, bias, variance in changes
    ]
    return Table(
        pd.DataFrame(lines),
        "What was expected of width and depth, and by how much bias², variance and their sum change, with 95 % "
        "jackknife intervals; each network at its best rate.",
        (22, 10, 10, 14, 11, 15, 14),
    )


@exhibit("tbl-capacity-rates", "capacity")
def changes_at_each_rate(found: Results) -> Table:
    """Tabulate what becomes of bias² and variance beyond WIDE at every rate, and where the train loss grows."""
    cases, widest = by_rate(found), _widest(found)
    parts = {"bias2": "bias²", "variance": "variance", "squared_error": "sum"}
    lines = []
    for rate, of_rate in cases.groupby("learning_rate"):
        line = {"$\\eta$": format_rate(rate)}
        for examples, case in of_rate.droplevel("learning_rate").iterrows():
            lost = case["train_loss_widest"] > case["train_loss"]
            line |= {
                f"{examples:,}: {name}": format_interval(
                    case[part], 0, "*" if lost and part == "bias2" else ""
                )
                for part, name in parts.items()
            }
            line[f"{examples:,}: least at"] = f"{case['least_sum']:,}"
        lines.append(line)
    return Table(
        pd.DataFrame(lines),
        f"From {WIDE} to {widest:,} units in one hidden layer, at one rate for both: by what percentage bias², "
        "variance and their sum change, with 95 % jackknife intervals, and the width of all in @fig-capacity with "
        "the least sum, by number of training examples. Asterisk: the wider network ends with the larger train "
        "loss.",
        (9, 12, 13, 12, 10, 12, 12, 12, 10),
    )


def _width(hidden: str) -> int:
    """Return the units of a network's first hidden layer."""
    return int(hidden.split("-", maxsplit=1)[0])


def _widest(found: Results) -> int:
    return max(map(_width, found.rows["hidden"].unique()))


@exhibit(
    "fig-capacity",
    "capacity",
    explore=(
        "metric=test_accuracy"
        "&run=hidden:300,learning_rate:0.005"
        "&pin=hidden:4"
        "&pin=hidden:64"
        "&pin=hidden:2048"
        "&pin=hidden:300-300-300"
    ),
)
def errors_and_components(found: Results) -> Picture:
    """Draw errors over β, and for either number of examples bias², variance and their sum over the width."""
    runs, parts = final_accuracies(found), decompositions(found)
    figure, (errors, *panels) = plt.subplots(1, 3, figsize=(WIDTH, 1.95))
    _draw_errors(errors, runs)
    for axes, examples in zip(panels, _sizes(parts), strict=True):
        shallow = one_hidden_layer(parts, examples)
        for name, style in COMPONENT_STYLES.items():
            line = {**style, "label": None, "markersize": MARKER}
            axes.errorbar(shallow.index, shallow[name], shallow[f"{name}_half"], elinewidth=0.8, **line)
        axes.set_yscale("log")
        plain_ticks(axes.yaxis)
        _width_axis(axes, (2, 16, 128, _widest(found)))
        axes.set_title(f"{examples:,} examples")
    panels[0].set_ylabel("squared error")
    _share_y(panels)
    _legend(figure, errors=True)
    return Picture(
        figure,
        "Error, bias² and variance, each network at the best of "
        f"{count_words(found.rows['learning_rate'].nunique(), 'learning rate')}. Left: test error over the number of "
        "parameters β, with one hidden layer (lines; labels: number of training examples), and train error with "
        f"{runs['examples'].max():,} of them (0 is drawn at the lower edge); triangles and squares: two and three "
        "hidden layers. Middle and right: with one hidden layer, trained on small sets. Intervals of level 95 %.",
        "Three panels. Test error falls with the number of parameters and flattens, the sooner the fewer examples; "
        "train error falls to zero. Bias² and variance fall with width and turn up slightly at the largest widths.",
    )


@exhibit(
    "fig-capacity-changes",
    "capacity",
    explore="metric=test_loss&run=hidden:300,learning_rate:0.005&pin=hidden:2048&pin=hidden:300-300-300",
)
def changes_of_components(found: Results) -> Picture:
    """Draw by how much the components change with the width, for either number of examples, and with the depth."""
    parts = decompositions(found)
    figure, (*panels, depth) = plt.subplots(1, 3, figsize=(WIDTH, 1.95))
    for axes, examples in zip(panels, _sizes(parts), strict=True):
        widths = one_hidden_layer(parts, examples).loc[DRAWN_FROM:].index
        changes = {
            name: {width: change(found, examples, name, str(WIDE), str(width)) for width in widths}
            for name in COMPONENTS
        }
        _draw_changes(axes, changes)
        _width_axis(axes, (DRAWN_FROM, WIDE, _widest(found)))
        axes.set_title(f"{examples:,} examples")
    panels[0].set_ylabel(f"change from\n{WIDE} units in %")
    _share_y(panels)
    _draw_depth(depth, found)
    _legend(figure)
    return Picture(
        figure,
        f"Changes of bias², variance and their sum. Left and middle: from a hidden layer of {WIDE} units to one of "
        "another width. Right: from one hidden layer to two (open) and three of the same width. Each network at its "
        "best rate; 95 % jackknife intervals of the change, over training sets that both networks share.",
        "Three panels. Beyond the middle widths the variance rises by more than its intervals, with fewer examples "
        "also bias². Further layers raise the variance at every width, and lower bias² but where layers are narrow.",
    )


def _sizes(parts: pd.DataFrame) -> list[int]:
    """Return the sizes of the small training sets."""
    return sorted(parts["examples"].unique())


def _width_axis(axes: Axes, ticks: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{width:,}" for width in ticks])
    axes.minorticks_off()
    axes.set_xlabel("width")


def _share_y(panels: Sequence[Axes]) -> None:
    """Give panels the limits that all of them need."""
    first, *others = panels
    for axes in others:
        axes.sharey(first)
        axes.tick_params(labelleft=False)
    first.autoscale(axis="y")


def _legend(figure: Figure, errors: bool = False) -> None:
    """Name the lines below the panels."""
    handles = [
        *(Line2D([], [], label=f"{name} error", **style) for name, style in TRAIN_TEST.items() if errors),
        *(Line2D([], [], markersize=MARKER, **style) for style in COMPONENT_STYLES.values()),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, handlelength=2)


def _draw_errors(axes: Axes, runs: pd.DataFrame) -> None:
    """Draw test error over β, and with most examples train error; what lies below LEAST_ERROR is drawn there."""
    ends, most = [], runs["examples"].max()
    for (examples, depth), of_depth in runs.groupby(["examples", "depth"]):
        if depth > 1 and examples < most:
            continue
        for part, style in TRAIN_TEST.items():
            if part == "train" and examples < most:
                continue
            errors = (1 - of_depth[f"{part}_accuracy"]).groupby(of_depth["beta"]).agg(t_interval)
            mean = np.array([100 * each.mean for each in errors]).clip(min=LEAST_ERROR)
            half = [100 * each.half_width if each.n > 1 else 0 for each in errors]
            look = {"color": style["color"], "markersize": MARKER, "elinewidth": 0.8}
            if depth == 1:
                look |= {"marker": ".", "linestyle": style.get("linestyle", "-")}
                ends += [(errors.index[-1], mean[-1], f"{examples:,}", TEST)] if part == "test" else []
            else:
                look |= {"marker": MARKERS[(depth - 1) % len(MARKERS)], "linestyle": "", "alpha": 0.8}
            axes.errorbar(errors.index, mean, np.array([np.minimum(half, mean - LEAST_ERROR), half]), **look)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(bottom=LEAST_ERROR)
    axes.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    axes.set_xlabel("number of parameters β")
    axes.set_ylabel("error in %")
    label_ends(axes, ends)


def _draw_changes(axes: Axes, changes: dict[str, dict[int, Interval]], **look: Any) -> None:
    """Draw changes of the components, with their intervals, beside each other over the width."""
    for place, (name, by_width) in enumerate(changes.items()):
        axes.errorbar(
            [width * 1.06 ** (place - 1) for width in by_width],
            [100 * each.mean for each in by_width.values()],
            [100 * each.half_width for each in by_width.values()],
            elinewidth=0.9,
            capsize=1.5,
            **{**COMPONENT_STYLES[name], "label": None, "markersize": MARKER, **look},
        )
    axes.axhline(0, color=QUIET, linewidth=0.6)


def _draw_depth(axes: Axes, found: Results) -> None:
    """Draw by how much the components change with further layers, over their width."""
    parts = decompositions(found)
    examples = parts["examples"].max()
    widths = depth_widths(found)
    for depth, look in (
        (DEPTHS[1], {"markerfacecolor": "white", "linewidth": 0.7}),
        (DEPTHS[-1], {}),
    ):
        changes = {
            name: {width: change(found, examples, name, str(width), _deep(width, depth)) for width in widths}
            for name in COMPONENTS
        }
        _draw_changes(axes, changes, **look)
    _width_axis(axes, widths)
    axes.yaxis.set_major_locator(MultipleLocator(50))
    axes.set_ylabel("change from\none layer in %")
    axes.set_title(f"{examples:,} examples")


def depth_widths(found: Results) -> list[int]:
    """Return the widths of which there are networks of every depth."""
    names = set(decompositions(found)["hidden"])
    return sorted(int(name) for name in names if name.isdigit() and _deep(int(name)) in names)


def _deep(width: int, depth: int = DEPTHS[-1]) -> str:
    return "-".join([str(width)] * depth)


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
    cases = by_rate(found).loc[few]
    rises, least = cases["squared_error"], cases["least_sum"]
    return Evidence(
        f"A layer of {WIDE} units has less bias² than one of {NARROW} and, against expectation, less variance. "
        f"Beyond, the variance rises, and whether bias² falls or rises depends on the learning rate. With {few:,} "
        f"examples this makes an optimum at moderate width: at each of {count_words(len(cases), 'learning rate')}, "
        f"bias² + variance is least at {least.min()} to {least.max()} units. Three layers instead of one lower the "
        "bias² of wide networks and raise their variance.",
        {
            f"up to width {WIDE}, bias² is least at the end, whatever the number of examples": all(
                each.loc[:WIDE, "bias2"].idxmin() == WIDE for each in shallow.values()
            ),
            f"the variance at width {WIDE} is below half of its largest": all(
                bool(each.loc[WIDE, "variance"] < each["variance"].max() / 2) for each in shallow.values()
            ),
            f"with few examples the sum rises beyond {WIDE}, by more than the interval, at every rate": all(
                rise.mean > rise.half_width for rise in rises
            ),
            f"beyond {WIDE}, bias² changes by less than a tenth": all(
                abs(change(found, size, "bias2", str(WIDE), str(width)).mean) < 0.1
                for size, each in shallow.items()
                for width in each.index
                if width > WIDE
            ),
            f"the variance rises beyond {WIDE} at every rate": bool(by_rate(found)["variance_rises"].all()),
            **_depth_conditions(found),
        },
        f"With {few:,} examples a moderate width is best; depth trades bias for variance.",
    )


@finding("capacity")
def variance_turns_at_every_rate(found: Results) -> Evidence:
    cases = by_rate(found)
    least = cases["least_variance"]
    clear = sum(each.mean > each.half_width for each in cases["variance"])
    widths = one_hidden_layer(decompositions(found), cases.index[0][0]).index
    return Evidence(
        "The variance falls, though not at every step (@fig-capacity), and then turns. At each rate by itself, and "
        f"with either number of examples, it is least at {least.min()} to {least.max()} units, and rises with every "
        f"step from {WIDE} to {widths[-1]:,}.",
        {
            "the least variance lies neither at the narrowest nor at the widest": bool(
                least.between(widths[1], WIDE).all()
            ),
            "it rises with every step, at every rate": bool(cases["variance_rises"].all()),
            "all but one of the rises are larger than their intervals": clear >= len(cases) - 1,
        },
    )


@finding("capacity")
def bias_rises_with_the_train_loss(found: Results) -> Evidence:
    cases = by_rate(found)
    lost = cases["train_loss_widest"] > cases["train_loss"]
    few, more = (cases.index.unique("examples")[place] for place in (0, -1))
    rates = cases.index.unique("learning_rate")
    losing = sorted(set(cases.index[lost].get_level_values("learning_rate")))
    shared = rates[rates.get_indexer([losing[0]])[0] - 1] if losing else rates[0]  # the largest of the others
    at = {size: cases.loc[(size, shared), "bias2"] for size in (few, more)}
    best = change(found, few, "bias2", str(WIDE), str(_widest(found)))
    others = cases.loc[~lost, "bias2"]
    rising = [each for each in others if each.mean > each.half_width]
    most = max((each.mean for each in others), default=0.0)
    return Evidence(
        f"With {few:,} examples bias² rises as well. This points to the optimizer, not to capacity "
        f"(@tbl-capacity-rates). At the two largest rates, {join_english(map(format_rate, losing))}, the "
        "wider network also ends with the larger train loss, and there bias² rises most. At "
        f"{format_rate(shared)}, the best rate of the wider network, bias² does not rise: it changes by "
        f"{format_interval(at[few], 1)} with {few:,} examples and by {format_interval(at[more], 1)} with {more:,}.",
        {
            "with few examples bias² rises at the best rates": best.mean > best.half_width,
            "there are two rates at which the train loss rises": len(losing) == 2,
            "the rates at which the train loss rises are the same for each number of examples, and the largest": set(
                losing
            )
            == set(rates[len(rates) - len(losing) :])
            and bool(lost.groupby("learning_rate").agg(lambda of_rate: of_rate.all() == of_rate.any()).all()),
            "at those, bias² rises by more than the interval": len(losing) > 0
            and all(each.mean > each.half_width for each in cases.loc[lost, "bias2"]),
            "at the others in one case at most": len(rising) <= 1,
            "at the others by less than at any of those": all(
                most < each.mean for each in cases.loc[lost, "bias2"]
            ),
            "the largest of the others is the best rate of the widest network": all(
                _best_rate(found, size, _widest(found)) == shared for size in (few, more)
            ),
            "with few examples it does not change there, within the interval": abs(at[few].mean)
            < at[few].half_width,
            "with more examples it falls at the largest of the others": at[more].mean < -at[more].half_width,
        },
    )


@finding("capacity")
def optimum_with_few_examples(found: Results) -> Evidence:
    few = decompositions(found)["examples"].min()
    rises, lost = _rises(found, few), _lost_accuracy(found, few)
    widest = _widest(found)
    cases = by_rate(found).loc[few]
    return Evidence(
        f"With {few:,} examples, bias² + variance is larger at {widest:,} units than at {WIDE}, and test accuracy "
        f"lower by {format_interval(lost[widest], 1, '')} points. That there is an optimum does not depend on the "
        f"rate: at each of the {count_words(len(cases))}, the sum rises with every step beyond {WIDE}. Where it lies "
        "does (@tbl-capacity-rates).",
        {
            "beyond the next width, sum and accuracy change by more than their intervals": all(
                change.mean > change.half_width
                for of_width in (rises, lost)
                for change in list(of_width.values())[1:]
            ),
            "at every rate the sum rises with every step": bool(cases["squared_error_rises"].all()),
        },
    )


@finding("capacity")
def optimum_depends_on_the_rate(found: Results) -> Evidence:
    more, most = decompositions(found)["examples"].max(), final_accuracies(found)["examples"].max()
    rises = _rises(found, more)
    widest = _widest(found)
    lost = {size: _lost_accuracy(found, size)[widest] for size in (more, most)}
    cases = by_rate(found).loc[more]
    falls = {rate: each for rate, each in cases["squared_error"].items() if each.mean < -each.half_width}
    rate, fall = next(iter(falls.items()), (cases.index[0], cases["squared_error"].iloc[0]))
    least = by_rate(found)["least_sum"].unstack("examples")
    moved = int((least[more] > least.iloc[:, 0]).sum())
    return Evidence(
        f"With {more:,} examples the sum rises less. That may come from "
        f"the rates: the best one is {format_rate(_best_rate(found, more, WIDE))} for {WIDE} units and "
        f"{format_rate(_best_rate(found, more, widest))} for {widest:,}. At {format_rate(rate)} for both, the sum even "
        f"falls, by {format_interval(replace(fall, mean=-fall.mean), 1)}. With {most:,}, accuracy differs within the "
        f"noise ({format_interval(replace(lost[most], mean=-lost[most].mean), 1, '')} points). That the best width "
        f"grows with the examples holds at {count_words(moved)} of the {count_words(len(cases), 'rate')} only.",
        {
            "with more examples accuracy is lower at the widest, by more than the interval": lost[more].mean
            > lost[more].half_width,
            "with most it is not": abs(lost[most].mean) < lost[most].half_width,
            "the sum is larger at the widest, by more than the interval": rises[widest].mean
            > rises[widest].half_width,
            "it falls by more than the interval at one rate": len(falls) == 1,
            "to the widest network": bool(cases.loc[rate, "least_sum"] == widest),
            "the best width grows at some rates and not at all": 0 < moved < len(cases),
            "the widest network has a smaller best rate": _best_rate(found, more, widest)
            < _best_rate(found, more, WIDE),
        },
    )


def _rises(found: Results, examples: int) -> dict[int, Interval]:
    """Return by what share the sum of networks wider than WIDE exceeds that of WIDE, at their best rates."""
    widths = one_hidden_layer(decompositions(found), examples).index
    return {
        width: change(found, examples, "squared_error", str(WIDE), str(width))
        for width in widths
        if width > WIDE
    }


def _lost_accuracy(found: Results, examples: int) -> dict[int, Interval]:
    """Return by how much test accuracies of networks wider than WIDE lie below that of WIDE, at their best rates."""
    table = accuracies_over_width(final_accuracies(found), examples)
    return {width: paired_t(table[WIDE], table[width]).difference for width in table if width > WIDE}


def _best_rate(found: Results, examples: int, width: int) -> float:
    return float(one_hidden_layer(decompositions(found), examples).loc[width, "learning_rate"])


@finding("capacity")
def depth_trades_bias_for_variance(found: Results) -> Evidence:
    parts = decompositions(found)
    examples = parts["examples"].max()
    bias, variance, both = (
        change(found, examples, name, str(WIDE), _deep(WIDE))
        for name in ("bias2", "variance", "squared_error")
    )
    best = parts[parts["examples"] == examples].set_index("hidden")["learning_rate"]
    rate = float(best[_deep(WIDE)])
    alike = [
        change(found, examples, name, str(WIDE), _deep(WIDE), rate)
        for name in ("bias2", "variance", "squared_error")
    ]
    return Evidence(
        f"Three layers of {WIDE} units instead of one lower bias² and raise the variance. Their sum is larger by "
        f"{format_interval(both, 0)} if each network has its best rate. At {format_rate(rate)}, the best of the deep "
        "one, for both, bias² is lower and the variance higher as well, and the sum changes by "
        f"{format_interval(alike[2], 1)}. Two layers of that width lie in between.",
        {
            **_depth_conditions(found),
            "three layers raise the sum at every width": all(
                each.mean > each.half_width
                for width in depth_widths(found)
                for each in (change(found, examples, "squared_error", str(width), _deep(width)),)
            ),
            "one layer has a larger best rate": bool(best[str(WIDE)] > rate),
            "at that of the deep network the signs are the same": -alike[0].mean > alike[0].half_width
            and alike[1].mean > alike[1].half_width,
            "and the sum does not change, within the interval": abs(alike[2].mean) < alike[2].half_width,
            "two layers lie in between": all(
                min(0.0, three.mean) <= two.mean <= max(0.0, three.mean)
                for name, three in (("bias2", bias), ("variance", variance))
                for two in (change(found, examples, name, str(WIDE), _deep(WIDE, DEPTHS[1])),)
            ),
        },
    )


@finding("capacity")
def narrow_layers_vary_more(found: Results) -> Evidence:
    examples = decompositions(found)["examples"].max()
    middle = depth_widths(found)[1]
    bias, narrow = (
        change(found, examples, name, str(NARROW), _deep(NARROW)) for name in ("bias2", "variance")
    )
    medium = change(found, examples, "variance", str(middle), _deep(middle))
    more = num_parameters_of(_deep(middle)) / num_parameters_of(str(middle)) - 1
    return Evidence(
        f"Three layers of {NARROW} units raise both. With {middle} units a layer, {format_percent(more, 0)} more "
        f"parameters raise the variance by {format_interval(medium, 0)}.",
        {
            f"layers of {NARROW} units raise bias²": bias.mean > bias.half_width,
            "they raise the variance": narrow.mean > narrow.half_width,
            f"layers of {middle} units more than double it": medium.mean - medium.half_width > 1,
            "with less than a tenth more parameters": more < 0.1,
        },
    )


@finding("capacity")
def depth_differs_from_width(found: Results) -> Evidence:
    parts = decompositions(found)
    examples, deep = parts["examples"].max(), _deep(WIDE)
    size = num_parameters_of(deep)
    shallow = min(
        (name for name in parts["hidden"] if name.isdigit()),
        key=lambda name: abs(num_parameters_of(name) - size),
    )
    bias, variance = (change(found, examples, name, shallow, deep) for name in ("bias2", "variance"))
    return Evidence(
        f"Nor does β tell what depth does: 784-{shallow}-10 has nearly as many parameters as 784-{deep}-10, and "
        f"the deep network has {format_interval(replace(bias, mean=-bias.mean), 0)} less bias² and "
        f"{format_interval(variance, 0)} more variance.",
        {
            "their numbers of parameters differ by less than a tenth": abs(
                num_parameters_of(shallow) / size - 1
            )
            < 0.1,
            "the deep one has less bias²": -bias.mean > bias.half_width,
            "the deep one has more variance": variance.mean > variance.half_width,
        },
    )


def _depth_conditions(found: Results) -> dict[str, bool]:
    examples = decompositions(found)["examples"].max()
    bias, variance = (change(found, examples, name, str(WIDE), _deep(WIDE)) for name in ("bias2", "variance"))
    return {
        f"three layers of {WIDE} units lower bias², by more than the interval": -bias.mean > bias.half_width,
        "they raise the variance, by more than the interval": variance.mean > variance.half_width,
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
        f"For {len(on_edge)} of the {len(parts)} estimates the best rate is the largest tried. The dip of the variance "
        f"at {units} units with {slow['examples'].min():,.0f} examples is due to the small rate that is best there, "
        "at which training has come less far.",
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
    of_300 = parts[parts["hidden"] == USED].set_index("examples").sort_index()
    (few, before), (more, after) = ((size, of_300.loc[size]) for size in (of_300.index[0], of_300.index[-1]))
    rows = _on_subsets(found)
    chosen = rows[(rows["hidden"] == USED) & (rows["subset"] < 0)]
    at_rates = chosen.set_index(["examples", "metric", "learning_rate"])["value"].unstack("examples")
    fallen = at_rates[more] < at_rates[few]
    epochs = {size: SUBSETS[found.preset][size][1] for size in (few, more)}
    updates = {
        size: epochs[size] * Budget((), epochs[size], size).updates(BATCH_SIZE) for size in (few, more)
    }
    return Evidence(
        f"{count_words(round(more / few)).capitalize()} times as many examples lower both: the variance of "
        f"784-{USED}-10 by {format_percent(1 - after['variance'] / before['variance'], 0)}, its bias² by "
        f"{format_percent(1 - after['bias2'] / before['bias2'], 0)}. The training is similar, not equal: "
        f"with {more:,} examples it makes {updates[more]:,} updates instead of {updates[few]:,}.",
        {
            "both fall, at every rate": bool(fallen.all()),
            "the numbers of updates differ by less than a half": updates[more] < 1.5 * updates[few],
        },
    )


@finding("capacity")
def architecture_by_rule(found: Results) -> Evidence:
    networks, leads = architectures(found), _leads(found, "validation_accuracy")
    best = max(leads, key=lambda name: leads[name].mean)
    lead, later, on_test = leads[best], *(_contest(found, part) for part in ("validation", "test"))
    share = networks.loc[best, "beta"] / networks.loc[USED, "beta"]
    return Evidence(
        f"None has (@tbl-capacity). The largest lead, of 784-{best}-10 with {share:.1f} times the parameters, is "
        f"{format_interval(lead, 2, '')} points. That was close, so these two networks got more seeds: with "
        f"{count_words(later.n)} the lead is {format_interval(later, 2, '')} on the validation examples, and "
        f"{format_interval(on_test, 2, '')} on the test examples. The rule of the first drafts, a margin of "
        f"{100 * MARGIN:g} points, would have changed the network after the first seeds, and after all keeps it as "
        "well.",
        {
            "no lead is larger than its interval": all(
                each.mean < each.half_width for each in leads.values()
            ),
            "the largest is that of the network with more seeds": best == CONTEST[1],
            "after the first seeds it leads by more than the margin": lead.mean > MARGIN,
            "its lead is not larger than its interval with more seeds either": later.mean < later.half_width,
            "with more seeds it is within the margin": later.mean < MARGIN,
        },
    )


def _contest(found: Results, part: str) -> Interval:
    """Return the lead of the second contender over the first at the rate of their further runs, paired over seeds."""
    chosen = found.rows[found.rows["learning_rate"] == CONTEST_RATE]
    first, second = (
        final_values(chosen[chosen["hidden"] == name], f"{part}_accuracy", ["seed"]) for name in CONTEST
    )
    return paired_t(second, first).difference


def _leads(found: Results, metric: str) -> dict[str, Interval]:
    """Return by how much accuracies of networks of LARGE layers exceed that of USED, paired over seeds."""
    runs = final_accuracies(found)
    everything = runs[runs["examples"] == runs["examples"].max()]
    table = everything.pivot(index="replicate", columns="hidden", values=metric)
    others = [name for name in table.columns if name != USED and _width(name) >= LARGE]
    return {name: paired_t(table[name], table[USED]).difference for name in others}


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
