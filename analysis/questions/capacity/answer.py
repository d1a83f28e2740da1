"""Q3, depth and width: bias² and variance over capacity at one learning rate each, and the network of assignment 2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.engine.run import num_parameters_of
from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding, statement
from analysis.formatting import count_words, format_interval, format_rate, join_english
from analysis.plotting import GREEN, MARKER, PINK, QUIET, TRAIN_TEST, WIDTH, plain_ticks, write_in
from analysis.questions.capacity.runs import (
    BUDGETS,
    CANDIDATES,
    CHOICE_MARGIN,
    CHOICE_RATE,
    CHOICE_SEEDS,
    HIDDEN,
    LEARNING_RATES,
    SGD_HIDDEN,
    SGD_RATES,
    SUBSETS,
)
from analysis.results import Results, remembered
from analysis.statistics import Interval, final_values, jackknife_half_width, paired_t, t_interval

NAMED = ("10-10", "20-20", "300")  # the networks whose β the text names
USED = "300"  # the network of assignment 1, and of assignment 2
NARROW, WIDE, WIDEST = "4", "300", "2048"  # the layers between which changes are measured
TWO_DEEP, DEEP, DEEP_NARROW = "300-300", "300-300-300", "4-4-4"
SAME_SIZE = "512"  # has nearly as many parameters as DEEP
COMPONENT_STYLES: dict[str, dict[str, Any]] = {
    "squared_error": {"color": QUIET, "marker": "o", "label": "bias² + variance"},
    "bias2": {"color": GREEN, "marker": "s", "linestyle": (0, (5, 1.5)), "label": "bias²"},
    "variance": {"color": PINK, "marker": "^", "linestyle": (0, (1.5, 1)), "label": "variance"},
}
TURNS = "turns"
LEAST_SHOWN = 0.05  # error in percent, below which a logarithmic axis magnifies a few digits
COMPONENT_NAMES = {"bias2": "bias²", "variance": "variance", "squared_error": "sum"}


@remembered
def on_subsets(found: Results) -> pd.DataFrame:
    """Return the decomposition's rows with their number of examples, which results leave out where there is but one."""
    (size, *_) = SUBSETS[found.preset]
    rows = found.programs["decomposition"]
    return rows.assign(examples=rows.get("examples", size))


@remembered
def estimates(found: Results) -> pd.DataFrame:
    """Return bias², variance and their sum, and the same without each of the disjoint training sets.

    Returns:
        Index: examples, metric, learning_rate, subset (the training set left out, -1 for none); a column per network.
    """
    rows = on_subsets(found)
    chosen = rows[rows["metric"].isin(COMPONENT_NAMES)]
    index = ["examples", "metric", "learning_rate", "subset", "hidden"]
    return chosen.set_index(index)["value"].unstack("hidden").sort_index()


@remembered
def train_losses(found: Results) -> pd.DataFrame:
    """Return mean train losses over the training sets; index: examples, learning_rate; a column per network."""
    rows = on_subsets(found)
    losses = rows[rows["metric"] == "train_loss"]
    return losses.groupby(["examples", "learning_rate", "hidden"])["value"].mean().unstack("hidden")


def sizes(found: Results) -> list[int]:
    """Return the sizes of the small training sets."""
    return sorted(SUBSETS[found.preset])


def change(found: Results, examples: int, metric: str, rate: float, first: str, second: str) -> Interval:
    """Return by what share a component changes from a network to another, both from the same training sets."""
    table = estimates(found).loc[(examples, metric, rate)]
    shares = table[second] / table[first] - 1
    left_out = shares[shares.index >= 0]
    return Interval(float(shares[-1]), jackknife_half_width(left_out), len(left_out))


@dataclass(frozen=True)
class Step:
    """A step from a network to a larger one, and what was expected of it.

    Attributes:
        words: Of the table.
        first, second: The networks.
        bias2, variance, squared_error: rises, falls, stays, or a dash where nothing was expected.
        deep: Whether the step is one of depth, which only the larger training sets have.
    """

    words: str
    first: str
    second: str
    bias2: str
    variance: str
    squared_error: str
    deep: bool = False

    def examples(self, found: Results) -> list[int]:
        return sizes(found)[-1:] if self.deep else sizes(found)

    def changes(self, found: Results, examples: int, metric: str) -> dict[float, Interval]:
        """Return the change of a component by learning rate."""
        return {
            rate: change(found, examples, metric, rate, self.first, self.second) for rate in LEARNING_RATES
        }

    def verdict(self, found: Results, examples: int, metric: str) -> str:
        return verdict(getattr(self, metric), list(self.changes(found, examples, metric).values()))


