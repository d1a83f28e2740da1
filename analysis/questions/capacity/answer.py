"""Q3, depth and width: bias² and variance over capacity, each network at its best rate; the network of assignment 2."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
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
    format_at_least,
    format_fixed,
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
    TRAIN_TEST,
    WIDTH,
    plain_ticks,
    write_in,
)
from analysis.questions.capacity.runs import (
    BUDGETS,
    CANDIDATES,
    CHOICE_RATES,
    CHOICE_SEEDS,
    DEEPER_NETWORKS,
    DEEPER_SPLIT_RATES,
    EARLIER_MARGIN,
    FRESH_RATES,
    FRESH_SETS,
    HIDDEN,
    SPLIT_RATE,
    SPLIT_RATES,
    SPLIT_STARTS,
    SUBSETS,
    rates_of_sets,
)
from analysis.results import Results, of_seedless, remembered
from analysis.statistics import (
    LEVEL,
    Interval,
    at_best_rates,
    final_values,
    holm,
    jackknife_half_width,
    p_value,
    paired_t,
)

NAMED = ("10-10", "20-20", "300")  # the networks whose β the text names
USED = "300"  # the network of assignment 1, and of assignment 2
NARROW, WIDE, WIDEST = "4", "300", "2048"  # between which changes are measured
TWO_DEEP, DEEP = "300-300", "300-300-300"
COMPONENT_STYLES: dict[str, dict[str, Any]] = {
    "squared_error": {"color": QUIET, "marker": "o", "label": "bias² + variance"},
    "bias2": {"color": GREEN, "marker": "s", "linestyle": (0, (5, 1.5)), "label": "bias²"},
    "variance": {"color": PINK, "marker": "^", "linestyle": (0, (1.5, 1)), "label": "variance"},
}
SAME_SIZE = "512"  # has nearly as many parameters as DEEP, and fewer
RISES, FALLS, OPEN = "rises", "falls", "open"
FRESH = "fresh"  # the sets on which nothing was chosen
HIGHEST_SHOWN = 0.3  # squared error, above which the narrowest layers alone lie
SMALL_STEP = 0.1  # in points: a test error that falls by less from a width to the next falls little
FITTED = 0.99  # train accuracy
LEAST_SHOWN = 0.02  # error in percent, below which a logarithmic axis magnifies a few digits
PARTS = ("variance_start", "variance_set")
COMPONENT_NAMES = {"bias2": "bias²", "variance": "variance", "squared_error": "sum"}


@of_seedless
def on_subsets(found: Results) -> pd.DataFrame:
    """Return the decomposition's rows with their number of examples, which results leave out where there is but one."""
    (size, *_) = SUBSETS[found.preset]
    rows = found.programs["decomposition"]
    return rows.assign(examples=rows.get("examples", size))


@of_seedless
def estimates(found: Results) -> pd.DataFrame:
    """Return bias², variance and their sum, and the same without each of the disjoint training sets.

    Returns:
        Index: examples, metric, learning_rate, subset (the training set left out, -1 for none); a column per network.
    """
    rows = on_subsets(found)
    chosen = rows[rows["metric"].isin(COMPONENT_NAMES)]
    index = ["examples", "metric", "learning_rate", "subset", "hidden"]
    return chosen.set_index(index)["value"].unstack("hidden").sort_index()


@of_seedless
def rates(found: Results) -> pd.Series[float]:
    """Return each network's best learning rate by mean validation accuracy; index: examples, hidden."""
    return _validation_accuracies(found).stack("hidden").unstack("learning_rate").idxmax(axis="columns")


def _validation_accuracies(found: Results) -> pd.DataFrame:
    """Return mean validation accuracies with Adam; index: examples, learning_rate; a column per network."""
    rows = on_subsets(found)
    chosen = rows[rows["metric"] == "validation_accuracy"]
    return chosen.groupby(["examples", "learning_rate", "hidden"])["value"].mean().unstack("hidden")


@of_seedless
def tuned(found: Results) -> pd.DataFrame:
    """Return `estimates` of every network at its best rate; index: examples, metric, subset."""
    rows = estimates(found).stack("hidden").rename("value").reset_index()
    best = rates(found).rename("learning_rate").reset_index()
    chosen = rows.merge(best, on=["examples", "hidden", "learning_rate"])
    return chosen.pivot(index=["examples", "metric", "subset"], columns="hidden", values="value")


def sizes(found: Results) -> list[int]:
    """Return the sizes of the small training sets."""
    return sorted(SUBSETS[found.preset])


def change(found: Results, examples: int, metric: str, first: str, second: str) -> Interval:
    """Return by what share a component changes from a network to another, each at its best rate.

    Both are trained on the same sets, whatever these share cancels; the rates are held fixed.
    """
    return _change(tuned(found).loc[(examples, metric)], first, second)


def _change(table: pd.DataFrame, first: str, second: str) -> Interval:
    """Return the relative change between two networks' columns; index: the training set left out, -1 for none."""
    shares = table[second] / table[first] - 1
    left_out = shares[shares.index >= 0]
    return Interval(float(shares[-1]), jackknife_half_width(left_out), len(left_out))


def direction(change: Interval) -> str:
    """Return whether a component rises or falls by more than the interval."""
    if abs(change.mean) <= change.half_width:
        return OPEN
    return RISES if change.mean > 0 else FALLS


