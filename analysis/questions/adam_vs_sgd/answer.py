"""Exercise 4, SGD and Adam: sensitivity to the learning rate, speed of convergence and final test accuracy."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding, statement
from analysis.formatting import (
    count_words,
    format_count,
    format_fixed,
    format_interval,
    format_percent,
    format_range,
    format_rate,
    format_scientific,
    join_english,
    label,
)
from analysis.plotting import MARKER, WIDTH, draw_courses, line_style, plain_ticks, write_in
from analysis.results import Results, remembered
from analysis.statistics import (
    Interval,
    PairedTest,
    at_best_rates,
    best_rates,
    final_values,
    paired_t,
    paired_tests_holm,
    runs_at_best,
    t_interval,
)

THRESHOLDS = (0.95, 0.97)  # of test accuracy: the first epoch that reaches it is counted
MARGIN = 0.01  # rates whose accuracy lies within it of the best rate's make up the window of usable rates
USABLE = 0.9  # test accuracy of a usable rate
LATE = 10  # epochs over which accuracies on the plateau are averaged
PLATEAU = 0.001  # on it, mean test accuracies of consecutive LATE epochs differ by less
SIGNIFICANCE = 0.05  # of p-values
RULE_OF_THUMB = 3e-4  # said to be Adam's best learning rate
SAID_FACTOR = 10  # "an order of magnitude"


def window(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the runs at all rates."""
    return rows[rows["epochs"] == rows["epochs"].min()]


def long_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the runs that go on to a plateau, each optimizer at its best rate by then."""
    return at_best_rates(rows[rows["epochs"] == rows["epochs"].max()], ["optimizer"])


def late_accuracies(rows: pd.DataFrame, ends: int) -> pd.DataFrame:
    """Return test accuracies of the long runs, means of the LATE epochs before the last `ends` ones: a row per seed."""
    chosen = long_runs(rows)
    last = chosen["epoch"].max() - ends
    late = chosen[(chosen["metric"] == "test_accuracy") & chosen["epoch"].between(last - LATE, last, "right")]
    return late.groupby(["seed", "optimizer"])["value"].mean().unstack()


def late_lead(rows: pd.DataFrame) -> Interval:
    """Return Adam's lead on the plateau, over seeds."""
    late = late_accuracies(rows, 0)
    return paired_t(late["adam"], late["sgd"]).difference


@remembered
def accuracies(rows: pd.DataFrame) -> pd.Series[float]:
    """Return final test accuracies; index: optimizer, learning_rate, seed."""
    return final_values(window(rows), "test_accuracy", ["optimizer", "learning_rate", "seed"])


def mean_accuracies(rows: pd.DataFrame) -> dict[str, pd.Series[float]]:
    """Return an optimizer's final test accuracies, means over seeds, by learning rate."""
    means = accuracies(rows).groupby(["optimizer", "learning_rate"]).mean()
    return {str(optimizer): means[optimizer] for optimizer in rows["optimizer"].unique()}


def near_best(means: pd.Series[float]) -> pd.Series[float]:
    """Return, of mean accuracies by learning rate, those within MARGIN of the best."""
    return means[means >= means.max() - MARGIN]


def decades(rates: pd.Index[float]) -> float:
    """Return how far the largest rate lies from the least, in powers of ten; 0 without rates."""
    return math.log10(rates.max() / rates.min()) if len(rates) else 0.0


def rate_range(rates: pd.Index[float]) -> str:
    """Return the least and the largest rate, as the text writes them; a dash without rates."""
    if not len(rates):
        return "–"
    least, largest = format_rate(rates.min()), format_rate(rates.max())
    return f"{least} to {largest}" if len(rates) > 1 else least


@remembered
def best_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run, each optimizer at its best rate.

    Returns:
        Columns optimizer, seed, learning_rate, test_accuracy (at the end), and a column for each of THRESHOLDS: the
        first epoch that reaches it.
    """
    return runs_at_best(window(rows), ["optimizer"], THRESHOLDS)


def mean_epochs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean first epoch that reaches each of THRESHOLDS, a row per optimizer."""
    return best_runs(rows).groupby("optimizer")[list(THRESHOLDS)].mean()