TO_WIDE = Step("4 to 300 units", NARROW, WIDE, "falls", "rises", "falls")
TO_WIDEST = Step("300 to 2,048 units", WIDE, WIDEST, "falls", "rises", "rises")
TO_DEEP = Step("1 to 3 layers of 300", WIDE, DEEP, "falls", "rises", "–", deep=True)
TO_DEEP_NARROW = Step("1 to 3 layers of 4", NARROW, DEEP_NARROW, "rises", "stays", "rises", deep=True)
STEPS = (TO_WIDE, TO_WIDEST, TO_DEEP, TO_DEEP_NARROW)


def verdict(expected: str, changes: Sequence[Interval]) -> str:
    """Return what intervals at several rates say of an expectation, or where there is none, of the direction."""
    up = sum(each.mean > each.half_width for each in changes)
    down = sum(each.mean < -each.half_width for each in changes)
    if expected == "stays":  # which no interval can confirm
        return "refuted" if up or down else "open"
    most = len(changes) - 1
    direction = "rises" if up >= most and not down else "falls" if down >= most and not up else "open"
    if direction == "open":
        return TURNS if up and down else "open"
    if expected == "–":
        return direction
    return "confirmed" if direction == expected else "refuted"


def least_sum(found: Results, examples: int) -> pd.Series[int]:
    """Return the width of one hidden layer at which bias² + variance is least, by learning rate."""
    table = estimates(found).loc[(examples, "squared_error")].xs(-1, level="subset").loc[list(LEARNING_RATES)]
    return table[[name for name in table if name.isdigit()]].idxmin(axis="columns").astype(int)


def is_moderate(widths: pd.Series[int]) -> bool:
    """Return whether all widths lie between the narrowest and the widest layer."""
    (narrowest, *_), (widest, *_) = min(HIDDEN), max(each for each in HIDDEN if len(each) == 1)
    return bool(((widths > narrowest) & (widths < widest)).all())


def lost_fit(found: Results, step: Step, examples: int) -> pd.Series[bool]:
    """Return whether the larger network ends with the larger train loss, by learning rate."""
    losses = train_losses(found).loc[examples].loc[list(LEARNING_RATES)]
    return losses[step.second] > losses[step.first]


@remembered
def errors(found: Results) -> pd.DataFrame:
    """Return errors in percent of one hidden layer at the end of the runs at CHOICE_RATE.

    Returns:
        Columns: width, seed (of the choice for its candidates, of the grid for other widths), train, test.
    """
    chosen_from = found.rows["hidden"].isin([str(width) for (width,) in CANDIDATES])
    in_choice = found.rows["seed"].isin(CHOICE_SEEDS[found.preset])
    in_grid = found.rows["seed"].isin(BUDGETS[found.preset].seeds)
    rows = found.rows[
        (found.rows["learning_rate"] == CHOICE_RATE)
        & found.rows["hidden"].str.isdigit()
        & in_choice.where(chosen_from, in_grid)
    ]
    accuracies = {
        part: final_values(rows, f"{part}_accuracy", ["hidden", "seed"]) for part in ("train", "test")
    }
    shares = (100 * (1 - pd.DataFrame(accuracies))).reset_index()
    return shares.assign(width=shares["hidden"].astype(int))


@remembered
def candidates(found: Results) -> pd.DataFrame:
    """Return accuracies at the end of the runs by which the network is chosen.

    Returns:
        Index: hidden, by increasing width, and seed; columns: train, validation, test.
    """
    rows = found.rows[
        (found.rows["learning_rate"] == CHOICE_RATE) & found.rows["seed"].isin(CHOICE_SEEDS[found.preset])
    ]
    accuracies = {
        part: final_values(rows, f"{part}_accuracy", ["hidden", "seed"])
        for part in ("train", "validation", "test")
    }
    names = ["-".join(map(str, hidden)) for hidden in CANDIDATES]
    return pd.DataFrame(accuracies).loc[names]


@dataclass(frozen=True)
class Choice:
    """What the rule says: the most accurate candidate, by how much the others lie below it, and the chosen one."""

    best: str
    behind: dict[str, Interval]
    chosen: str


