"""Exercise 4, SGD and Adam: sensitivity to the learning rate, speed of convergence and final test accuracy."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
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
from analysis.questions.adam_vs_sgd.runs import OPTIMIZERS
from analysis.results import Results, remembered
from analysis.statistics import (
    PLATEAU,
    Interval,
    PairedTest,
    at_best_rates,
    best_rates,
    final_values,
    first_epochs,
    gain_of_last_quarter,
    late_medians,
    paired_t,
    runs_at_best,
    t_interval,
)

THRESHOLDS = (0.95, 0.97)  # of test accuracy: the first epoch that reaches it is counted
LOSSES = (0.1, 0.01)  # of training: likewise
EARLY = 10  # the epoch from which on drops of the accuracy are looked for
MARGIN = 0.01  # rates whose accuracy lies within it of the best rate's make up the window of usable rates
USABLE = 0.9  # test accuracy of a usable rate
SIGNIFICANCE = 0.05  # of p-values
RULE_OF_THUMB = 3e-4  # said to be Adam's best learning rate
SAID_FACTOR = 10  # "an order of magnitude"


@remembered
def by_budget(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of the runs at all rates, and those of the longer runs, which go on to a plateau."""
    usual = rows[(rows["beta1"] > 0) & rows["optimizer"].isin(OPTIMIZERS)]
    epochs = usual["epochs"]
    return usual[epochs == epochs.min()], usual[epochs == epochs.max()]