@dataclass(frozen=True)
class Step:
    """A step from a network to a larger one, and what was expected of it.

    Attributes:
        words: Of the table.
        first, second: The networks.
        expected: RISES or FALLS, by component; of some nothing is expected.
    """

    words: str
    first: str
    second: str
    expected: dict[str, str]

    def change(self, found: Results, examples: int, metric: str) -> Interval:
        """Return the change of a component, both networks at their best rates."""
        return change(found, examples, metric, self.first, self.second)

    @property
    def is_on_fresh(self) -> bool:
        """Whether both networks were trained on the fresh sets."""
        return {self.first, self.second} <= set(map(_name, FRESH_RATES))

    def changes(self, found: Results, metric: str) -> list[Interval]:
        """Return the same with every number of examples."""
        return [self.change(found, examples, metric) for examples in sizes(found)]

    def tests(self, found: Results, metric: str) -> dict[str, Interval]:
        """Return the changes that test the expectation, by the sets that they are measured on: fresh ones if any."""
        few, *more = sizes(found)
        first = (
            {FRESH: fresh_change(found, metric, self.first, self.second)}
            if self.is_on_fresh
            else {f"{few:,}": self.change(found, few, metric)}
        )
        return first | {f"{size:,}": self.change(found, size, metric) for size in more}

    def verdict(self, found: Results, metric: str) -> str:
        """Return what the changes that test an expectation say of it, all tests taken together."""
        said = {
            direction(change) if adjusted_p(found)[self.words, metric, sets] < 1 - LEVEL else OPEN
            for sets, change in self.tests(found, metric).items()
        }
        return verdict(self.expected[metric], said)


TO_WIDE = Step("4 to 300 units", NARROW, WIDE, {"bias2": FALLS, "variance": RISES, "squared_error": FALLS})
TO_WIDEST = Step(
    "300 to 2,048 units", WIDE, WIDEST, {"bias2": FALLS, "variance": RISES, "squared_error": RISES}
)
TO_TWO = Step("1 to 2 layers of 300", WIDE, TWO_DEEP, {"bias2": FALLS, "variance": RISES})
TO_DEEP = Step("1 to 3 layers of 300", WIDE, DEEP, {"bias2": FALLS, "variance": RISES})
DEEPER = (TO_TWO, TO_DEEP)
STEPS = (TO_WIDE, TO_WIDEST, *DEEPER)


@of_seedless
def adjusted_p(found: Results) -> dict[tuple[str, str, str], float]:
    """Return the p-values of all changes of which something is expected, adjusted after Holm.

    Returns:
        By the step's words, component and the sets that the change is measured on.
    """
    tested = {
        (step.words, metric, sets): change
        for step in STEPS
        for metric in step.expected
        for sets, change in step.tests(found, metric).items()
    }
    return dict(zip(tested, holm([p_value(each) for each in tested.values()]), strict=True))


def verdict(expected: str, said: set[str]) -> str:
    """Return the verdict on an expectation, given where a component goes with every number of examples."""
    against = RISES if expected == FALLS else FALLS
    if {expected, against} <= said:
        return "mixed"
    if said == {OPEN}:
        return OPEN
    decided = "confirmed" if expected in said else "refuted"
    return f"{decided} in part" if OPEN in said else decided


def agreeing(expected: str, changes: Sequence[Interval]) -> int:
    """Return how many changes are as expected."""
    return sum(direction(each) == expected for each in changes)


@dataclass(frozen=True)
class Least:
    """The width of one hidden layer at which a component is least.

    Attributes:
        width: The width.
        first, last: The narrowest and the widest layer that cannot be told from it.
    """

    width: int
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.width:,} ({self.first:,}–{self.last:,})"


def least(found: Results, examples: int, metric: str) -> Least:
    """Return at which width a component is least, every network at its best rate."""
    return _least(tuned(found).loc[(examples, metric)])


def _least(table: pd.DataFrame) -> Least:
    """Return at which width a component is least; index: the training set left out, a column per network."""
    widths = sorted(int(name) for name in table if name.isdigit())
    width = int(table.loc[-1, list(map(str, widths))].astype(float).idxmin())
    near = [each for each in widths if direction(_change(table, str(width), str(each))) == OPEN]
    return Least(width, min(near), max(near))


@of_seedless
def fresh(found: Results) -> pd.DataFrame:
    """Return bias², variance and their sum on the fresh sets, at the rates that were best before.

    Returns:
        Index: metric, subset (the training set left out, -1 for none); a column per network.
    """
    rows = found.programs["fresh_sets"]
    chosen = rows[rows["metric"].isin(COMPONENT_NAMES)]
    table = chosen.pivot(index=["metric", "subset"], columns="hidden", values="value")
    return table[[_name(hidden) for hidden in FRESH_RATES]]


def fresh_change(found: Results, metric: str, first: str, second: str) -> Interval:
    """Return by what share a component changes from a network to another on the fresh sets."""
    return _change(fresh(found).loc[metric], first, second)


def is_moderate(width: int) -> bool:
    """Return whether a width lies between those of the narrowest and the widest layer."""
    widths = [each for (each, *further) in HIDDEN if not further]
    return min(widths) < width < max(widths)


