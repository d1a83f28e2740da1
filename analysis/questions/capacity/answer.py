"""Q3, depth and width: bias² and variance over capacity at one learning rate each, and the network of assignment 2."""

from __future__ import annotations

import math
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
TRADED = ("bias2", "variance")  # which the table has by step; of their sum, the width at which it is least
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
        bias2, variance: rises, falls or stays.
    """

    words: str
    first: str
    second: str
    bias2: str
    variance: str

    def changes(self, found: Results, examples: int, metric: str) -> dict[float, Interval]:
        """Return the change of a component by learning rate."""
        return {
            rate: change(found, examples, metric, rate, self.first, self.second) for rate in LEARNING_RATES
        }

    def verdict(self, found: Results, examples: int, metric: str) -> str:
        return verdict(getattr(self, metric), list(self.changes(found, examples, metric).values()))


TO_WIDE = Step("4 to 300 units", NARROW, WIDE, "falls", "rises")
TO_WIDEST = Step("300 to 2,048 units", WIDE, WIDEST, "falls", "rises")
TO_DEEP = Step("1 to 3 layers of 300", WIDE, DEEP, "falls", "rises")
TO_DEEP_NARROW = Step("1 to 3 layers of 4", NARROW, DEEP_NARROW, "rises", "stays")
STEPS = (TO_WIDE, TO_WIDEST, TO_DEEP, TO_DEEP_NARROW)
# What was expected of these was written down after the results of the larger sets.
LATE = (TO_DEEP, TO_DEEP_NARROW)


def verdict(expected: str, changes: Sequence[Interval]) -> str:
    """Return what intervals at several rates say of an expectation."""
    up = sum(each.mean > each.half_width for each in changes)
    down = sum(each.mean < -each.half_width for each in changes)
    if expected == "stays":  # which no interval can confirm
        return "refuted" if up or down else "open"
    most = len(changes) - 1
    direction = "rises" if up >= most and not down else "falls" if down >= most and not up else "open"
    if direction == "open":
        return TURNS if up and down else "open"
    return "confirmed" if direction == expected else "refuted"


@dataclass(frozen=True)
class Least:
    """Where over the widths of one hidden layer a component is least.

    Attributes:
        width: With all training sets.
        first, last: The least and the largest such width with one of the sets left out.
    """

    width: int
    first: int
    last: int

    def __str__(self) -> str:
        return "–".join(dict.fromkeys(f"{place:,}" for place in (self.first, self.last)))


def least(found: Results, examples: int, metric: str) -> dict[float, Least]:
    """Return at which width a component is least, by learning rate."""
    table = estimates(found).loc[(examples, metric)]
    widths = table[[name for name in table if name.isdigit()]].idxmin(axis="columns").astype(int)
    return {
        rate: Least(widths[rate, -1], widths[rate].drop(-1).min(), widths[rate].drop(-1).max())
        for rate in LEARNING_RATES
    }


def widths_of(places: dict[float, Least]) -> pd.Series[int]:
    """Return the widths alone, by learning rate."""
    return pd.Series({rate: each.width for rate, each in places.items()})


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
            lines += _lines_of_least(found)
        for examples in sizes(found):
            lost = lost_fit(found, step, examples)
            for metric in TRADED:
                changes = step.changes(found, examples, metric)
                first = metric == TRADED[0]
                cells = [
                    format_interval(each, 0, "*" if first and lost[rate] else "")
                    for rate, each in changes.items()
                ]
                lines.append(
                    [
                        step.words if first else "",
                        f"{examples:,}" if first else "",
                        COMPONENT_NAMES[metric],
                        getattr(step, metric)
                        + ("†" if step in LATE and examples == max(sizes(found)) else ""),
                        *cells,
                        step.verdict(found, examples, metric),
                    ]
                )
    return Table(
        pd.DataFrame(
            lines,
            columns=["Step", "Examples", "Of", "Expected", *map(format_rate, LEARNING_RATES), "Verdict"],
        ),
        "Expected and found, by learning rate: changes of bias² and variance in percent, with 95 % jackknife intervals "
        "over the disjoint training sets, which both networks share; and the width of one layer at which the variance "
        "and the sum are least, a range where leaving a training set out moves it. Asterisk: the larger network "
        "ends with the larger train loss. Verdict: *confirmed* or *refuted* if the intervals say so at all rates but "
        f"one at most, and at none the opposite; *{TURNS}* if some lie above 0 and some below; “stays” is refuted by "
        "one rate; *in part*: at some rates. (The rule, and what a dagger marks, were written down "
        "after the results; no interval is adjusted.) *Moderate* is neither the "
        "narrowest nor the widest, *wider* than with fewer examples.",
        (23, 10, 10, 11, 10, 9, 12, 11, 12, 11),
    )


def _lines_of_least(found: Results) -> list[list[str]]:
    """Return the table's lines of the widths at which the variance and the sum are least."""
    few, *larger = sizes(found)
    (narrowest, *_) = min(HIDDEN)
    lines = []
    for size in sizes(found):
        places = least(found, size, "variance")
        said = "refuted" if (widths_of(places) > narrowest).all() else "open"
        lines.append(_line_of_least("variance", size, places, "narrowest", said))
    few_sums = least(found, few, "squared_error")
    said = "confirmed" if is_moderate(widths_of(few_sums)) else "refuted"
    lines.append(_line_of_least("sum", few, few_sums, "moderate", said))
    for more in larger:
        sums = least(found, more, "squared_error")
        wider = widths_of(sums) > widths_of(few_sums)
        said = "confirmed" if wider.all() else "in part" if wider.any() else "refuted"
        lines.append(_line_of_least("sum", more, sums, "wider", said))
    return lines