@remembered
def without_momentum(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of Adam without its momentum, of the first budget."""
    return rows[rows["beta1"] == 0]


@remembered
def with_momentum(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of SGD with momentum, of either budget."""
    runs = rows[rows["optimizer"] == "momentum"]
    return runs[runs["epochs"] == runs["epochs"].min()], runs[runs["epochs"] == runs["epochs"].max()]


@remembered
def long_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the longer runs, each optimizer at its best rate by then."""
    return at_best_rates(by_budget(rows)[1], ["optimizer"])


def late_lead(rows: pd.DataFrame) -> Interval:
    """Return Adam's lead at the end of `long_runs`, over seeds."""
    late = final_values(long_runs(rows), "test_accuracy", ["seed", "optimizer"]).unstack()
    return paired_t(late["adam"], late["sgd"]).difference


def steady_lead(rows: pd.DataFrame) -> Interval:
    """Return the same of `late_medians`."""
    late = late_medians(long_runs(rows), "test_accuracy", ["seed", "optimizer"]).unstack()
    return paired_t(late["adam"], late["sgd"]).difference


def late_gains(rows: pd.DataFrame) -> pd.Series[float]:
    """Return `gain_of_last_quarter` of `long_runs`; index: optimizer."""
    return pd.Series(
        {name: gain_of_last_quarter(runs) for name, runs in long_runs(rows).groupby("optimizer")}
    )


@remembered
def accuracies(runs: pd.DataFrame) -> pd.Series[float]:
    """Return final test accuracies of one budget's runs; index: optimizer, learning_rate, seed."""
    return final_values(runs, "test_accuracy", ["optimizer", "learning_rate", "seed"])


def mean_accuracies(runs: pd.DataFrame) -> dict[str, pd.Series[float]]:
    """Return an optimizer's final test accuracies in one budget, means over seeds, by learning rate."""
    means = accuracies(runs).groupby(["optimizer", "learning_rate"]).mean()
    return {str(optimizer): means[optimizer] for optimizer in runs["optimizer"].unique()}


def near_best(means: pd.Series[float]) -> pd.Series[float]:
    """Return, of mean accuracies by learning rate, those within MARGIN of the best."""
    return means[means >= means.max() - MARGIN]


def span(rates: pd.Index[float]) -> float:
    """Return how many times the least rate the largest is; 1 without rates."""
    return float(rates.max() / rates.min()) if len(rates) else 1.0


def span_at_most(rates: pd.Index[float], runs: pd.DataFrame) -> float:
    """Return the span of the next rates of SGD on either side; infinite where none was tried."""
    tried = runs.loc[runs["optimizer"] == "sgd", "learning_rate"]
    below, above = tried[tried < rates.min()], tried[tried > rates.max()]
    return float(above.min() / below.max()) if len(below) and len(above) else math.inf


def _two_digits(factor: float, up: bool) -> str:
    """Write a factor with two digits, rounded down or up, as "at least" and "less than" need it."""
    if not math.isfinite(factor):
        return "∞"
    unit = 10.0 ** (math.floor(math.log10(factor)) - 1)
    return f"{(math.ceil if up else math.floor)(round(factor / unit, 6)) * unit:,.0f}"


def rate_range(rates: pd.Index[float], tried: pd.Index[float]) -> str:
    """Return the least and the largest rate, as the table writes them; a dash without rates.

    Where they are the least or the largest that were tried, the range may reach farther.
    """
    if not len(rates):
        return "–"
    least = f"{'≤' if rates.min() == tried.min() else ''}{format_rate(rates.min())}"
    largest = f"{'≥' if rates.max() == tried.max() else ''}{format_rate(rates.max())}"
    return f"{least} to {largest}" if len(rates) > 1 else least


@remembered
def best_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run of one budget, each optimizer at its best rate.

    Returns:
        Columns optimizer, seed, learning_rate, test_accuracy (at the end), and a column for each of THRESHOLDS and of
        LOSSES: the first epoch that reaches it.
    """
    best = runs_at_best(runs, ["optimizer"], THRESHOLDS)
    loss = at_best_rates(runs, ["optimizer"]).query("metric == 'train_loss'")
    for level in LOSSES:
        reached = loss["epoch"].where(loss["value"] <= level, np.inf)
        first = reached.groupby([loss["optimizer"], loss["seed"]]).min()
        best = best.join(first.rename(level), on=["optimizer", "seed"])
    return best


def mean_epochs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean first epoch that reaches each of THRESHOLDS, a row per optimizer."""
    return best_runs(by_budget(rows)[0]).groupby("optimizer")[list(THRESHOLDS)].mean()


def by_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return final test accuracies at the best rates of the first budget: a row per seed, a column per optimizer."""
    return best_runs(by_budget(rows)[0]).pivot(index="seed", columns="optimizer", values="test_accuracy")


def early_lead(rows: pd.DataFrame) -> PairedTest:
    """Test Adam's lead over SGD after the first budget, each at its best rate."""
    best = by_seed(rows)
    return paired_t(best["adam"], best["sgd"])


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
    figure, (rates, epochs) = plt.subplots(1, 2, figsize=(WIDTH, 1.9), width_ratios=(1.4, 1))
    for runs, line in zip(by_budget(rows), ("-", ":"), strict=True):
        for optimizer in OPTIMIZERS:
            final = _error(accuracies(runs)[optimizer]).groupby("learning_rate").agg(["mean", "min", "max"])
            rates.errorbar(
                final.index,
                final["mean"],
                (final["mean"] - final["min"], final["max"] - final["mean"]),
                markersize=MARKER,
                capsize=2,
                label=f"{label(optimizer)}, {count_words(runs['epochs'].max(), 'epoch')}",
                **line_style(optimizer) | {"linestyle": line},
            )
    rates.legend(fontsize=6.5, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
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
        "SGD and Adam. Left: final test error over the learning rate, means and the range of "
        f"{count_words(rows['seed'].nunique(), 'seed')}. Right: test error along {long['epochs'].max():.0f} epochs, "
        "both at their best rates there; bands span the seeds.",
        "Left: two valleys on logarithmic axes, the one of Adam about three decades to the left and wider; with more "
        "epochs both reach further to the left. Right: Adam's error falls earlier, then the two curves run level.",
    )


def _error(accuracy: Any) -> Any:
    """In percent."""
    return 100 * (1 - accuracy)


@exhibit("tbl-adam", "adam_vs_sgd")
def optimizers_table(found: Results) -> Table:
    """Tabulate the optimizers at their best rates, and their windows of usable rates, for either budget."""
    short, long = by_budget(found.rows)
    settings = [
        *(
            (label(name), budget[budget["optimizer"] == name])
            for budget in (short, long)
            for name in OPTIMIZERS
        ),
        ("$\\rho_1 = 0$", without_momentum(found.rows)),
        *(("momentum", runs) for runs in with_momentum(found.rows)),
    ]
    lines = []
    for name, runs in settings:
        (means,) = mean_accuracies(runs).values()
        best = best_runs(runs)
        lines.append(
            {
                "Optimizer": name,
                "Epochs": f"{runs['epochs'].max()}",
                "Within 1 point": rate_range(near_best(means).index, means.index),
                "Above 90 %": rate_range(means[means > USABLE].index, means.index),
                "Best $\\eta$": f"{best['learning_rate'].iloc[0]:g}",
                **{
                    f"To {format_percent(threshold, 0)}": epoch_range(best[threshold])
                    for threshold in THRESHOLDS
                },
                **{f"Loss {level:g}": epoch_range(best[level]) for level in LOSSES},
                "Test acc.": format_interval(t_interval(best["test_accuracy"])),
            }
        )
    return Table(
        pd.DataFrame(lines).replace(" to ", "–", regex=True),
        "Rates with a mean test accuracy within one point of the best, and above 90 %. At the best rate: the first "
        "epoch with at least that test accuracy or at most that train loss, least and largest of the seeds, and "
        "test accuracy after the last, with 95 % t intervals. $\\rho_1 = 0$: of Adam; *momentum*: of SGD; ≤, ≥: the "
        "smallest or largest rate that was tried.",
        (11, 8, 14, 17, 7, 7, 9, 8, 9, 13),
    )


@sketch(
    "adam_vs_sgd",
    alt="Test accuracy over the learning rate: Adam's is high over more rates than that of SGD.",
)
def sketch_of_rates(axes: Axes, found: Results) -> None:
    for name, means in mean_accuracies(by_budget(found.rows)[0]).items():
        axes.plot(means.index, means, color=line_style(name)["color"])
    axes.set_xscale("log")
    write_in(axes, 0.03, 0.6, "Adam", line_style("adam")["color"])
    write_in(axes, 0.42, 0.4, "SGD", line_style("sgd")["color"])


# Findings


@finding("adam_vs_sgd", headline=True)
def adam_is_ahead(found: Results) -> Evidence:
    test, plateau_lead = early_lead(found.rows), late_lead(found.rows)
    short, long = (runs["epochs"].max() for runs in by_budget(found.rows))
    early, late = by_budget(found.rows)
    near_short, near = (
        {name: near_best(means).index for name, means in mean_accuracies(each).items()}
        for each in (early, late)
    )
    usable_short, usable = (_usable_rates(each) for each in (early, late))
    speed = _speeds(found.rows, THRESHOLDS[-1])
    most = [span_at_most(rates["sgd"], late) for rates in (near, usable)]
    least = [span(rates["adam"]) for rates in (near, usable)]
    return Evidence(
        f"Adam is less sensitive to the learning rate. Tried at the same rates for {short} epochs, Adam is within one "
        f"point of its best accuracy over a factor of at least {_two_digits(span(near_short['adam']), up=False)}, SGD "
        f"over less than {_two_digits(span_at_most(near_short['sgd'], early), up=True)}. Adam is above "
        f"{format_percent(USABLE, 0)} over at least {_two_digits(span(usable_short['adam']), up=False)}, SGD over "
        f"less than {_two_digits(span_at_most(usable_short['sgd'], early), up=True)}. After {long} epochs, too, "
        f"Adam's factors are the larger ones. Adam is also faster: each at its best rate, it takes {speed['adam']} "
        f"epochs to reach {format_percent(THRESHOLDS[-1], 0)}, SGD takes {speed['sgd']}. After {short} epochs it "
        f"leads by {format_interval(test.difference, 2, '')} points of test accuracy; after {long}, by which both are "
        f"on a plateau, we detect no difference ({format_interval(plateau_lead, 2, '')}). With a smaller network SGD "
        "ends ahead (see the limits).",
        {
            "Adam is more accurate": test.difference.mean > 0,
            "the difference is significant": test.p < SIGNIFICANCE,
            "on the plateau less than half of that is left": plateau_lead.mean < test.difference.mean / 2,
            "both are on a plateau": bool(late_gains(found.rows).abs().max() < PLATEAU),
            "in the shorter runs both have the same rates": len(
                {tuple(runs["learning_rate"].unique()) for _, runs in early.groupby("optimizer")}
            )
            == 1,
            "of which Adam's span as much as SGD's can, or more": all(
                span(rates["adam"]) >= span_at_most(rates["sgd"], early) * (1 - 1e-9)
                for rates in (near_short, usable_short)
            ),
            "there its interval reaches 0": not plateau_lead.mean > plateau_lead.half_width,
            "whatever lies between the rates tried, Adam's spans are the longer ones": all(
                shorter < longer for longer, shorter in zip(least, most, strict=True)
            ),
            **_sensitivity_conditions(found.rows),
            **_speed_conditions(found.rows),
        },
        "Adam tolerates more learning rates and learns faster; on the plateau we detect no lead.",
    )


def _usable_rates(runs: pd.DataFrame) -> dict[str, pd.Index[float]]:
    return {optimizer: each.index[each > USABLE] for optimizer, each in mean_accuracies(runs).items()}


def _sensitivity_conditions(rows: pd.DataFrame) -> dict[str, bool]:
    conditions: dict[str, bool] = {}
    for runs in by_budget(rows):
        means = mean_accuracies(runs)
        width = {optimizer: span(rates) for optimizer, rates in _usable_rates(runs).items()}
        after = f"after {count_words(runs['epochs'].max(), 'epoch')}"
        conditions |= {
            f"{after}, more rates of Adam lie within one point of its best": len(near_best(means["adam"]))
            > len(near_best(means["sgd"])),
            f"{after}, Adam's usable rates span more": width["adam"] > width["sgd"],
        }
    return conditions


@finding("adam_vs_sgd")
def adam_is_faster(found: Results) -> Evidence:
    loss, threshold = LOSSES[-1], THRESHOLDS[-1]
    epochs, best = _speeds(found.rows, loss), best_rates(by_budget(found.rows)[1], ["optimizer"])
    means = first_epochs(by_budget(found.rows)[1], threshold, ["optimizer", "learning_rate", "seed"])
    means = means.groupby(["optimizer", "learning_rate"]).mean()
    fastest = means["adam"].idxmin()
    return Evidence(
        f"At the best rates and with every seed, Adam takes fewer epochs (@tbl-adam): {epochs['adam']} to reach a "
        f"train loss of {loss:g}, where SGD takes {epochs['sgd']}. No other rate brings SGD to "
        f"{format_percent(threshold, 0)} test accuracy sooner; Adam takes {format_fixed(means['adam', fastest], 1)} "
        f"epochs at $\\eta = {fastest:g}$.",
        {
            **_speed_conditions(found.rows),
            "SGD is the fastest at its best rate": bool(means["sgd"].idxmin() == best["sgd"]),
            "Adam is faster at another": bool(means["adam", fastest] < means["adam", best["adam"]]),
        },
    )


def _speeds(rows: pd.DataFrame, level: float) -> dict[str, str]:
    """Return the epochs that the longer runs take to an accuracy or loss, by optimizer."""
    runs = best_runs(by_budget(rows)[1]).groupby("optimizer")[level]
    return {str(optimizer): epoch_range(epochs) for optimizer, epochs in runs}


def epoch_range(epochs: pd.Series[float]) -> str:
    """Return the least and the largest of the seeds' epochs; a dash where one does not come so far."""
    return format_range(epochs, 0) if math.isfinite(epochs.max()) else "–"


def _speed_conditions(rows: pd.DataFrame) -> dict[str, bool]:
    levels = {threshold: f"{format_percent(threshold, 0)} test accuracy" for threshold in THRESHOLDS} | {
        level: f"a train loss of {level:g}" for level in LOSSES
    }
    by_seed = best_runs(by_budget(rows)[1]).pivot(index="seed", columns="optimizer", values=list(levels))
    return {
        f"Adam is the first to have {name}, with every seed": bool(
            (by_seed[level]["adam"] < by_seed[level]["sgd"]).all()
        )
        for level, name in levels.items()
    }


@finding("adam_vs_sgd")
def adam_is_faster_by_the_clock(found: Results) -> Evidence:
    seconds = found.programs["plain_seconds"].set_index("optimizer")["seconds"]
    factor, threshold = seconds["adam"] / seconds["sgd"], THRESHOLDS[-1]
    epochs = best_runs(by_budget(found.rows)[1]).groupby("optimizer")[threshold].mean()
    faster = epochs["sgd"] / epochs["adam"] / factor
    return Evidence(
        f"An update of Adam takes {format_fixed(factor, 1)} times as long as one of SGD in plain PyTorch, so by the "
        f"clock it reaches {format_percent(threshold, 0)} {format_fixed(faster, 1)} times as fast.",
        {
            "an update of Adam takes longer": bool(factor > 1),
            "by the clock Adam is faster all the same": bool(faster > 1),
        },
    )


@finding("adam_vs_sgd")
def either_half_of_adam_is_fast(found: Results) -> Evidence:
    level = THRESHOLDS[-1]
    best = {
        **dict(iter(best_runs(by_budget(found.rows)[0]).groupby("optimizer"))),
        "scaling": best_runs(without_momentum(found.rows)),
        "momentum": best_runs(with_momentum(found.rows)[0]),
    }
    epochs = {name: runs.set_index("seed")[level] for name, runs in best.items()}
    means = {name: each.mean() for name, each in epochs.items()}
    return Evidence(
        f"Either half of Adam alone gives most of this speed (to {format_percent(level, 0)}; last rows of @tbl-adam): "
        "in the mean Adam takes "
        f"{means['adam']:.1f} epochs, {means['scaling']:.1f} without its momentum $m^{{(1)}}$ ($\\rho_1 = 0$), and SGD "
        f"with momentum ($m \\leftarrow \\rho_1 m + g_\\tau$, $w \\leftarrow w - \\eta m$) takes "
        f"{means['momentum']:.1f}.",
        {
            "each half is faster than SGD, with every seed": bool(
                (epochs["scaling"] < epochs["sgd"]).all() and (epochs["momentum"] < epochs["sgd"]).all()
            ),
            "and nearer to Adam than to SGD": all(
                abs(means[half] - means["adam"]) < abs(means[half] - means["sgd"])
                for half in ("scaling", "momentum")
            ),
        },
    )


@finding("adam_vs_sgd")
def plateau(found: Results) -> Evidence:
    difference, steady, gains = late_lead(found.rows), steady_lead(found.rows), late_gains(found.rows)
    long = by_budget(found.rows)[1]
    best = best_rates(long, ["optimizer"])
    tried = long.groupby("optimizer")["learning_rate"]
    return Evidence(
        f"After {format_count(long['epochs'].max(), 'epoch')} both are on a plateau, as @sec-minibatch defines it, "
        "and little is left of the lead.",
        {
            "neither changes by a tenth of a point in the last quarter": bool(gains.abs().max() < PLATEAU),
            "the lead is smaller than after the common budget": difference.mean
            < early_lead(found.rows).difference.mean,
            "by medians its interval reaches 0 as well": not steady.mean > steady.half_width,
            "both best rates lie between others that were trained as long": bool(
                ((tried.min() < best) & (best < tried.max())).all()
            ),
        },
    )


@finding("adam_vs_sgd")
def adam_jumps(found: Results) -> Evidence:
    late = long_runs(found.rows).query(f"metric == 'test_accuracy' and epoch >= {EARLY}")
    drops = -late.pivot(index="epoch", columns=["optimizer", "seed"], values="value").diff().min()
    adam, sgd = (100 * drops[name].max() for name in ("adam", "sgd"))
    return Evidence(
        "On the way Adam is less steady (@fig-adam, right).",
        {"the largest drop of Adam is more than twice that of SGD": bool(adam > 2 * sgd)},
    )


def _behind_at_rule(runs: pd.DataFrame) -> PairedTest:
    """Test the lead of Adam's best rate over RULE_OF_THUMB, for one budget."""
    ends = accuracies(runs)
    return paired_t(ends["adam", best_rates(runs, ["optimizer"])["adam"]], ends["adam", RULE_OF_THUMB])


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
    tests = {runs["epoch"].max(): _behind_at_rule(runs) for runs in by_budget(found.rows)}
    return Evidence(
        " ".join(
            f"After {epochs:.0f} epochs it ends {format_interval(test.difference, 2, '')} points of test accuracy "
            f"behind the best rate ({format_p(test, 'paired ')})."
            for epochs, test in tests.items()
        ),
        {
            "after some budget it is not significantly less accurate than the best rate": any(
                not (test.difference.mean > 0 and test.p < SIGNIFICANCE) for test in tests.values()
            )
        },
    )