@of_seedless
def parts_of_variance(found: Results) -> dict[str, dict[str, pd.DataFrame]]:
    """Return both parts of the variance: with few examples and each network at its best rate, and all at one rate.

    Returns:
        By setting and network; index the training set left out (-1: none), a column per part.
    """
    (few, *_), rows = sizes(found), found.programs["split"]
    examples = rows.get("examples", pd.Series(few, rows.index))
    best_rates = {_name(hidden): rate for hidden, rate in (SPLIT_RATES | DEEPER_SPLIT_RATES).items()}
    best = rows["rate"] == rows["hidden"].map(best_rates)
    settings = {
        f"{few:,}, best $\\eta$": best & (examples == few),
        **{
            f"{size:,}, {format_rate(SPLIT_RATE)}": (rows["rate"] == SPLIT_RATE) & (examples == size)
            for size in sizes(found)
        },
    }
    return {
        setting: {
            str(name): part.pivot(index="subset", columns="metric", values="value")
            for name, part in rows[chosen].groupby("hidden", sort=False)
        }
        for setting, chosen in settings.items()
    }


def _name(hidden: Sequence[int]) -> str:
    return "-".join(map(str, hidden))


@remembered
def final_accuracies(found: Results) -> pd.DataFrame:
    """Return accuracies at the end of the runs by which the network is chosen, each network at its best rate.

    Returns:
        Index: hidden, candidates and deeper networks, learning_rate and seed; columns: train, validation, test.
    """
    rows = found.rows[
        found.rows["learning_rate"].isin(CHOICE_RATES) & found.rows["seed"].isin(CHOICE_SEEDS[found.preset])
    ]
    return _ends(rows).loc[[_name(hidden) for hidden in CANDIDATES + DEEPER_NETWORKS]]


def _ends(rows: pd.DataFrame) -> pd.DataFrame:
    best = at_best_rates(rows, ["hidden"])
    return pd.DataFrame(
        {
            part: final_values(best, f"{part}_accuracy", ["hidden", "learning_rate", "seed"])
            for part in ("train", "validation", "test")
        }
    )


@of_seedless
def train_accuracies(found: Results) -> pd.DataFrame:
    """Return mean train accuracies on the small sets, each at its best rate; index: examples, a column per network."""
    rows = on_subsets(found)
    best = rates(found).rename("learning_rate").reset_index()
    chosen = rows[rows["metric"] == "train_accuracy"].merge(best, on=["examples", "hidden", "learning_rate"])
    return chosen.groupby(["examples", "hidden"])["value"].mean().unstack("hidden")


@remembered
def errors(found: Results) -> pd.DataFrame:
    """Return errors in percent of one hidden layer after training on all examples, each width at its best rate.

    Returns:
        Columns: width, seed (of the choice for its candidates, of the grid for other widths), train, test.
    """
    others = found.rows["hidden"].str.isdigit() & ~found.rows["hidden"].isin(map(_name, CANDIDATES))
    of_grid = found.rows[others & found.rows["seed"].isin(BUDGETS[found.preset].seeds)]
    ends = pd.concat([final_accuracies(found).loc[[_name(hidden) for hidden in CANDIDATES]], _ends(of_grid)])
    shares = (100 * (1 - ends)).reset_index()
    return shares.assign(width=shares["hidden"].astype(int))


@dataclass(frozen=True)
class Comparison:
    """The candidates after training on all examples.

    Attributes:
        best: The most accurate one, by mean validation accuracy.
        behind: By how much each network lies below it, deeper ones included.
        earlier: Which one an earlier rule took; see EARLIER_MARGIN.
    """

    best: str
    behind: dict[str, Interval]
    earlier: str


@remembered
def comparison(found: Results) -> Comparison:
    """Compare the networks, each at its best rate, by validation accuracy."""
    table = final_accuracies(found)["validation"].droplevel("learning_rate").unstack("hidden")
    candidates = [_name(hidden) for hidden in CANDIDATES]
    best = str(table[candidates].mean().idxmax())
    behind = {
        str(name): paired_t(table[best], table[name]).difference if name != best else Interval(0.0, 0.0, 1)
        for name in table
    }
    near = [name for name in candidates if behind[name].mean + behind[name].half_width <= EARLIER_MARGIN]
    return Comparison(best, behind, near[0])


def chosen_width(found: Results) -> int:
    """Return the smallest width that with no number of examples can be told from that of the least sum."""
    return max(least(found, size, "squared_error").first for size in sizes(found))


# Exhibits


@exhibit("tbl-expectations", "capacity")
def expectations_table(found: Results) -> Table:
    """Tabulate what was expected of every step, and what was found."""
    lines = []
    for step in STEPS:
        for metric, name in COMPONENT_NAMES.items():
            expected = step.expected.get(metric)
            lines.append(
                [
                    step.words if metric == "bias2" else "",
                    name,
                    expected or "",
                    *(_in_percent(each) for each in step.changes(found, metric)),
                    _in_percent(fresh_change(found, metric, step.first, step.second))
                    if step.is_on_fresh
                    else "",
                    step.verdict(found, metric) if expected else "",
                ]
            )
    (few, *_), (_, sets) = sizes(found), FRESH_SETS[found.preset]
    return Table(
        pd.DataFrame(
            lines,
            columns=[
                "Step",
                "Of",
                "Expected",
                *(f"{size:,}" for size in sizes(found)),
                f"{few:,}, fresh",
                "Verdict",
            ],
        ),
        "What was expected and what was found, each network at its own best rate: changes in percent, with 95 % "
        "jackknife intervals over the training sets, which both networks share. Verdicts hold at p < "
        f"{1 - LEVEL:.2f}, after Holm's correction for all {count_words(len(adjusted_p(found)))} tests, with both "
        f"numbers of examples (*in part*: with one of them). The {sets} fresh sets, where both networks were trained "
        f"on them, replace the first sets of {few:,}.",
        (24, 11, 11, 12, 12, 12, 20),
    )