def _line_of_least(of: str, examples: int, places: dict[float, Least], expected: str, said: str) -> list[str]:
    return ["Width of least", f"{examples:,}", of, expected, *map(str, places.values()), said]


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
    """Draw bias², variance and their sum over width and depth for the small training sets; errors for all examples."""
    few, more = sizes(found)[0], sizes(found)[-1]
    figure, (*panels, deep, last) = plt.subplots(
        1, 4, figsize=(WIDTH, 2.05), width_ratios=(1, 1, 0.7, 1), squeeze=True
    )
    for axes, examples in zip(panels, (few, more), strict=True):
        for name, style in COMPONENT_STYLES.items():
            _draw_parts(axes, over_width(found, examples, name), style)
        axes.set_title(f"{examples:,} examples")
    for name, style in COMPONENT_STYLES.items():
        for examples, filled in ((few, False), (more, True)):
            parts = over_depth(found, examples, name)
            face = {} if filled else {"markerfacecolor": "white"}
            _draw_parts(deep, parts, {**style, **face})
    deep.set_title(f"layers of {WIDE}")
    deep.set_xlabel("hidden layers")
    deep.set_xticks((1, 2, 3))
    for axes in (*panels, deep):
        axes.sharey(panels[0])
        axes.tick_params(labelleft=axes is panels[0])
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
    for axes in (*panels, deep, last):
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
        f"$\\eta$ = {format_rate(CHOICE_RATE)}. First and second: bias², variance and their sum of one hidden layer, "
        "trained on small sets, with 95 % jackknife intervals, mostly smaller than the marks. Third: the same of one "
        f"to three layers of {WIDE} units, hollow for {few:,} examples. Right: errors above {LEAST_SHOWN:g} % of one "
        "hidden layer after training on all examples that validation leaves; points: seeds (of @tbl-capacity, where it "
        "has the width).",
        "Four panels. Over width, bias² falls and flattens; the variance falls and rises again. Over depth, bias² "
        "falls a little and the variance rises. Test error falls with width and flattens at some hundred units; train "
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


def over_depth(found: Results, examples: int, metric: str) -> pd.Series[Any]:
    """Return a component at CHOICE_RATE with its jackknife Interval; index: the number of layers of WIDE units."""
    parts = _parts(found, examples, metric)
    return pd.Series({1 + name.count("-"): parts[name] for name in (WIDE, TWO_DEEP, DEEP)})


def _parts(found: Results, examples: int, metric: str) -> dict[str, Interval]:
    """Return a component at CHOICE_RATE with its jackknife Interval, by network."""
    table = estimates(found).loc[(examples, metric, CHOICE_RATE)]
    return {
        str(name): Interval(values[-1], jackknife_half_width(values[values.index >= 0]), len(values) - 1)
        for name, values in table.items()
    }