@remembered
def choice(found: Results) -> Choice:
    """Return the smallest candidate that lies at most CHOICE_MARGIN below the best, with all of its interval."""
    table = candidates(found)["validation"].unstack("hidden")
    table = table[list(candidates(found).index.unique("hidden"))]
    best = str(table.mean().idxmax())
    behind = {name: paired_t(table[best], table[name]).difference for name in table if name != best}
    near = [
        name for name in table if name == best or behind[name].mean + behind[name].half_width <= CHOICE_MARGIN
    ]
    return Choice(best, behind, near[0])


# Exhibits


@exhibit("tbl-capacity-rates", "capacity")
def expectations_table(found: Results) -> Table:
    """Tabulate what was expected of every step, and what happens at each rate."""
    lines = []
    for step in STEPS:
        if step == TO_DEEP:
            lines += _lines_of_least_sum(found)
        for examples in step.examples(found):
            lost = lost_fit(found, step, examples)
            for metric, name in COMPONENT_NAMES.items():
                changes = step.changes(found, examples, metric)
                first = metric == next(iter(COMPONENT_NAMES))
                cells = [
                    format_interval(each, 0, "*" if first and lost[rate] else "")
                    for rate, each in changes.items()
                ]
                lines.append(
                    [
                        step.words if first else "",
                        f"{examples:,}" if first else "",
                        name,
                        getattr(step, metric),
                        *cells,
                        step.verdict(found, examples, metric),
                    ]
                )
    return Table(
        pd.DataFrame(
            lines,
            columns=["Step", "Examples", "Of", "Expected", *map(format_rate, LEARNING_RATES), "Verdict"],
        ),
        "Expected and found: changes of bias², variance and their sum in percent at each learning rate, "
        "with 95 % jackknife intervals over the disjoint training sets, which both networks share. Asterisk: the "
        "larger network ends with the larger train loss. Verdict: *confirmed* or *refuted* (the direction, where "
        "nothing was expected) if the intervals say so at all rates but one at most, and at none the opposite; "
        f"*{TURNS}* if some lie above 0 and some below; “stays” is refuted by one rate. Width of least sum: *moderate* "
        "is neither the narrowest nor the widest, *wider* than with fewer examples.",
        (20, 9, 9, 9, 10, 10, 9, 11, 12, 11),
    )


def _lines_of_least_sum(found: Results) -> list[list[str]]:
    """Return the table's lines of the width at which the sum is least, by number of examples."""
    few, *larger = sizes(found)
    widths = least_sum(found, few)
    lines = [
        _line_of_least_sum(few, widths, "moderate", "confirmed" if is_moderate(widths) else "refuted"),
    ]
    for more in larger:
        wider = [Interval(float(each), 0.0, 1) for each in least_sum(found, more) - widths]
        lines.append(_line_of_least_sum(more, least_sum(found, more), "wider", verdict("rises", wider)))
    return lines


def _line_of_least_sum(examples: int, widths: pd.Series[int], expected: str, said: str) -> list[str]:
    return ["Width of least sum", f"{examples:,}", "sum", expected, *(f"{each:,}" for each in widths), said]