def by_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return final test accuracies at the best rates: a row per seed, a column per optimizer."""
    return best_runs(rows).pivot(index="seed", columns="optimizer", values="test_accuracy")


@remembered
def paired_tests(rows: pd.DataFrame) -> dict[str, PairedTest]:
    """Test Adam's lead over SGD, each at its best rate ("sgd"), and its best rate's over RULE_OF_THUMB ("rule")."""
    best = by_seed(rows)
    rule = accuracies(rows)["adam", RULE_OF_THUMB]
    return paired_tests_holm({"sgd": (best["adam"], best["sgd"]), "rule": (best["adam"], rule)})


def format_p(test: PairedTest, adjective: str = "") -> str:
    """Return a test's p-value as the text writes it; in its place, that there is one seed only."""
    return f"{adjective}p = {format_scientific(test.p)}" if test.difference.n > 1 else "one seed, no test"


# Exhibits


@exhibit(
    "fig-adam",
    "adam_vs_sgd",
    explore="metric=test_accuracy&run=optimizer:adam,learning_rate:0.003&pin=optimizer:sgd,learning_rate:1",
)
def test_errors(found: Results) -> Picture:
    """Draw final test error over the learning rate, and test error over epochs at the best rates."""
    rows = found.rows
    figure, (rates, epochs) = plt.subplots(1, 2, figsize=(WIDTH, 1.75), width_ratios=(1.4, 1))
    for optimizer in rows["optimizer"].unique():
        style = line_style(optimizer)
        final = accuracies(rows)[optimizer].groupby("learning_rate").agg(t_interval)
        rates.errorbar(
            final.index,
            [_error(interval.mean) for interval in final],
            [100 * interval.half_width if interval.n > 1 else 0 for interval in final],
            markersize=MARKER,
            capsize=2,
            **style,
        )
    rates.set_xscale("log")
    rates.set_xlabel("learning rate η")
    rates.set_ylabel("test error in %")
    rates.set_yscale("log")
    plain_ticks(rates.yaxis)
    rates.set_ylim(1.5, 100)
    long = long_runs(rows)
    epochs.set_xscale("log")
    epochs.set_yscale("log")
    epochs.set_ylim(1.5, 10)
    epochs.set_xticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    epochs.minorticks_off()
    plain_ticks(epochs.yaxis)
    draw_courses(epochs, long, "test_accuracy", "optimizer", error=True)
    return Picture(
        figure,
        "SGD and Adam. Left: final test error over the learning rate, with 95 % t intervals over "
        f"{count_words(rows['seed'].nunique(), 'seed')}. Right: test error along {long['epochs'].max():.0f} epochs, "
        "both at their best rates there; bands span the seeds.",
        "Left: two valleys on logarithmic axes, the one of Adam about three decades to the left and wider. Right: "
        "Adam's error falls earlier, then the two curves run level.",
    )


def _error(accuracy: Any) -> Any:
    """In percent."""
    return 100 * (1 - accuracy)


@exhibit("tbl-adam", "adam_vs_sgd")
def optimizers_table(found: Results) -> Table:
    """Tabulate the optimizers at their best rates, and their windows of usable rates."""
    best = best_runs(found.rows)
    lines = []
    for optimizer, means in mean_accuracies(found.rows).items():
        runs = best[best["optimizer"] == optimizer]
        lines.append(
            {
                "Optimizer": label(optimizer),
                "Best $\\eta$": f"{runs['learning_rate'].iloc[0]:g}",
                "Within 1 point": rate_range(near_best(means).index),
                "Above 90 %": rate_range(means[means > USABLE].index),
                "To 95 %": epoch_range(runs[THRESHOLDS[0]]),
                "To 97 %": epoch_range(runs[THRESHOLDS[1]]),
                f"After {count_words(found.rows['epochs'].min(), 'epoch')}": format_interval(
                    t_interval(runs["test_accuracy"])
                ),
                "On the plateau": format_interval(t_interval(late_accuracies(found.rows, 0)[optimizer])),
            }
        )
    return Table(
        pd.DataFrame(lines),
        "Rates with a mean test accuracy within one point of the best, and above 90 %. At the best rate: the first "
        "epoch of at least 95 and 97 % test accuracy, least and largest of the seeds, and test accuracy at the end; "
        f"on the plateau, its mean over the last {count_words(LATE, 'epoch')} of the longer runs. 95 % t intervals.",
        (10, 7, 16, 15, 10, 10, 16, 16),
    )


@sketch(
    "adam_vs_sgd",
    alt="Test accuracy over the learning rate: Adam's is high over more rates than that of SGD.",
)
def sketch_of_rates(axes: Axes, found: Results) -> None:
    for name, means in mean_accuracies(found.rows).items():
        axes.plot(means.index, means, color=line_style(name)["color"])
    axes.set_xscale("log")
    write_in(axes, 0.03, 0.6, "Adam", line_style("adam")["color"])
    write_in(axes, 0.42, 0.4, "SGD", line_style("sgd")["color"])