def over_width(found: Results, examples: int, metric: str) -> pd.Series[Any]:
    """Return a component at CHOICE_RATE with its jackknife Interval; index: the width of one hidden layer."""
    parts = _parts(found, examples, metric)
    return pd.Series({int(name): each for name, each in parts.items() if name.isdigit()}).sort_index()


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
    bias = {size: TO_DEEP.changes(found, size, "bias2")[CHOICE_RATE] for size in reversed(sizes(found))}
    sums = widths_of(least(found, few, "squared_error"))
    turns = _turns(found)
    return Evidence(
        f"A layer of {WIDE} units has less bias² than one of {NARROW}, as expected. From {NARROW} units on the "
        f"variance, against expectation, falls first; it is least at {turns.min()} to {turns.max()} units, "
        "depending on learning rate and examples, and only beyond does it rise, as expected. With "
        f"{few:,} examples, bias² + variance is least at a moderate width too, at each rate: {sums.min()} to "
        f"{sums.max()} units. Three layers of {WIDE} units instead of one raise the variance wherever they fit the "
        f"examples as well; at {format_rate(CHOICE_RATE)} they lower bias² by "
        f"{join_english(f'{format_interval(-bias[size], 0)} with {size:,}' for size in bias)} examples.",
        {
            **{
                f"{step.words}, {size:,} examples: {COMPONENT_NAMES[metric]} {wanted}": step.verdict(
                    found, size, metric
                )
                == wanted
                for step, metric, wanted in (
                    (TO_WIDE, "bias2", "confirmed"),
                    (TO_WIDEST, "variance", "confirmed"),
                )
                for size in sizes(found)
            },
            "the variance is least between the narrowest and the widest layer, at every rate": is_moderate(
                turns
            ),
            "with few examples the sum falls, and then rises, at every rate": all(
                _falls(each) for each in TO_WIDE.changes(found, few, "squared_error").values()
            )
            and all(_rises(each) for each in TO_WIDEST.changes(found, few, "squared_error").values()),
            "there it is least between the narrowest and the widest layer": is_moderate(sums),
            **_depth_conditions(found),
        },
        "The variance falls with width before it rises; depth can trade bias² for variance.",
    )


def _turns(found: Results) -> pd.Series[int]:
    """Return the widths of least variance at every learning rate, for all sizes of training sets."""
    return pd.concat([widths_of(least(found, size, "variance")) for size in sizes(found)])


def _rises(change: Interval) -> bool:
    return change.mean > change.half_width


def _falls(change: Interval) -> bool:
    return change.mean < -change.half_width


def _cases(found: Results, step: Step, metric: str, lost: bool | None = None) -> list[Interval]:
    """Return a component's changes at all rates and sizes of training sets, or at those with the (un)lost fit."""
    return [
        each
        for size in sizes(found)
        for rate, each in step.changes(found, size, metric).items()
        if lost is None or lost == lost_fit(found, step, size)[rate]
    ]


@finding("capacity")
def variance_turns(found: Results) -> Evidence:
    beyond = _cases(found, TO_WIDEST, "variance")
    before, moved = [], 0
    for size in sizes(found):
        for rate, place in least(found, size, "variance").items():
            before.append(change(found, size, "variance", rate, NARROW, str(place.width)))
            moved += place.first != place.last
    turned, cases = (count_words(number) for number in (sum(map(_rises, beyond)), len(beyond)))
    return Evidence(
        f"From {NARROW} units on, the variance falls by {_least_fall(before)} % or more to its least, at the widths of "
        f"@tbl-capacity-rates; leaving a training set out moves that place in {count_words(moved)} of {cases} cases "
        f"only. From {WIDE} to {int(WIDEST):,} units it rises in {turned} of them.",
        {
            "it falls by more than the interval in all cases": all(map(_falls, before)),
            "beyond, it rises in all cases but one": sum(map(_rises, beyond)) >= len(beyond) - 1,
            "its place moves in fewer than a quarter of the cases": 4 * moved < len(beyond),
        },
    )


def _least_fall(changes: Sequence[Interval]) -> str:
    """Return the least fall in percent, rounded down."""
    return f"{math.floor(-100 * max(each.mean for each in changes))}"