@exhibit("tbl-capacity", "capacity")
def candidates_table(found: Results) -> Table:
    """Tabulate the accuracies of the candidates on all examples, and how far they lie below the best."""
    table, chosen = candidates(found), choice(found)
    lines = []
    for hidden, of_network in table.groupby(level="hidden", sort=False):
        name = str(hidden)
        accuracy = {
            f"{part.capitalize()} acc.": format_interval(t_interval(of_network[part]), 2, "")
            for part in ("train", "validation", "test")
        }
        behind = format_interval(chosen.behind[name], 2, "") if name in chosen.behind else "–"
        lines.append(
            {
                "Network": f"784-{name}-10",
                "β": f"{num_parameters_of(name):,}",
                **accuracy,
                "Validation, below the best": behind,
            }
        )
    return Table(
        pd.DataFrame(lines),
        f"The candidates after training on {BUDGETS[found.preset].train_examples:,} examples with $\\eta$ = "
        f"{format_rate(CHOICE_RATE)}: accuracies in percent, and how many points the validation accuracy lies below "
        f"the highest; 95 % t intervals over {count_words(len(CHOICE_SEEDS[found.preset]), 'seed')}, of the last "
        "column paired by seed.",
        (14, 10, 15, 15, 15, 15),
    )


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
    """Draw bias², variance and their sum over the width for the small training sets, and errors for all examples."""
    figure, (*panels, last) = plt.subplots(1, 1 + len(sizes(found)), figsize=(WIDTH, 2.3))
    for axes, examples in zip(panels, sizes(found), strict=True):
        for name, style in COMPONENT_STYLES.items():
            parts = over_width(found, examples, name)
            axes.errorbar(
                parts.index,
                [each.mean for each in parts],
                [each.half_width for each in parts],
                elinewidth=0.8,
                **{**style, "label": None, "markersize": MARKER},
            )
        axes.sharey(panels[0])
        axes.tick_params(labelleft=axes is panels[0])
        axes.set_title(f"{examples:,} examples")
    panels[0].set_ylabel("squared error")
    shallow = errors(found)
    for part, style in TRAIN_TEST.items():
        means = shallow.groupby("width")[part].mean()
        last.plot(means.index, means, **style)
        last.plot(shallow["width"], shallow[part], ".", color=style["color"], markersize=2)
    last.set_ylabel("error in %")
    last.set_title(f"{BUDGETS[found.preset].train_examples:,} examples")
    for axes in (*panels, last):
        axes.set_xscale("log")
        axes.set_xticks((2, 16, 128, 2048), ["2", "16", "128", "2,048"])
        axes.minorticks_off()
        axes.set_xlabel("width")
        axes.set_yscale("log")
        plain_ticks(axes.yaxis, decades=axes is last)
    last.set_ylim(bottom=LEAST_SHOWN)
    handles = [
        *(Line2D([], [], markersize=MARKER, **style) for style in COMPONENT_STYLES.values()),
        *(Line2D([], [], label=f"{name} error", **style) for name, style in TRAIN_TEST.items()),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, handlelength=2)
    return Picture(
        figure,
        f"One hidden layer, $\\eta$ = {format_rate(CHOICE_RATE)}. Left and middle: bias², variance and their sum, "
        "trained on small sets, with 95 % jackknife intervals, mostly smaller than the marks. Right: errors above "
        f"{LEAST_SHOWN:g} % after training on all examples that validation leaves; points: seeds (of @tbl-capacity, "
        "where it has the width).",
        "Three panels. Bias² falls with width and flattens; the variance falls and rises again. Test error falls with "
        "width and flattens at some hundred units; train error falls to nearly zero.",
    )


def over_width(found: Results, examples: int, metric: str) -> pd.Series[Any]:
    """Return a component at CHOICE_RATE with its jackknife Interval; index: the width of one hidden layer."""
    table = estimates(found).loc[(examples, metric, CHOICE_RATE)]
    intervals = {
        int(name): Interval(values[-1], jackknife_half_width(values[values.index >= 0]), len(values) - 1)
        for name, values in table.items()
        if str(name).isdigit()
    }
    return pd.Series(intervals).sort_index()


@sketch("capacity", alt="Over width, bias falls; variance falls too and then rises a little.")
def sketch_of_parts(axes: Axes, found: Results) -> None:
    for name, colour in (("bias2", GREEN), ("variance", PINK)):
        parts = over_width(found, sizes(found)[0], name)
        axes.plot(parts.index, [each.mean for each in parts], color=colour)
    axes.set_xscale("log")
    axes.set_yscale("log")
    write_in(axes, 0.05, 0.1, "variance", PINK)
    write_in(axes, 0.2, 0.75, "bias²", GREEN)


# Findings