# Findings


@finding("adam_vs_sgd", headline=True)
def adam_is_ahead(found: Results) -> Evidence:
    test, plateau_lead = paired_tests(found.rows)["sgd"], late_lead(found.rows)
    width = _usable_decades(mean_accuracies(found.rows))
    return Evidence(
        f"Adam is less sensitive to the learning rate: the rates that lead to more than {format_percent(USABLE, 0)} "
        f"test accuracy span {width['adam']:.1f} decades, those of SGD {width['sgd']:.1f}. It is also faster. Each at "
        f"its best rate, it leads by {format_fixed(100 * test.difference.mean, 2)} points after "
        f"{found.rows['epochs'].min():.0f} epochs; on the plateau it leads by {format_interval(plateau_lead, 2, '')}, "
        "if at all.",
        {
            "Adam is more accurate": test.difference.mean > 0,
            "the difference is significant": test.p < SIGNIFICANCE,
            "on the plateau less than half of that is left": plateau_lead.mean < test.difference.mean / 2,
            **_sensitivity_conditions(found.rows),
            **_speed_conditions(found.rows),
        },
        "Adam works with more learning rates and is faster; its lead nearly vanishes in time.",
    )


@finding("adam_vs_sgd")
def adam_is_less_sensitive(found: Results) -> Evidence:
    means = mean_accuracies(found.rows)
    near = {optimizer: len(near_best(each)) for optimizer, each in means.items()}
    return Evidence(
        f"Of the {len(means['adam'])} rates, {count_words(near['adam'])} of Adam and {count_words(near['sgd'])} of SGD "
        "end within one point of their best.",
        _sensitivity_conditions(found.rows),
    )


def _usable_decades(means: dict[str, pd.Series[float]]) -> dict[str, float]:
    return {optimizer: decades(each.index[each > USABLE]) for optimizer, each in means.items()}


def _sensitivity_conditions(rows: pd.DataFrame) -> dict[str, bool]:
    means = mean_accuracies(rows)
    width = _usable_decades(means)
    return {
        "more rates of Adam lie within one point of its best": len(near_best(means["adam"]))
        > len(near_best(means["sgd"])),
        "Adam's usable rates span more decades": width["adam"] > width["sgd"],
    }


@finding("adam_vs_sgd")
def adam_is_faster(found: Results) -> Evidence:
    runs = best_runs(found.rows).set_index("optimizer")
    adam, sgd = (
        [epoch_range(runs.loc[[optimizer], threshold]) for threshold in THRESHOLDS]
        for optimizer in ("adam", "sgd")
    )
    first, second = (format_percent(threshold, 0) for threshold in THRESHOLDS)
    return Evidence(
        f"At the best rates and with every seed, Adam takes fewer epochs: {adam[0]} to {first} test accuracy, where "
        f"SGD takes {sgd[0]}. To {second} it takes {adam[1]}, and SGD {sgd[1]}.",
        _speed_conditions(found.rows),
    )


def epoch_range(epochs: pd.Series[float]) -> str:
    """Return the least and the largest of the seeds' epochs; a dash where one does not come so far."""
    return format_range(epochs, 0) if math.isfinite(epochs.max()) else "–"


def _speed_conditions(rows: pd.DataFrame) -> dict[str, bool]:
    by_seed = best_runs(rows).pivot(index="seed", columns="optimizer", values=list(THRESHOLDS))
    return {
        f"Adam is the first to have {format_percent(threshold, 0)} test accuracy, with every seed": bool(
            (by_seed[threshold]["adam"] < by_seed[threshold]["sgd"]).all()
        )
        for threshold in THRESHOLDS
    }


@finding("adam_vs_sgd")
def plateau(found: Results) -> Evidence:
    before, late = late_accuracies(found.rows, LATE), late_accuracies(found.rows, 0)
    difference = late_lead(found.rows)
    ahead = int((late["adam"] > late["sgd"]).sum())
    told = abs(difference.mean) > difference.half_width
    return Evidence(
        f"Trained on to {format_count(round(long_runs(found.rows)['epoch'].max()), 'epoch')}, both are on a plateau. "
        f"Adam is ahead with {'each' if ahead == len(late) else count_words(ahead)} of the "
        f"{count_words(len(late), 'seed')}, but by "
        f"{format_interval(difference, 2, '')} points on average: "
        f"{'little' if told else 'no lead that can be told from the noise'}.",
        {
            "neither gains a tenth of a point from the epochs before": bool(
                (late.mean() - before.mean()).abs().max() < PLATEAU
            ),
            "the lead is smaller than after the common budget": difference.mean
            < paired_tests(found.rows)["sgd"].difference.mean,
        },
    )