def _in_percent(change: Interval) -> str:
    """Write a change, with a digit more where it is small."""
    return format_interval(change, int(abs(change.mean) < 0.1), "")


@exhibit("tbl-parts", "capacity")
def parts_table(found: Results) -> Table:
    """Tabulate the parts of the variance over width."""
    names = {PARTS[0]: "start", PARTS[1]: "set"}
    networks = (*SPLIT_RATES, *DEEPER_SPLIT_RATES)
    columns: dict[str, list[str]] = {
        "Network": [
            *(f"784-{_name(hidden)}-10" for hidden in networks),
            f"{WIDE} to {int(WIDEST):,}, %",
            f"1 to 3 layers of {WIDE}, %",
        ]
    }
    for setting, of_setting in parts_of_variance(found).items():
        for part, name in names.items():
            table = pd.DataFrame({network: values[part] for network, values in of_setting.items()})
            columns[f"{setting}: {name}"] = [
                *(
                    _thousandths(table[_name(hidden)]) if _name(hidden) in table else "–"
                    for hidden in networks
                ),
                format_interval(_change(table, WIDE, WIDEST), 0, ""),
                format_interval(_change(table, WIDE, DEEP), 0, "") if DEEP in table else "–",
            ]
    (few, *_), starts = sizes(found), SPLIT_STARTS[found.preset]
    return Table(
        pd.DataFrame(columns),
        f"The two parts of the variance, in thousandths, from $m$ = {starts} starts on each training set, with 95 % "
        f"jackknife intervals: with {few:,} examples and each network at its best rate, then with all at $\\eta$ = "
        f"{format_rate(SPLIT_RATE)} and either number of examples. *Start*: the mean over sets of the variance over "
        "starts, which also order the examples. *Set*: the variance over sets of the mean over starts, minus what "
        "chance adds to it, *Start* / $m$. Last rows: changes between two networks, paired by set.",
        (22, *(13 for _ in range(len(columns) - 1))),
    )


def _thousandths(values: pd.Series[float]) -> str:
    """Write a part of the variance with its interval; index: the training set left out, -1 for none."""
    values = 1_000 * values
    digits = int(values.loc[-1] < 10)
    return f"{values.loc[-1]:.{digits}f} ± {jackknife_half_width(values[values.index >= 0]):.{digits}f}"


@exhibit("tbl-capacity", "capacity")
def networks_table(found: Results) -> Table:
    """Tabulate what decides between the networks: the sum on small sets, old and fresh, and the accuracy on all."""
    few, many = sizes(found)[0], sizes(found)[-1]
    behind, accuracies = comparison(found).behind, final_accuracies(found)
    lines = []
    shallow = sorted((name for name in rates(found)[few].index if name.isdigit()), key=int)
    deep = sorted((name for name in rates(found)[few].index if not name.isdigit()), key=num_parameters_of)
    for name in (*shallow, *deep):
        on_small = [
            cell
            for size in (few, many)
            for of_size in [tuned(found).loc[(size, "squared_error")]]
            for cell in (
                format_rate(rates(found)[size, name]),
                f"{1_000 * of_size.loc[-1, name]:.1f}",
                _above(of_size, name),
            )
        ]
        on_fresh = _above(fresh(found).loc["squared_error"], name) if name in fresh(found) else "–"
        on_all = 4 * ["–"]
        if name in behind:
            of_network = 100 * accuracies.loc[name]
            on_all = [
                format_rate(of_network.index[0][0]),
                format_fixed(of_network["validation"].mean(), 2),
                format_interval(behind[name], 2, "") if behind[name].n > 1 else "–",
                format_fixed(of_network["test"].mean(), 2),
            ]
        lines.append([name, *on_small, on_fresh, *on_all])
    columns = [
        "Hidden layers",
        *(f"{size:,}: {what}" for size in (few, many) for what in ("$\\eta$", "sum", "above, %")),
        "fresh: above, %",
        *(f"all: {what}" for what in ("$\\eta$", "valid.", "below best", "test")),
    ]
    return Table(
        pd.DataFrame(lines, columns=columns),
        f"All networks. On the sets of {few:,} and of {many:,} examples, and on {FRESH_SETS[found.preset][1]} fresh "
        f"sets of {few:,} at the same rates: bias² + variance in thousandths, and how far it lies above the least "
        "of one hidden layer, with 95 % jackknife intervals, paired by set. On all "
        f"{BUDGETS[found.preset].train_examples:,}: validation and test accuracy in percent, and how many points "
        "the validation accuracy lies below the best, with 95 % t intervals, paired by "
        f"{count_words(len(CHOICE_SEEDS[found.preset]), 'seed')}. –: not compared there, or the best itself.",
        (17, 8, 9, 12, 8, 9, 12, 13, 8, 10, 14, 9),
    )