@finding("capacity", headline=True)
def width_has_an_optimum(found: Results) -> Evidence:
    few, *_ = sizes(found)
    least = least_sum(found, few)
    return Evidence(
        f"A layer of {WIDE} units has less bias² than one of {NARROW}, as expected, and, against expectation, less "
        f"variance at most learning rates. Beyond {WIDE} units the variance rises, as expected; whether bias² still "
        f"falls depends on the rate. With {few:,} examples, bias² + variance is therefore least at a moderate width, "
        f"at each rate: {least.min()} to {least.max()} units. Three layers of {WIDE} units have less bias² than one "
        f"and more variance, at {join_english(map(format_rate, _trading_rates(found)))}.",
        {
            **{
                f"{step.words}, {size:,} examples: {COMPONENT_NAMES[metric]} {wanted}": step.verdict(
                    found, size, metric
                )
                == wanted
                for step, metric, wanted in (
                    (TO_WIDE, "bias2", "confirmed"),
                    (TO_WIDEST, "bias2", TURNS),
                    (TO_WIDEST, "variance", "confirmed"),
                )
                for size in sizes(found)
            },
            "the variance falls up to the width of assignment 1 in more than half of the cases": 2
            * sum(_falls(each) for each in _cases(found, TO_WIDE, "variance"))
            > len(_cases(found, TO_WIDE, "variance")),
            "with few examples the sum falls, and then rises, at every rate": all(
                _falls(each) for each in TO_WIDE.changes(found, few, "squared_error").values()
            )
            and all(_rises(each) for each in TO_WIDEST.changes(found, few, "squared_error").values()),
            "there it is least between the narrowest and the widest layer": is_moderate(least),
            **_depth_conditions(found),
        },
        f"Width up to {WIDE} lowers bias² and mostly variance; depth can trade bias² for variance.",
    )


def _rises(change: Interval) -> bool:
    return change.mean > change.half_width


def _falls(change: Interval) -> bool:
    return change.mean < -change.half_width


def _cases(found: Results, step: Step, metric: str, lost: bool | None = None) -> list[Interval]:
    """Return a component's changes at all rates and sizes of training sets, or at those with the (un)lost fit."""
    return [
        each
        for size in step.examples(found)
        for rate, each in step.changes(found, size, metric).items()
        if lost is None or lost == lost_fit(found, step, size)[rate]
    ]


@finding("capacity")
def variance_turns(found: Results) -> Evidence:
    few, *_ = sizes(found)
    to_wide, beyond = _cases(found, TO_WIDE, "variance"), _cases(found, TO_WIDEST, "variance")
    rising = [rate for rate, each in TO_WIDE.changes(found, few, "variance").items() if _rises(each)]
    narrow = estimates(found).loc[(few, "variance")].xs(-1, level="subset")[NARROW].loc[list(LEARNING_RATES)]
    losses = train_losses(found).loc[few, NARROW]
    falling, turned = (
        count_words(number) for number in (sum(map(_falls, to_wide)), sum(map(_rises, beyond)))
    )
    return Evidence(
        f"From {NARROW} to {WIDE} units the variance falls on balance in {falling} of {count_words(len(to_wide))} "
        f"cases (@tbl-capacity-rates). It rises with {few:,} examples at {join_english(map(format_rate, rising))}, "
        f"where {NARROW} units learn too little to vary (train loss {losses[rising].min():.1f} or more). From {WIDE} "
        f"to {int(WIDEST):,} units it rises in {turned} of {count_words(len(beyond))}.",
        {
            "it falls in at least three quarters of the cases": 4 * sum(map(_falls, to_wide))
            >= 3 * len(to_wide),
            "it rises at the smallest rates": rising == sorted(narrow.index)[: len(rising)]
            and len(rising) > 0,
            "at which the narrow layer varies less than half as much as at any other": bool(
                2 * narrow[rising].max() < narrow.drop(rising).min()
            ),
            "beyond, it rises in all cases but one": sum(map(_rises, beyond)) >= len(beyond) - 1,
        },
    )


@finding("capacity")
def sgd_turns_with_the_rate(found: Results) -> Evidence:
    few, *_ = sizes(found)
    widest = str(max(width for (width,) in SGD_HIDDEN))
    changes = {rate: change(found, few, "variance", rate, WIDE, widest) for rate in SGD_RATES}
    rising, falling = ([rate for rate, each in changes.items() if test(each)] for test in (_rises, _falls))
    return Evidence(
        f"With SGD and {few:,} examples the variance rises from {WIDE} to {int(widest):,} units by "
        f"{join_english(_at(rate, changes[rate]) for rate in rising)}, and falls by "
        f"{join_english(_at(rate, replace(changes[rate], mean=-changes[rate].mean)) for rate in falling)}: the rise is "
        "not Adam's alone.",
        {
            "it rises at most rates of SGD": 2 * len(rising) > len(changes),
            "it falls at the others": len(falling) > 0 and len(rising) + len(falling) == len(changes),
        },
    )


def _at(rate: float, change: Interval) -> str:
    return f"{format_interval(change, 0)} at {format_rate(rate)}"