@finding("capacity")
def sgd_turns_with_the_rate(found: Results) -> Evidence:
    few, *_ = sizes(found)
    widest = str(max(width for (width,) in SGD_HIDDEN))
    changes = {rate: change(found, few, "variance", rate, WIDE, widest) for rate in SGD_RATES}
    rising, falling = ([rate for rate, each in changes.items() if test(each)] for test in (_rises, _falls))
    return Evidence(
        f"With SGD and {few:,} examples the variance rises from {WIDE} to {int(widest):,} units by "
        f"{join_english(_at(rate, changes[rate]) for rate in rising)}, and falls by "
        f"{join_english(_at(rate, -changes[rate]) for rate in falling)}: the rise is "
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
    wider = widths_of(least(found, more, "squared_error")) > widths_of(least(found, few, "squared_error"))
    lost = lost_fit(found, TO_WIDEST, more)
    return Evidence(
        f"With {more:,} examples the least sum moves to wider layers, as expected, at the "
        f"{count_words(int(wider.sum()))} rates without an asterisk only.",
        {"the optimum moves at the rates at which the fit is not lost": bool((wider == ~lost).all())},
    )


@finding("capacity")
def depth_trades_bias_for_variance(found: Results) -> Evidence:
    few, *_, many = sizes(found)
    (bias, variance, both), (bias_of_few, variance_of_few, both_of_few) = (
        [TO_DEEP.changes(found, size, metric)[CHOICE_RATE] for metric in COMPONENT_NAMES]
        for size in (many, few)
    )
    two = {size: change(found, size, "squared_error", CHOICE_RATE, WIDE, TWO_DEEP) for size in (few, many)}
    return Evidence(
        f"At $\\eta$ = {format_rate(CHOICE_RATE)} and with {many:,} examples, three layers of {WIDE} units instead of "
        f"one raise the variance by {format_interval(variance, 0)}, and the sums of the two networks cannot be told "
        f"apart. With {few:,} examples, where bias² falls less, the sum rises by {format_interval(both_of_few, 0)}. "
        "So three layers pay, if at all, with more examples. Two lower the sum by "
        f"{format_interval(-two[few], 0)} with {few:,} examples and by "
        f"{format_interval(-two[many], 0)} with {many:,}. At "
        "the larger rates (asterisks) the deepest network learns badly or nothing.",
        {
            **_depth_conditions(found),
            "with many examples the sum changes by less than the interval": abs(both.mean) < both.half_width,
            "with few the variance rises": _rises(variance_of_few),
            "and bias² falls, but less": _falls(bias_of_few)
            and bias_of_few.mean - bias_of_few.half_width > bias.mean + bias.half_width,
            "with few the sum rises": _rises(both_of_few),
            "two layers lower the sum with both": all(map(_falls, two.values())),
        },
    )


def _trading_rates(found: Results) -> list[float]:
    """Return the rates at which, with many examples, three layers lower bias² clearly, by twice the interval."""
    *_, examples = sizes(found)
    bias, variance = (TO_DEEP.changes(found, examples, metric) for metric in ("bias2", "variance"))
    return [rate for rate in bias if bias[rate].mean < -2 * bias[rate].half_width and _rises(variance[rate])]


def _depth_conditions(found: Results) -> dict[str, bool]:
    trading, rates = _trading_rates(found), sorted(LEARNING_RATES)
    fits = [lost_fit(found, TO_DEEP, size) for size in sizes(found)]
    return {
        "three layers fit better up to the rate of the figure": all(
            [rate for rate in rates if not lost[rate]] == [rate for rate in rates if rate <= CHOICE_RATE]
            for lost in fits
        ),
        "wherever they do they raise the variance": all(
            map(_rises, _cases(found, TO_DEEP, "variance", lost=False))
        ),
        "at that rate and another of these they lower bias², with many examples": CHOICE_RATE in trading
        and len(trading) > 1
        and not any(lost[trading].any() for lost in fits),
    }


@finding("capacity")
def narrow_layers_fit_worse(found: Results) -> Evidence:
    changes = [TO_DEEP_NARROW.changes(found, size, "variance") for size in sizes(found)]
    falling, rising = (
        [rate for rate in LEARNING_RATES if all(test(each[rate]) for each in changes)]
        for test in (_falls, _rises)
    )
    return Evidence(
        f"Three layers of {NARROW} units raise bias², as expected, but end with the larger train loss at every rate: "
        "the reason may be training. That the variance stays is refuted: with either number of examples it falls at "
        f"{join_english(map(format_rate, falling))} and rises at {join_english(map(format_rate, rising))}.",
        {
            "bias² rises at every rate": all(map(_rises, _cases(found, TO_DEEP_NARROW, "bias2"))),
            "the fit is lost at every rate": all(
                bool(lost_fit(found, TO_DEEP_NARROW, size).all()) for size in sizes(found)
            ),
            "the variance falls at a rate": len(falling) > 0,
            "it rises at another": len(rising) > 0,
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
        f"784-{SAME_SIZE}-10, but {format_interval(-bias, 0)} less bias² and "
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
def rate_of_the_choice(found: Results) -> Evidence:
    rows = found.rows[found.rows["seed"].isin(BUDGETS[found.preset].seeds)]
    accuracy = final_values(rows, "validation_accuracy", ["hidden", "learning_rate", "seed"])
    means = accuracy.groupby(["hidden", "learning_rate"]).mean().unstack()
    best = means.loc[["-".join(map(str, hidden)) for hidden in CANDIDATES]].idxmax(axis="columns")
    return Evidence(
        f"In the grid, $\\eta$ = {format_rate(CHOICE_RATE)} has the highest mean validation accuracy of the "
        f"{count_words(len(LEARNING_RATES))} rates "
        "for every candidate.",
        {"it has": bool((best == CHOICE_RATE).all())},
    )


@finding("capacity")
def architecture_by_rule(found: Results) -> Evidence:
    picked = choice(found)
    used = picked.behind.get(USED, Interval(0.0, 0.0, 1))
    return Evidence(
        f"The rule chooses 784-{picked.chosen}-10. Assignment 2 had been computed with 784-{USED}-10 by then, the "
        "network of assignment 1, and keeps it: it lies within the margin as well, and @sec-adam repeats "
        "its comparison with the chosen network.",
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