def _above(table: pd.DataFrame, name: str) -> str:
    """Say how far a network lies above the least of one hidden layer, in percent."""
    width = str(_least(table).width)
    change = _change(table, width, name)
    return "–" if name == width else format_interval(change, int(change.mean < 0.2), "")


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
def components_and_errors(found: Results) -> Picture:
    """Draw bias², variance and their sum over width and depth for the small training sets; errors for all examples."""
    figure, grid = plt.subplots(2, 3, figsize=(WIDTH, 3.6))
    (*wide, at_one_rate), (*deep, last) = grid
    few, *_ = sizes(found)
    for over, axes_of, xlabel in (
        (over_width, wide, "width of one layer"),
        (over_depth, deep, f"layers of {WIDE}"),
    ):
        for axes, examples in zip(axes_of, sizes(found), strict=False):
            for name, style in COMPONENT_STYLES.items():
                _draw_parts(axes, over(tuned(found).loc[(examples, name)]), style)
            axes.set_xlabel(xlabel)
        axes_of[0].set_ylabel("squared error")
    for name, style in COMPONENT_STYLES.items():
        _draw_parts(at_one_rate, over_width(estimates(found).loc[(few, name, SPLIT_RATE)]), style)
    at_one_rate.set_xlabel("width of one layer")
    at_one_rate.set_title(f"{few:,}, all η = {SPLIT_RATE:g}")
    for axes, examples in zip(wide, sizes(found), strict=False):
        axes.set_title(f"{examples:,} examples")
    for axes, examples in zip(deep, sizes(found), strict=False):
        axes.set_title(f"{examples:,} examples")
        axes.set_xticks((1, 2, 3))
        axes.set_xlim(0.8, 3.2)
    for axes in (*wide, at_one_rate, *deep):
        axes.set_ylim(0, HIGHEST_SHOWN)
    errors_of_seeds = errors(found)
    for part, style in TRAIN_TEST.items():
        means = errors_of_seeds.groupby("width")[part].mean()
        last.plot(means.index, means, **style)
        last.plot(errors_of_seeds["width"], errors_of_seeds[part], ".", color=style["color"], markersize=2)
    last.set_ylabel("error in %")
    last.set_title(f"{BUDGETS[found.preset].train_examples:,} examples")
    last.set_xlabel("width of one layer")
    for axes in (*wide, at_one_rate, last):
        axes.set_xscale("log")
        axes.set_xticks((2, 16, 128, 2048), ["2", "16", "128", "2,048"])
        axes.minorticks_off()
    last.set_yscale("log")
    plain_ticks(last.yaxis, decades=True)
    last.set_ylim(bottom=LEAST_SHOWN)
    handles = [
        *(Line2D([], [], markersize=MARKER, **style) for style in COMPONENT_STYLES.values()),
        *(Line2D([], [], label=f"{name} error", **style) for name, style in TRAIN_TEST.items()),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, handlelength=2)
    return Picture(
        figure,
        "Left and middle: bias², variance and their sum on small training sets, over the width of one hidden layer "
        f"(above) and over one to three layers of {WIDE} units (below), each network at its own best rate; 95 % "
        "jackknife intervals, mostly smaller than the marks; sums and bias² of the narrowest layers lie above the "
        "axes. Above, right: the same with all widths at one rate. Below, right: train and test error after training "
        f"on {BUDGETS[found.preset].train_examples:,} examples, each width at its best rate; points: seeds (errors "
        f"below {LEAST_SHOWN:g} % are not shown).",
        "Over width, bias² falls and flattens; the variance falls and rises again, also at one rate. Over depth, bias² "
        "hardly falls and the variance rises. Test error falls with width and flattens at some hundred units; train "
        "error falls to nearly zero.",
    )


def _draw_parts(axes: Axes, parts: pd.Series[Any], style: dict[str, Any]) -> None:
    axes.errorbar(
        parts.index,
        [each.mean for each in parts],
        [each.half_width for each in parts],
        elinewidth=0.8,
        **{**style, "label": None, "markersize": MARKER},
    )


def over_depth(parts: pd.DataFrame) -> pd.Series[Any]:
    """Return a component with its jackknife Interval; index: the number of layers of WIDE units."""
    return pd.Series({1 + name.count("-"): _part(parts[name]) for name in (WIDE, TWO_DEEP, DEEP)})


def over_width(parts: pd.DataFrame) -> pd.Series[Any]:
    """Return a component with its jackknife Interval; index: the width of one hidden layer."""
    shallow = {int(name): _part(values) for name, values in parts.items() if str(name).isdigit()}
    return pd.Series(shallow).sort_index()


def _part(values: pd.Series[float]) -> Interval:
    """Return a component with its jackknife Interval; index: the training set left out, -1 for none."""
    left_out = values[values.index >= 0]
    return Interval(values.loc[-1], jackknife_half_width(left_out), len(left_out))


@sketch("capacity", alt="Over width, bias falls; variance falls too and then rises a little.")
def sketch_of_parts(axes: Axes, found: Results) -> None:
    for name, colour in (("bias2", GREEN), ("variance", PINK)):
        parts = over_width(tuned(found).loc[(sizes(found)[-1], name)])
        axes.plot(parts.index, [each.mean for each in parts], color=colour)
    axes.set_xscale("log")
    axes.set_yscale("log")
    write_in(axes, 0.6, 0.14, "variance", PINK)
    write_in(axes, 0.2, 0.75, "bias²", GREEN)


# Findings