@finding("capacity")
def bias_rises_with_the_train_loss(found: Results) -> Evidence:
    few, more = sizes(found)
    lost, kept = (_cases(found, TO_WIDEST, "bias2", lost=each) for each in (True, False))
    rates = [rate for rate, each in lost_fit(found, TO_WIDEST, few).items() if each]
    of_few = TO_WIDEST.changes(found, few, "bias2")
    exceptions = [rate for rate, each in of_few.items() if rate not in rates and _rises(each)]
    return Evidence(
        f"Beyond {WIDE} units, bias² rises where the wider network ends with the larger train loss, at "
        f"{join_english(map(format_rate, rates))} (asterisks). At the other rates it falls with {more:,} examples; "
        f"with {few:,} it rises by {join_english(_at(rate, of_few[rate]) for rate in exceptions)} all the same. So the "
        "larger rises may come from the optimizer.",
        {
            "it rises by more than the interval where the fit is lost": bool(lost) and all(map(_rises, lost)),
            "the rates are the same for both sizes": [
                rate for rate, each in lost_fit(found, TO_WIDEST, more).items() if each
            ]
            == rates,
            "elsewhere it rises by less than in any of those cases": max(
                (each.mean for each in kept), default=0.0
            )
            < min((each.mean for each in lost), default=0.0),
            "with few examples it rises at one of the other rates": len(exceptions) == 1,
            "with more examples it falls there, by more than the interval": all(
                _falls(each)
                for rate, each in TO_WIDEST.changes(found, more, "bias2").items()
                if rate not in rates
            ),
        },
    )


@finding("capacity")
def optimum_depends_on_the_rate(found: Results) -> Evidence:
    few, more = sizes(found)
    wider = least_sum(found, more) > least_sum(found, few)
    lost = lost_fit(found, TO_WIDEST, more)
    return Evidence(
        f"With {more:,} examples the least sum moves to wider layers, as expected, at the "
        f"{count_words(int(wider.sum()))} rates without an asterisk only.",
        {"the optimum moves at the rates at which the fit is not lost": bool((wider == ~lost).all())},
    )


@finding("capacity")
def depth_trades_bias_for_variance(found: Results) -> Evidence:
    *_, examples = sizes(found)
    bias, variance, both = (
        TO_DEEP.changes(found, examples, metric)[CHOICE_RATE] for metric in COMPONENT_NAMES
    )
    fits = [rate for rate, each in lost_fit(found, TO_DEEP, examples).items() if not each]
    two = {rate: change(found, examples, "squared_error", rate, WIDE, TWO_DEEP) for rate in fits}
    return Evidence(
        f"With {examples:,} examples and $\\eta$ = {format_rate(CHOICE_RATE)}, three layers of {WIDE} units instead of "
        f"one lower bias² by {format_interval(replace(bias, mean=-bias.mean), 0)} and raise the variance by "
        f"{format_interval(variance, 0)}; the sums of the two networks cannot be told apart. The signs are the same at "
        f"{join_english(format_rate(rate) for rate in _trading_rates(found) if rate != CHOICE_RATE)}; at the larger "
        "rates (asterisks) the deep network learns badly or nothing. Two layers lower the sum by "
        f"{_at(CHOICE_RATE, replace(two[CHOICE_RATE], mean=-two[CHOICE_RATE].mean))}.",
        {
            **_depth_conditions(found),
            "the sum changes by less than the interval": abs(both.mean) < both.half_width,
            "two layers lower the sum where three fit": all(map(_falls, two.values())),
        },
    )


def _trading_rates(found: Results) -> list[float]:
    """Return the rates at which three layers lower bias² clearly, by twice the interval, and raise the variance."""
    *_, examples = sizes(found)
    bias, variance = (TO_DEEP.changes(found, examples, metric) for metric in ("bias2", "variance"))
    return [rate for rate in bias if bias[rate].mean < -2 * bias[rate].half_width and _rises(variance[rate])]


def _depth_conditions(found: Results) -> dict[str, bool]:
    *_, examples = sizes(found)
    lost = lost_fit(found, TO_DEEP, examples)
    rates = sorted(lost.index)
    trading = _trading_rates(found)
    return {
        "three layers fit better up to the rate of the figure": [rate for rate in rates if not lost[rate]]
        == [rate for rate in rates if rate <= CHOICE_RATE],
        "at that rate and another of these they lower bias² and raise the variance": CHOICE_RATE in trading
        and len(trading) > 1
        and not lost[trading].any(),
    }