@finding("adam_vs_sgd")
def rule_of_thumb_is_not_best(found: Results) -> Evidence:
    test = paired_tests(found.rows)["rule"]
    best = best_rates(window(found.rows), ["optimizer"])["adam"]
    longest = found.rows[
        (found.rows["epochs"] == found.rows["epochs"].max()) & (found.rows["optimizer"] == "adam")
    ]
    late = final_values(longest, "test_accuracy", ["learning_rate", "seed"])
    later = paired_t(late[best], late[RULE_OF_THUMB]).difference
    return Evidence(
        f"Adam's best rate is not {format_rate(RULE_OF_THUMB)}, as a rule of thumb says: it ends "
        f"{format_interval(test.difference, 2, '')} points behind {best:g} after "
        f"{window(found.rows)['epoch'].max():.0f} epochs. After {longest['epoch'].max():.0f} it is "
        f"{format_interval(later, 2, '')} behind.",
        {
            "the best rate is more accurate": test.difference.mean > 0,
            "the difference is significant": test.p < SIGNIFICANCE,
            "after the longer budget it still is": later.mean > later.half_width,
        },
    )


@finding("adam_vs_sgd")
def long_rates_are_the_largest_tried(found: Results) -> Evidence:
    tried = found.rows[found.rows["epochs"] == found.rows["epochs"].max()]
    largest = tried.groupby("optimizer")["learning_rate"].max()
    late, early = best_rates(tried, ["optimizer"]), best_rates(window(found.rows), ["optimizer"])
    return Evidence(
        "In the longer runs both best rates are the largest of the few tried; after the common budget they are the "
        "best of all, so that larger ones were worse.",
        {
            "the best of the longer runs have the largest rates": bool((late == largest[late.index]).all()),
            "these are the best rates after the common budget as well": bool(
                (late == early[late.index]).all()
            ),
        },
    )


def _rule_of_thumb(rows: pd.DataFrame, test: PairedTest) -> tuple[str, str]:
    """How accurate Adam is at the rule of thumb, and how far behind its best rate."""
    accuracy, best = (
        mean_accuracies(rows)["adam"][RULE_OF_THUMB],
        best_rates(window(rows), ["optimizer"])["adam"],
    )
    return format_percent(accuracy, 2), f"{format_interval(test.difference, 2, '')} points behind {best:g}"


# Statements by others


@statement("adam_vs_sgd", said="In the first epochs Adam is faster than SGD by an order of magnitude.")
def adam_is_an_order_faster(found: Results) -> Evidence:
    epochs = mean_epochs(found.rows)
    factors = epochs.loc["sgd"] / epochs.loc["adam"]
    text = join_english(format_fixed(factor, 1) if math.isfinite(factor) else "–" for factor in factors)
    return Evidence(
        f"Each at its best rate, SGD needs {text} times Adam's epochs to 95 and 97 % test accuracy (means over "
        f"{format_count(found.rows['seed'].nunique(), 'seed')}).",
        {f"SGD needs {SAID_FACTOR} times the epochs to some accuracy": bool((factors >= SAID_FACTOR).any())},
    )


@statement(
    "adam_vs_sgd",
    said="A difference in final accuracy between Adam and SGD is hard to notice, and may be luck.",
)
def adams_lead_is_luck(found: Results) -> Evidence:
    best, late = by_seed(found.rows), late_lead(found.rows)
    early = paired_t(best["adam"], best["sgd"]).difference
    return Evidence(
        f"On the plateau Adam is {format_interval(late, 2, '')} points ahead, which may be luck; before, after the "
        f"common budget, {format_interval(early, 2, '')} points, which is not (95 % t intervals, {early.n} paired "
        "seeds).",
        {"on the plateau, the interval of Adam's lead reaches 0": not late.mean > late.half_width},
    )


@statement("adam_vs_sgd", said="A rule of thumb: the best learning rate of Adam is 3e-4.")
def rule_of_thumb(found: Results) -> Evidence:
    test = paired_tests(found.rows)["rule"]
    accuracy, behind = _rule_of_thumb(found.rows, test)
    return Evidence(
        f"It ends at {accuracy} test accuracy, {behind} ({format_p(test, 'paired, adjusted ')}).",
        {
            "it is not significantly less accurate than the best rate": not (
                test.difference.mean > 0 and test.p < SIGNIFICANCE
            )
        },
    )