@finding("capacity", headline=True)
def width_has_an_optimum(found: Results) -> Evidence:
    few, *_, many = sizes(found)
    sums = {size: least(found, size, "squared_error") for size in (few, many)}
    on_all = errors(found).groupby("width")["test"].mean().loc[: CANDIDATES[-1][0]]
    return Evidence(
        "On few examples no network that we tried beats one layer of a few hundred units: the sum of bias² and "
        f"variance is least at {sums[few].first} to {sums[few].last} units with {few:,} examples, and at "
        f"{sums[many].first} to {sums[many].last} with {many:,}. (Of networks trained on several sets, bias² tells "
        "how far their mean output is from the right answers, variance how far they scatter about it.) Narrow layers "
        "have more bias², and very narrow ones more variance as well, which we had not expected: what they learn "
        f"depends on their random start. From {WIDE} to {int(WIDEST):,} units the variance rises, and bias² falls no "
        f"further. More layers raise the variance, too, and do not lower the sum; with {many:,} examples two cannot "
        f"be told from one. On {BUDGETS[found.preset].train_examples:,} examples no optimum is seen: up to "
        f"{CANDIDATES[-1][0]:,} units the test error falls, but beyond {WIDE} by less than {SMALL_STEP:g} points from "
        "each width to the next (@fig-capacity).",
        {
            **_parts_part(found),
            "on all examples the test error falls with the width": on_all.is_monotonic_decreasing,
            "beyond the wide layer it falls by less than a tenth of a point a step": bool(
                on_all.loc[int(WIDE) :].diff().min() > -SMALL_STEP
            ),
            "two layers cannot be told from one with many examples": direction(
                TO_TWO.change(found, many, "squared_error")
            )
            == OPEN,
            "up to the wide layer bias² falls": TO_WIDE.verdict(found, "bias2") == "confirmed",
            "and the variance too": TO_WIDE.verdict(found, "variance") == "refuted",
            "beyond it the variance rises": TO_WIDEST.verdict(found, "variance") == "confirmed",
            "and bias² does not fall": agreeing(FALLS, TO_WIDEST.changes(found, "bias2")) == 0,
            "the sum is least between the narrowest and the widest layer": all(
                is_moderate(each.width) for each in sums.values()
            ),
            "it falls to the wide layer and rises from it on": _all(FALLS, TO_WIDE, found)
            and _all(RISES, TO_WIDEST, found),
            "further layers raise the variance": _deeper_vary_more(found),
            "by the part of the start": _start_part_grows(found),
            "and bias² falls by less than a fifth": all(
                each.mean > -0.2 for step in DEEPER for each in step.changes(found, "bias2")
            ),
            "and do not lower the sum": not any(
                direction(each) == FALLS for step in DEEPER for each in step.changes(found, "squared_error")
            ),
        },
        "One layer of a few hundred units is best on few examples; depth adds variance.",
    )


def _deeper_vary_more(found: Results) -> bool:
    """Return whether further layers raise the variance with every number of examples."""
    return all(direction(each) == RISES for step in DEEPER for each in step.changes(found, "variance"))


def _start_part_grows(found: Results) -> bool:
    """Return whether, at the best rates, the start's part makes most of what three layers vary more than one."""
    parts = next(iter(parts_of_variance(found).values()))
    more = parts[DEEP].loc[-1] - parts[WIDE].loc[-1]
    return bool(more[PARTS[0]] > 0 and more[PARTS[1]] < more[PARTS[0]] / 4)


def _all(wanted: str, step: Step, found: Results) -> bool:
    """Return whether the sum changes so with every number of examples."""
    return all(direction(each) == wanted for each in step.changes(found, "squared_error"))


@finding("capacity")
def best_rates_are_inside(found: Results) -> Evidence:
    tried = {size: rates_of_sets(size) for size in sizes(found)}
    return Evidence(
        "Each network is taken at its own best rate on validation data (@tbl-capacity); for none it is the smallest or "
        "the largest that was tried.",
        {
            "no best rate is the smallest or the largest": all(
                min(tried[int(size)]) < rate < max(tried[int(size)])
                for (size, _), rate in rates(found).items()
            )
        },
    )


@finding("capacity")
def variance_turns(found: Results) -> Evidence:
    few, *_ = sizes(found)
    lowest = least(found, few, "variance").width
    of_few = rates(found)[few]
    widths = sorted(int(name) for name in of_few.index if name.isdigit())
    beside = [widths[widths.index(lowest) + step] for step in (-1, 1)]
    at_one_rate = estimates(found).loc[(few, "variance", SPLIT_RATE)]
    turn = _least(at_one_rate).width
    sums = _least(estimates(found).loc[(few, "squared_error", SPLIT_RATE)]).width
    before, beyond = (
        _change(at_one_rate, first, second) for first, second in ((NARROW, WIDE), (WIDE, WIDEST))
    )
    return Evidence(
        f"The variance is smaller at {WIDE} units than at {NARROW}, and larger again at {int(WIDEST):,} "
        f"(@fig-capacity). With {few:,} examples it is least at {lowest} units, but these have a far smaller rate than "
        f"their neighbours (@tbl-capacity): with all widths at $\\eta = {SPLIT_RATE:g}$ that dip is gone, the variance "
        f"is least at {turn} units, and the sum at {sums} (@fig-capacity, above, right).",
        {
            "the least variance comes with a rate less than a quarter of its neighbours'": all(
                of_few[str(lowest)] < of_few[str(each)] / 4 for each in beside
            ),
            "at its own rates it falls, and rises again": TO_WIDE.verdict(found, "variance") == "refuted"
            and TO_WIDEST.verdict(found, "variance") == "confirmed",
            "at one rate, too": (direction(before), direction(beyond)) == (FALLS, RISES),
            "the sum is least between the variance's turn and the wide layer": turn < sums <= int(WIDE),
            "there it is least at another width, between these": int(NARROW) < turn < int(WIDEST)
            and turn != lowest,
        },
    )