@finding("capacity")
def narrow_layers_fit_worse(found: Results) -> Evidence:
    *_, examples = sizes(found)
    variance = TO_DEEP_NARROW.changes(found, examples, "variance")
    return Evidence(
        f"Three layers of {NARROW} units raise bias², as expected, but end with the larger train loss at every rate: "
        "the reason may be training. That the variance stays is refuted: it falls at "
        f"{join_english(format_rate(rate) for rate, each in variance.items() if _falls(each))} and rises at "
        f"{join_english(format_rate(rate) for rate, each in variance.items() if _rises(each))}.",
        {
            "bias² rises at every rate": all(map(_rises, _cases(found, TO_DEEP_NARROW, "bias2"))),
            "the fit is lost at every rate": bool(lost_fit(found, TO_DEEP_NARROW, examples).all()),
            "the variance falls at a rate": any(map(_falls, variance.values())),
            "it rises at another": any(map(_rises, variance.values())),
        },
    )


@finding("capacity")
def depth_differs_from_width(found: Results) -> Evidence:
    *_, examples = sizes(found)
    bias, variance = (
        change(found, examples, metric, CHOICE_RATE, SAME_SIZE, DEEP) for metric in ("bias2", "variance")
    )
    return Evidence(
        f"The number of parameters does not explain the effect of depth either: 784-{DEEP}-10 has nearly as many as "
        f"784-{SAME_SIZE}-10, but {format_interval(replace(bias, mean=-bias.mean), 0)} less bias² and "
        f"{format_interval(variance, 0)} more variance ({format_rate(CHOICE_RATE)}, {examples:,} examples).",
        {
            "their numbers of parameters differ by less than a tenth": abs(
                num_parameters_of(SAME_SIZE) / num_parameters_of(DEEP) - 1
            )
            < 0.1,
            "the deep one has less bias²": _falls(bias),
            "the deep one has more variance": _rises(variance),
        },
    )


@finding("capacity")
def depth_gains_no_accuracy(found: Results) -> Evidence:
    rows = found.rows[
        (found.rows["learning_rate"] == CHOICE_RATE) & found.rows["seed"].isin(BUDGETS[found.preset].seeds)
    ]
    accuracy = final_values(rows, "validation_accuracy", ["hidden", "seed"]).unstack("hidden")
    gains = [paired_t(accuracy[deep], accuracy[WIDE]).difference for deep in (TWO_DEEP, DEEP)]
    return Evidence(
        f"All have one hidden layer, as two and three of {WIDE} units gained nothing measurable "
        f"({' and '.join(format_interval(each, 2, '') for each in gains)} points of validation accuracy).",
        {
            "no gain is larger than its interval": not any(map(_rises, gains)),
            "every gain is below the margin": all(each.mean < CHOICE_MARGIN for each in gains),
        },
    )


@finding("capacity")
def architecture_by_rule(found: Results) -> Evidence:
    picked = choice(found)
    used = picked.behind.get(USED, Interval(0.0, 0.0, 1))
    return Evidence(
        f"The rule chooses 784-{picked.chosen}-10. Against it, 784-{USED}-10 was kept, the network of assignment 1, "
        "with which assignment 2 had been computed by then: it lies within the margin as well.",
        {
            "the rule chooses a smaller network than that of assignment 1": int(picked.chosen) < int(USED),
            "that of assignment 1 is within the margin": used.mean + used.half_width <= CHOICE_MARGIN,
        },
    )


@finding("capacity")
def parameters_counted(found: Results) -> Evidence:
    table = found.programs["parameters"].set_index("hidden")
    named = join_english(f"{table.loc[hidden, 'beta']:,} for 784-{hidden}-10" for hidden in NAMED)
    return Evidence(
        f"$\\beta$ is {named}; it agrees with the tensors of all {len(table)} networks counted.",
        {"formula and count agree for every network": bool((table["beta"] == table["counted"]).all())},
    )


@statement("capacity", said="β is 8,070, 16,330 and 238,510 for 784-10-10-10, 784-20-20-10 and 784-300-10.")
def numbers_of_parameters(found: Results) -> Evidence:
    counted = found.programs["parameters"].set_index("hidden").loc[list(NAMED), "counted"]
    return Evidence(
        f"{join_english(f'{value:,}' for value in counted)}, by formula and by counting.",
        {"the counts are these": counted.tolist() == [8_070, 16_330, 238_510]},
    )