@finding("capacity")
def bias_levels_off(found: Results) -> Evidence:
    few, every = sizes(found)[0], train_accuracies(found)
    fitted = every[[name for name in every if name.isdigit()]].rename(columns=int).sort_index(axis="columns")
    enough = min(
        (width for width in fitted.columns if (fitted.loc[:, width:] > FITTED).all(axis=None)),
        default=int(WIDEST),
    )
    return Evidence(
        f"Beyond {WIDE} units bias² falls no further at the best rates, though a wider layer could compute the same; "
        f"with {few:,} examples it rises a little. All layers of {enough} units or more fit at least "
        f"{format_at_least(fitted.loc[:, enough:].min(axis=None))} of the examples of their small sets, so the bias² "
        "that is left there is not for want of fitting them.",
        {
            "bias² falls with no number of examples": agreeing(FALLS, TO_WIDEST.changes(found, "bias2")) == 0,
            "with few examples it rises by less than a tenth": direction(
                rise := TO_WIDEST.change(found, few, "bias2")
            )
            == RISES
            and rise.mean < 0.1,
            "narrower layers than the wide one fit all": enough < int(WIDE),
        },
    )


@finding("capacity")
def best_width(found: Results) -> Evidence:
    few, *_, many = sizes(found)
    places = [least(found, size, "squared_error") for size in (few, many)]
    return Evidence(
        "With either number of examples, layers wider than the one with the least sum cannot be distinguished from "
        f"it up to {places[0].last} units (@tbl-capacity), so whether the best width grows with the number of "
        "examples remains open.",
        {
            "up to the same width, no narrower one can be": places[0].last == places[1].last
            and all(place.first == place.width for place in places),
            "other widths cannot be told from either": all(place.first < place.last for place in places),
        },
    )


@finding("capacity")
def depth_raises_the_variance(found: Results) -> Evidence:
    few, *_, many = sizes(found)
    sums = {size: TO_DEEP.change(found, size, "squared_error") for size in (few, many)}
    return Evidence(
        "Further layers raise the variance with either number of examples. A second layer lowers bias² by some "
        f"percent, three layers with {many:,} examples only (@tbl-expectations). The "
        f"sum of three layers of {WIDE} units lies {format_percent(sums[few].mean, 0)} above that of one with {few:,} "
        f"examples, and {format_percent(sums[many].mean, 0)} with {many:,}. Deep networks are trained as far as "
        f"shallow ones: those of {WIDE} units fit every example of their sets.",
        {
            "the variance rises in every case": _deeper_vary_more(found),
            "a second layer lowers bias² with either number of examples, by less than a tenth": all(
                direction(each) == FALLS and each.mean > -0.1 for each in TO_TWO.changes(found, "bias2")
            ),
            "a third with many only": [direction(each) for each in TO_DEEP.changes(found, "bias2")]
            == [OPEN, FALLS],
            "the sum of three layers is larger": _all(RISES, TO_DEEP, found),
            "that of two cannot be told with many examples": direction(
                TO_TWO.change(found, many, "squared_error")
            )
            == OPEN,
            "deep networks fit every example": bool(
                train_accuracies(found)[[TWO_DEEP, DEEP]].min(axis=None) == 1
            ),
        },
    )


@finding("capacity")
def both_parts_of_the_variance(found: Results) -> Evidence:
    few = sizes(found)[0]
    at_narrowest = [networks[NARROW].loc[-1] for networks in parts_of_variance(found).values()]
    return Evidence(
        "Several starts on each training set split the variance in two (@tbl-parts). The training set's part rises "
        f"with the width, as expected. The start's part is most of the variance at {NARROW} units, and less than a "
        f"fifth of it in one layer of {WIDE} or more.",
        {
            **_parts_part(found),
            "at the narrowest the start makes most of it": all(
                bool(parts[PARTS[0]] > parts[PARTS[1]]) for parts in at_narrowest
            ),
            "each network has its best rate": all(
                rates(found)[few, _name(hidden)] == rate
                for hidden, rate in (SPLIT_RATES | DEEPER_SPLIT_RATES).items()
            ),
        },
    )


def _parts_part(found: Results) -> dict[str, bool]:
    """Return what must hold for the two parts of the variance to be said to depend so on the width."""
    start, of_sets = PARTS
    widths = [str(width) for (width,) in SPLIT_RATES]
    beyond = widths[widths.index(WIDE) :]
    settings = list(parts_of_variance(found).values())

    def ways(part: str, names: list[str]) -> set[str]:
        return {
            direction(
                _change(pd.DataFrame({"a": networks[first][part], "b": networks[second][part]}), "a", "b")
            )
            for networks in settings
            for first, second in itertools.pairwise(names)
        }

    return {
        "the variance over starts falls from each width to the next, up to the wide layer": ways(
            start, widths[: widths.index(WIDE) + 1]
        )
        == {FALLS},
        "from there on it is less than a fifth of the whole": all(
            bool(networks[name].loc[-1, start] < networks[name].loc[-1].sum() / 5)
            for networks in settings
            for name in beyond
        ),
        "that over training sets rises, beyond the interval from the second width on": ways(
            of_sets, widths[1:]
        )
        == {RISES}
        and FALLS not in ways(of_sets, widths)
        and all(
            [networks[name].loc[-1, of_sets] for name in widths]
            == sorted(networks[name].loc[-1, of_sets] for name in widths)
            for networks in settings
        ),
    }


@finding("capacity")
def deeper_networks_vary_by_their_start(found: Results) -> Evidence:
    at_best, *at_one_rate = (
        [
            _change(pd.DataFrame({name: networks[name][part] for name in (WIDE, DEEP)}), WIDE, DEEP)
            for part in PARTS
        ]
        for networks in parts_of_variance(found).values()
    )
    start, of_sets = at_best
    return Evidence(
        "Deeper networks vary more because of their random start and the order of the examples, which comes with it: "
        f"with {sizes(found)[0]:,} examples the start's part is {1 + start.mean:.1f} times as large with three layers "
        f"as with one, while the training set's part does not grow ({format_interval(of_sets, 0)}). With all at one "
        "rate, the start's part grows more and the set's falls, with either number of examples (@tbl-parts). So the "
        "cause is not that more weights fit a set more closely: what depth adds is dependence on the start.",
        {
            "the start's part rises": direction(start) == RISES,
            "the set's part does not": direction(of_sets) != RISES,
            "at one rate the first rises by more, and the second falls": all(
                one.mean > start.mean and direction(other) == FALLS for one, other in at_one_rate
            ),
            "most of what three layers vary more is the start's": _start_part_grows(found),
        },
    )


@finding("capacity")
def depth_differs_from_width(found: Results) -> Evidence:
    more = [change(found, size, "variance", SAME_SIZE, DEEP) for size in sizes(found)]
    return Evidence(
        f"Nor does the number of parameters explain the higher sum: 784-{SAME_SIZE}-10 has nearly as many as "
        f"784-{DEEP}-10, and a lower sum with either number of examples (@tbl-capacity).",
        {
            "it has fewer parameters, by less than a twentieth": 0
            < num_parameters_of(DEEP) / num_parameters_of(SAME_SIZE) - 1
            < 0.05,
            "it has less variance, by a third": all(
                direction(each) == RISES and each.mean > 1 / 3 for each in more
            ),
            "and a lower sum": all(
                direction(change(found, size, "squared_error", SAME_SIZE, DEEP)) == RISES
                for size in sizes(found)
            ),
        },
    )


@finding("capacity")
def depth_gains_no_accuracy(found: Results) -> Evidence:
    accuracy = final_accuracies(found)["validation"].droplevel("learning_rate").unstack("hidden")
    losses = [paired_t(accuracy[WIDE], accuracy[_name(deep)]).difference for deep in DEEPER_NETWORKS]
    return Evidence(
        f"One hidden layer is enough: on {BUDGETS[found.preset].train_examples:,} examples, too, two and three layers "
        f"of {WIDE} units have no higher validation accuracy than one (@tbl-capacity).",
        {"neither gains": all(direction(each) != FALLS and each.mean > 0 for each in losses)},
    )


@finding("capacity")
def architecture_by_the_trade_off(found: Results) -> Evidence:
    chosen, compared = chosen_width(found), comparison(found)
    behind = compared.behind[str(chosen)]
    return Evidence(
        f"We keep the network of assignment 1: 784-{chosen}-10 is the narrowest layer that is among the best with "
        f"both numbers of examples, and on {BUDGETS[found.preset].train_examples:,} examples its validation "
        "accuracy cannot be told from the best (@tbl-capacity). We had used it before we could give this reason; "
        f"nothing measured since speaks against it, and on the {FRESH_SETS[found.preset][1]} fresh sets it is the "
        f"narrowest of the best again. (An earlier rule took the smaller 784-{compared.earlier}-10; "
        "@sec-smaller-network has what changes with it.)",
        {
            "it is the network of assignment 1": chosen == int(USED),
            "it is near the least sum with every number of examples": all(
                place.first <= chosen <= place.last
                for place in (least(found, size, "squared_error") for size in sizes(found))
            ),
            "the fresh sets say the same": _least(fresh(found).loc["squared_error"]).first == chosen,
            "it cannot be told from the best": behind.mean <= behind.half_width,
            "the earlier rule took a smaller one": int(compared.earlier) < chosen,
        },
    )


@finding("capacity")
def parameters_counted(found: Results) -> Evidence:
    table = found.programs["parameters"].set_index("hidden")
    named = join_english(f"{table.loc[hidden, 'beta']:,} for 784-{hidden}-10" for hidden in NAMED)
    return Evidence(
        f"$\\beta$ is {named}.",
        {"formula and count agree for every network": bool((table["beta"] == table["counted"]).all())},
    )


@statement("capacity", said="β is 8,070, 16,330 and 238,510 for 784-10-10-10, 784-20-20-10 and 784-300-10.")
def numbers_of_parameters(found: Results) -> Evidence:
    counted = found.programs["parameters"].set_index("hidden").loc[list(NAMED), "counted"]
    return Evidence(
        f"{join_english(f'{value:,}' for value in counted)}, by formula and by counting.",
        {"the counts are these": counted.tolist() == [8_070, 16_330, 238_510]},
    )
