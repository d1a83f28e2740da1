"""Q4, why cross entropy: both losses over two outputs, from the usual and a wrong start; gradients at the logits."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.engine.run import CLASSES
from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding, statement
from analysis.formatting import (
    count_words,
    format_at_least,
    format_at_most,
    format_fixed,
    format_interval,
    format_mean_epoch,
    format_percent,
    label,
)
from analysis.plotting import GREEN, INK, MARKER, WIDTH, draw_line, line_style, plain_ticks, write_in
from analysis.questions.losses.runs import (
    ADAM_EPOCHS,
    ADAM_RATES,
    DENSE,
    FIRST_RATE,
    LARGER_RATES,
    LEARNING_RATES,
    LONG_EVERY,
    LONG_RATES,
)
from analysis.results import Results, remembered
from analysis.statistics import (
    PLATEAU,
    PairedTest,
    at_best_rates,
    final_values,
    first_epochs,
    gain_of_last_quarter,
    paired_tests_holm,
    t_interval,
)

SOFTMAX, SIGMOID = "quadratic_softmax", "quadratic_sigmoid"
# The quadratic losses, and cross entropy of the same outputs.
REFERENCE = {SOFTMAX: "cross_entropy_softmax", SIGMOID: "cross_entropy_sigmoid"}
ACCURACIES = (0.90, 0.95)  # thresholds of test accuracy
CLEARLY = 0.01  # in test accuracy: means that differ by less are level
LEARNT = 0.2  # test accuracy after one epoch, above which a network has begun to learn


def with_names(rows: pd.DataFrame) -> pd.DataFrame:
    """Add columns `name`, of loss and output, and `shift`, by how much the output biases were shifted."""
    return rows.assign(
        name=rows["loss"] + "_" + rows["output"],
        shift=rows["init_scale"].where(rows["init"] == "saturated_output", 0.0),
    )


@remembered
def trained(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows, with names, of the runs that are compared from both starts; all have the same epochs."""
    compared = _validated(rows)
    return compared[compared["epochs"] == compared["epochs"].min()]


@remembered
def trained_longer(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows, with names, of the longer runs from the usual start, every loss at its best rate there."""
    compared = _validated(rows)
    return at_best_rates(compared[compared["epochs"] == compared["epochs"].max()], ["name"])


def _validated(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of SGD with names, but for runs that are there for their gradients only."""
    validated = rows.loc[rows["metric"] == "validation_accuracy", "key"]
    return with_names(rows[rows["key"].isin(validated) & (rows["optimizer"] == "sgd")])


@remembered
def passed_back(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the share of the error that reaches the logits at the end (`_share`), of runs from the usual start.

    Returns:
        Index: name, learning_rate; a column per seed.
    """
    watched = _with_errors(rows, "gradient_norm", "test_accuracy")
    by = ["name", "learning_rate", "seed"]
    norm, loss = (final_values(watched, metric, by) for metric in ("error_norm", "train_loss"))
    return _share(norm, loss).unstack("seed")


@remembered
def first_updates(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the share of the error that reaches the logits (`_share`) in the first updates at one rate.

    The runs are those from the usual start; cross entropy passes all of its error back.

    Returns:
        Index: name, update; a column per seed.
    """
    begun = _begun(rows)
    usual = (begun["learning_rate"] == FIRST_RATE) & (begun["shift"] == 0) & (begun["update"] <= DENSE)
    table = begun[usual].pivot(index=["name", "update", "seed"], columns="metric", values="value")
    share = _share(table["error_norm"], table["train_loss"])
    quadratic = table.index.get_level_values("name").isin(list(REFERENCE))
    return share.where(quadratic, 1.0).unstack("seed")


@remembered
def passed_back_later(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the share of the error that the quadratic losses pass back (`_share`) after one epoch.

    Returns:
        Index: name, shift, learning_rate (LARGER_RATES); a column per seed.
    """
    begun = _begun(rows)
    larger = begun[begun["learning_rate"].isin(LARGER_RATES)]
    by = ["name", "shift", "learning_rate", "seed"]
    norm, loss = (final_values(larger, metric, by) for metric in ("error_norm", "train_loss"))
    return _share(norm, loss).unstack("seed")


def _share(error_norm: pd.Series[float], loss: pd.Series[float]) -> pd.Series[float]:
    """Return the share of the error that reaches the logits under the quadratic loss.

    With q the outputs, it is the root mean square over the training examples of the loss's gradient at the logits over
    that of ‖q - t‖: less than 1 by the outputs' slopes.
    """
    return error_norm / (2 * loss) ** 0.5


def _begun(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows, with names, of the runs that are watched through their first epoch."""
    begun = _with_errors(rows, "gradient_norm")
    return begun[begun["key"].isin(begun.loc[begun["metric"] == "test_accuracy", "key"])]


def _with_errors(rows: pd.DataFrame, *unmeasured: str) -> pd.DataFrame:
    """Return the rows, with names and of the logits' errors alone, of runs that measure these and not some metrics."""
    others = rows.loc[rows["metric"].isin(unmeasured), "key"]
    found = with_names(rows[rows["key"].isin(rows.loc[rows["metric"] == "error_norm", "key"])])
    found = found[~found["key"].isin(others)]
    return found[(found["metric"] != "error_norm") | (found["index"] == found["index"].max())]


@remembered
def trained_at_best_rates(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the trained runs with names, from each start every loss at its best rate."""
    return at_best_rates(trained(rows), ["name", "shift"])


@remembered
def first_errors(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the root mean square over examples of the loss's gradient at the logits: name, shift, seed, norm."""
    probed = with_names(rows[rows["key"].isin(rows.loc[rows["metric"] == "gradient_norm", "key"])])
    probed = probed[(probed["metric"] == "error_norm") & (probed["update"] == 0)]
    last = probed[probed["index"] == probed["index"].max()]
    return last.rename(columns={"value": "norm"})[["name", "shift", "seed", "norm"]]


@remembered
def first_accuracies(rows: pd.DataFrame) -> dict[bool, pd.DataFrame]:
    """Return test accuracies after one epoch from the usual and the wrong start, at every rate.

    Returns:
        By whether the start is wrong: index (name, learning_rate), a column per seed.
    """
    runs = trained(rows)
    first = runs[(runs["metric"] == "test_accuracy") & (runs["epoch"] == 1)]
    return {
        wrong: first[(first["shift"] > 0) == wrong].pivot(
            index=["name", "learning_rate"], columns="seed", values="value"
        )
        for wrong in (False, True)
    }


def from_start(rows: pd.DataFrame, wrong: bool) -> pd.DataFrame:
    """Return one row per run of the usual or the wrong start, every loss at its best rate there.

    Returns:
        Columns name (losses in the order of the runs), seed, learning_rate, test_accuracy (at the end), epochs_90 and
        epochs_95, the first epoch with that test accuracy (infinite if never).
    """
    return _by_start(rows)[wrong]


@remembered
def _by_start(rows: pd.DataFrame) -> dict[bool, pd.DataFrame]:
    """Return `from_start` for both starts."""
    best = trained_at_best_rates(rows)
    return {wrong: _of_start(best[(best["shift"] > 0) == wrong]) for wrong in (False, True)}


def _of_start(chosen: pd.DataFrame) -> pd.DataFrame:
    by = ["name", "seed", "learning_rate"]
    table = pd.DataFrame(
        {
            "test_accuracy": final_values(chosen, "test_accuracy", by),
            **{f"epochs_{100 * level:.0f}": first_epochs(chosen, level, by) for level in ACCURACIES},
        }
    ).reset_index()
    places = {name: place for place, name in enumerate(chosen["name"].unique())}
    return table.sort_values(["name", "seed"], key=lambda column: column.replace(places), ignore_index=True)


def behind_reference(runs: pd.DataFrame) -> dict[str, PairedTest]:
    """Return by how much cross entropy's test accuracy exceeds that of the quadratic loss of the same outputs.

    The p-values are adjusted after Holm.
    """
    accuracy = runs.pivot(index="seed", columns="name", values="test_accuracy")
    return paired_tests_holm({name: (accuracy[like], accuracy[name]) for name, like in REFERENCE.items()})


@remembered
def from_usual_start_for_longer(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per longer run as `from_start` does; epochs are known up to the distance of measurements."""
    return _of_start(trained_longer(rows))


# Exhibits


@exhibit(
    "fig-losses",
    "losses",
    explore=(
        "metric=test_accuracy&seeds=each"
        "&run=init:saturated_output,init_scale:5,loss:cross_entropy,output:softmax,learning_rate:1"
        "&pin=loss:quadratic"
        "&pin=loss:quadratic,output:sigmoid"
    ),
)
def gradients_and_accuracies(found: Results) -> Picture:
    """Draw each loss's gradient at the logits over the shift; accuracies from the usual and the wrong start."""
    errors, runs = first_errors(found.rows), trained_at_best_rates(found.rows)
    names = list(runs["name"].unique())
    figure, ((norms, shares), (usual, wrong)) = plt.subplots(2, 2, figsize=(WIDTH, 3.8))
    wrong.sharey(usual)
    begun = first_updates(found.rows).mean(axis="columns")
    for name in names:
        style = line_style(name)
        mean = errors[errors["name"] == name].groupby("shift")["norm"].mean()
        norms.plot(mean.index, mean, markersize=MARKER, label=label(name), **style)
        shares.plot(begun[name].index, 100 * begun[name], markersize=MARKER, **style)
        for axes, start in ((usual, runs["shift"] == 0), (wrong, runs["shift"] > 0)):
            chosen = runs[start & (runs["name"] == name) & (runs["metric"] == "test_accuracy")]
            for _, run in chosen.groupby("seed"):
                axes.plot(run["epoch"], 100 * (1 - run["value"]), linewidth=0.9, **{**style, "marker": ""})
    norms.set_xticks(sorted(errors["shift"].unique()))
    norms.set_xlabel("shift $s$ of the output biases")
    norms.set_ylabel("gradient norm")
    norms.set_title("before training")
    _legend_below(figure, norms)
    shares.set_xticks(range(0, DENSE + 1, 2))
    shares.set_xlabel("update")
    shares.set_ylabel("passed back, %")
    shares.set_title("usual start, first updates")
    for axes in (norms, shares):
        axes.set_yscale("log")
        plain_ticks(axes.yaxis, decades=True)
    usual.set_ylabel("test error in %")
    for axes, is_wrong in ((usual, False), (wrong, True)):
        axes.set_title(_start(found.rows, is_wrong))
        axes.set_xlabel("epoch")
        axes.set_xticks(range(0, int(runs["epoch"].max()) + 1, 5))
        axes.set_yscale("log")
        axes.set_ylim(2, 100)
        plain_ticks(axes.yaxis)
    return Picture(
        figure,
        "Two losses over two outputs; all vertical axes are logarithmic. Above, left: root mean square over the "
        "training examples of the norm of the gradient at the logits before the first update, over the shift $s$ "
        "(see below). Above, right: the share of the outputs' deviation from the targets that is passed back to the "
        f"logits in the first updates at $\\eta = {FIRST_RATE:g}$, means over the seeds (all of it with either cross "
        "entropy). Below: test error, each loss at its own best rate for each start; a line per seed.",
        "Above: with cross entropy the gradient stays at about one or more, with both quadratic losses it falls by "
        "orders of magnitude; from the usual start, the first update takes what sigmoids pass back almost to zero. "
        "Below: error over epochs, lowest with cross entropy.",
    )


def _start(rows: pd.DataFrame, wrong: bool) -> str:
    """Return what a panel of the usual or the wrong start is called."""
    return f"wrong start, $s$ = {trained(rows)['shift'].max():g}" if wrong else "usual start"


def _legend_below(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=4,
        fontsize=7.5,
        handlelength=2.2,
        columnspacing=1.2,
    )


@exhibit("tbl-losses", "losses", "encoding")
def losses_table(found: Results, encodings: Results) -> Table:
    """Tabulate each loss at its best rate, after two numbers of epochs of SGD, and with Adam."""
    usual = from_start(found.rows, wrong=False)
    longer, shares = trained_longer(found.rows), passed_back(found.rows)
    few, many = (runs["epoch"].max() for runs in (trained(found.rows), longer))
    later = from_usual_start_for_longer(found.rows)
    lines = []
    adam = with_adam(found, encodings)
    settings = (
        ("SGD", few, usual),
        ("SGD", many, later),
        ("Adam", ADAM_EPOCHS[found.preset], adam),
    )
    for method, epochs, runs in settings:
        behind, every = behind_reference(runs), LONG_EVERY[found.preset] if runs is later else 1
        for name in usual["name"].unique():
            of_loss = runs[runs["name"] == name]
            rate = of_loss["learning_rate"].iloc[0]
            lines.append(
                {
                    "Loss": label(name),
                    "Method": method,
                    "Epochs": f"{epochs:.0f}",
                    "$\\eta$": f"{rate:g}",
                    **{
                        f"To {level} %": _format_epochs(of_loss[f"epochs_{level}"], every)
                        if f"epochs_{level}" in of_loss
                        else ""
                        for level in (90, 95)
                    },
                    "Test acc., %": format_interval(t_interval(of_loss["test_accuracy"]), unit=""),
                    "Behind": format_interval(behind[name].difference, unit="") if name in behind else "",
                    "Passed back": format_percent(shares.loc[(name, rate)].mean(), 0)
                    if runs is usual and name in behind
                    else "",
                }
            )
    return Table(
        pd.DataFrame(lines),
        f"Each loss at the learning rate of highest mean validation accuracy, of {count_words(len(LEARNING_RATES))} "
        f"rates with SGD ({count_words(len(LONG_RATES))} for {many:.0f} epochs) and {count_words(len(ADAM_RATES))} "
        "with Adam. *To 90 %*, *to 95 %*: mean first epoch with that test accuracy (–: not reached by all "
        f"seeds; measured every {LONG_EVERY[found.preset]}th epoch of {many:.0f}, with Adam not at all). *Behind*: "
        "points of test accuracy behind cross entropy with the same outputs. *Passed back*: share of the outputs' "
        "deviation ($\\lVert p - t \\rVert$ or $\\lVert q - t \\rVert$, root mean squares over the training "
        "examples) that a quadratic loss still passes back at the end. Rates are chosen by the end, not by the "
        "speed. Two rows of Adam are runs of @sec-q5. ±: 95 % t intervals, of *Behind* paired by seed.",
        (26, 8, 9, 8, 8, 8, 14, 14, 9),
    )


def _format_epochs(epochs: pd.Series[float], every: int) -> str:
    """Return the mean of first epochs that are known up to the distance of measurements."""
    if every == 1 or not math.isfinite(epochs.mean()):
        return format_mean_epoch(epochs)
    return f"{'≤' if epochs.max() == every else ''}{epochs.mean():.0f}"


@exhibit("fig-first-epoch", "losses")
def first_epoch(found: Results) -> Picture:
    """Draw test accuracies after one epoch over the learning rate, from both starts."""
    first = first_accuracies(found.rows)
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.2), sharey=True)
    for axes, wrong in zip(panels, (False, True), strict=True):
        for name in trained(found.rows)["name"].unique():
            percent = 100 * first[wrong].loc[name]
            summary = percent.agg(["mean", "min", "max"], axis="columns")
            draw_line(axes, summary, label=label(name), markersize=MARKER, **line_style(name))
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("learning rate $\\eta$")
        axes.set_title(_start(found.rows, wrong))
    panels[0].set_ylim(0, 100)
    panels[0].set_ylabel("test accuracy in %")
    _legend_below(figure, panels[0])
    return Picture(
        figure,
        "Test accuracy after one epoch of SGD from both starts: means, bands from the least to the largest of the "
        f"{count_words(first[True].columns.size, 'seed')}.",
        "From the usual start cross entropy keeps 90 % up to larger rates than the quadratic losses. From the wrong "
        "start the quadratic loss of softmax falls behind at small rates, and cross entropy of sigmoids falls first.",
    )


@sketch("losses", alt="The gradient of cross entropy stays level, those of the quadratic losses fall.")
def sketch_of_gradients(axes: Axes, found: Results) -> None:
    for name, errors in first_errors(found.rows).groupby("name"):
        mean = errors.groupby("shift")["norm"].mean()
        axes.plot(mean.index, mean, **{**line_style(name), "marker": ""})
    axes.set_yscale("log")
    axes.margins(y=0.35)
    write_in(axes, 0.3, 0.88, "cross entropy", INK)
    write_in(axes, 0.03, 0.1, "quadratic loss", GREEN)


# Findings


@finding("losses", headline=True)
def cross_entropy_trains_better(found: Results) -> Evidence:
    behind, later = (
        behind_reference(runs)
        for runs in (from_start(found.rows, wrong=False), from_usual_start_for_longer(found.rows))
    )
    least = min(test.difference.mean for test in behind.values())
    return Evidence(
        "Because cross entropy passes back to each logit the whole deviation of the output from its target, $p_k - "
        "t_k$. The quadratic loss passes back less, and almost nothing once outputs are *saturated*, stuck near 0 or "
        "1, even if they are wrong. With SGD, each loss at its best rate, cross entropy is more than "
        f"{count_words(math.floor(100 * least), 'point')} of test accuracy ahead after "
        f"{trained(found.rows)['epoch'].max():.0f} epochs. It is mainly a lead in speed: after "
        f"{trained_longer(found.rows)['epoch'].max():.0f} epochs {format_interval(later[SOFTMAX].difference, 2, '')} "
        f"points remain with softmax, and {format_interval(later[SIGMOID].difference, 2, '')} with sigmoids, whose "
        "quadratic loss is still learning.",
        {
            "in longer runs less than a tenth of it is left": all(
                later[name].difference.mean < test.difference.mean / 10 for name, test in behind.items()
            ),
            "the interval with softmax holds 0": later[SOFTMAX].difference.mean
            < later[SOFTMAX].difference.half_width,
            "with sigmoids the quadratic loss still gains": _gains_late(found)[SIGMOID] > PLATEAU,
            "cross entropy has the higher mean accuracy": least > 0,
            "the differences are significant at 0.1 %": all(test.p < 0.001 for test in behind.values()),
        },
        "Its gradient stays as large as the mistake; that of the quadratic loss fades.",
    )


def _gains_late(found: Results) -> dict[str, float]:
    """Return what each loss gains in the last quarter of the longer runs, by name."""
    return {
        str(name): gain_of_last_quarter(runs) for name, runs in trained_longer(found.rows).groupby("name")
    }


@finding("losses")
def quadratic_gradient_vanishes_when_wrong(found: Results) -> Evidence:
    errors = first_errors(found.rows)
    by_shift = errors.groupby(["name", "shift"])["norm"].mean().unstack("name")
    largest = by_shift.iloc[-1]
    ratio = {name: largest[like] / largest[name] for name, like in REFERENCE.items()}
    return Evidence(
        f"At $s = {by_shift.index[-1]:g}$ cross entropy's gradient at the logits is "
        f"{float(f'{ratio[SOFTMAX]:.2g}'):,.0f} times that of the quadratic loss with softmax outputs, and "
        f"{float(f'{ratio[SIGMOID]:.2g}'):,.0f} times with sigmoids (@fig-losses).",
        {
            "with cross entropy it is about 1 or more at every shift": bool(
                by_shift[list(REFERENCE.values())].min(axis=None) > 0.9
            ),
            "with both quadratic losses it falls from each shift to the next, from 1 on": all(
                by_shift[name].iloc[1:].is_monotonic_decreasing for name in REFERENCE
            ),
            "both are more than 50 times smaller at the end": min(ratio.values()) > 50,
            "it is more than ten times smaller with softmax": ratio[SOFTMAX] > 10 * ratio[SIGMOID],
        },
    )


def _ahead(first: pd.DataFrame, one: str, other: str) -> list[float]:
    """Return the rates at which all seeds of a loss are ahead of all of another after one epoch."""
    seeds, others = first.loc[one], first.loc[other]
    return list(seeds.index[seeds.min(axis="columns") > others.max(axis="columns")])


@finding("losses")
def softmax_stays_at_the_wrong_start(found: Results) -> Evidence:
    firsts = first_accuracies(found.rows)
    first = firsts[True]
    costs = (firsts[False] - first).mean(axis="columns")
    learnt = firsts[False].min(axis="columns") > LEARNT
    reference_costs, quadratic_costs = (
        100 * costs[name][learnt[name]] for name in (REFERENCE[SOFTMAX], SOFTMAX)
    )
    ahead, behind = _ahead(first, REFERENCE[SIGMOID], SIGMOID), _ahead(first, SIGMOID, REFERENCE[SIGMOID])
    means = first.mean(axis="columns")
    ordered = list(means[SIGMOID].index)
    later = [rate for rate in ordered if means[SIGMOID, rate] > means[REFERENCE[SIGMOID], rate] + CLEARLY]
    return Evidence(
        "With softmax this confirms the argument: at the rates at which a loss learns from the usual start (more "
        f"than {format_percent(LEARNT, 0)} test accuracy after one epoch), the wrong start costs cross entropy at "
        f"most {format_fixed(reference_costs.max(), 1)} points in that epoch, and the quadratic loss at least "
        f"{format_fixed(quadratic_costs.min(), 1)} (@fig-first-epoch). With sigmoids we see only that cross entropy "
        f"is ahead up to $\\eta = {max(ahead, default=0):g}$, and behind, in the mean, from {min(later, default=0):g} "
        f"to {max(later, default=0):g}.",
        {
            "with sigmoids, all seeds of cross entropy are ahead at smaller rates, and behind at larger ones": (
                bool(ahead and behind) and max(ahead) < min(behind)
            ),
            "where all seeds are behind, the mean is, and at the rates between": set(behind) <= set(later)
            and later == [rate for rate in ordered if min(later, default=0) <= rate <= max(later, default=0)],
            "at several rates either loss of softmax learns from the usual start": min(
                len(reference_costs), len(quadratic_costs)
            )
            > 3,
            "the quadratic loss pays more at each than cross entropy at any": bool(
                quadratic_costs.min() > reference_costs.max()
            ),
        },
    )


@finding("losses")
def wrong_start_can_help(found: Results) -> Evidence:
    firsts = first_accuracies(found.rows)
    gained = (firsts[True] - firsts[False]).mean(axis="columns")
    gains = gained[SIGMOID].loc[FIRST_RATE:]
    return Evidence(
        "The quadratic loss of sigmoids even gains from the wrong start at every rate from "
        f"{gains.index[0]:g} on. Why, our runs do not tell.",
        {
            "the quadratic loss of sigmoids gains by the wrong start at each of these rates": bool(
                (gains > 0.05).all()
            ),
            "at half the least of them and below it does not": bool(
                (gained[SIGMOID].loc[: FIRST_RATE / 2] < 0).all()
            ),
        },
    )


@finding("losses")
def wrong_start_is_left_in_the_end(found: Results) -> Evidence:
    runs = from_start(found.rows, wrong=True)
    return Evidence(
        f"In {trained(found.rows)['epoch'].max():.0f} epochs, each loss at its best rate, all leave the wrong start "
        "(@fig-losses, below).",
        {"every run ends above 90 %": bool(runs["test_accuracy"].min() > 0.9)},
    )


@finding("losses")
def first_update_saturates_sigmoids(found: Results) -> Evidence:
    shares = first_updates(found.rows)
    sigmoids, softmax = shares.loc[SIGMOID], shares.loc[SOFTMAX]
    return Evidence(
        "Measured, the first update takes the share of the deviation that sigmoids pass back from "
        f"{format_percent(sigmoids.loc[0].mean(), 0)} to {format_percent(sigmoids.loc[1].mean())} (images differ, "
        "and those that move less pass back more); with softmax it stays at "
        f"{format_at_least(softmax.min(axis=None), 0)} or more (@fig-losses).",
        {
            "after the first update sigmoids pass back less than a hundredth": bool(
                sigmoids.loc[1].max() < 0.01
            ),
            "softmax passes back far more at every measurement": bool(
                softmax.min(axis=None) > 10 * sigmoids.loc[1].max()
            ),
        },
    )


@finding("losses")
def larger_rates_stop_the_quadratic_loss(found: Results) -> Evidence:
    first, shares = first_accuracies(found.rows)[False], passed_back(found.rows)
    stuck = passed_back_later(found.rows).xs(0.0, level="shift")
    best = from_start(found.rows, wrong=False).groupby("name")["learning_rate"].first()
    largest = best[list(REFERENCE)].max()
    beyond = [rate for rate in shares.index.unique("learning_rate") if rate > largest]
    quadratic = first.loc[(list(REFERENCE), beyond), :].max(axis=None)
    reference = first.loc[(list(REFERENCE.values()), beyond), :].min(axis=None)
    at_best = {name: shares.loc[(name, best[name])].mean() for name in REFERENCE}
    return Evidence(
        f"At $\\eta = {beyond[0]:g}$ to {beyond[-1]:g} either quadratic loss has learnt little after one epoch: its "
        "outputs, softmax or sigmoid, are saturated by then, and pass back less than "
        f"{format_at_most(stuck.max(axis=None), 0)}. Cross entropy has {format_at_least(reference, 0)} or more at "
        "these rates (@fig-first-epoch, left).",
        {
            "at several larger rates the quadratic losses end the epoch below 20 %": len(beyond) > 1
            and bool(quadratic < 0.2),
            "cross entropy ends it above 80 %": bool(reference > 0.8),
            "at the best rate less than half is passed back": max(at_best.values()) < 0.5,
            "at the larger ones less than a twentieth": bool(stuck.max(axis=None) < 0.05),
        },
    )


@finding("losses")
def longer_runs_are_done(found: Results) -> Evidence:
    longer = trained_longer(found.rows)
    gains = _gains_late(found)
    slow = longer[(longer["name"] == SIGMOID) & (longer["metric"] == "validation_accuracy")]
    learnt = slow.loc[slow["value"] < ACCURACIES[0], "epoch"].max()
    best = longer.groupby("name")["learning_rate"].first()
    return Evidence(
        f"Of the runs for {longer['epoch'].max():.0f} epochs every best rate has a worse one on either side, and in "
        "the end all are on a plateau (as @sec-minibatch defines it) but the quadratic loss of sigmoids: at its best "
        f"rate, {slow['learning_rate'].iloc[0]:g}, some start stays below {format_percent(ACCURACIES[0], 0)} until "
        f"epoch {learnt:.0f}.",
        {
            "no best rate is the smallest or the largest": bool(
                best.between(min(LONG_RATES), max(LONG_RATES), inclusive="neither").all()
            ),
            "none of the three gains or loses a tenth of a point in the last quarter": all(
                abs(gain) < PLATEAU for name, gain in gains.items() if name != SIGMOID
            ),
            "with sigmoids the quadratic loss still gains": gains[SIGMOID] > PLATEAU,
            "with sigmoids the quadratic loss takes more than half of the epochs from some start": bool(
                learnt > longer["epoch"].max() / 2
            ),
        },
    )


def with_adam(found: Results, encodings: Results) -> pd.DataFrame:
    """Return one row per run of Adam, every loss at its best rate: columns name, seed, learning_rate, test_accuracy.

    Q5 has one loss of either output, this question the other.
    """
    usual = "-".join(map(str, range(CLASSES)))
    one_layer = encodings.rows["hidden"] == found.rows["hidden"].iloc[0]
    ten = encodings.rows[
        one_layer & (encodings.rows["target"] == "one_hot") & (encodings.rows["labels"] == usual)
    ]
    adam = pd.concat([rows[rows["optimizer"] == "adam"] for rows in (found.rows, ten)])
    epochs = found.rows.loc[found.rows["optimizer"] == "adam", "epochs"].max()
    best = at_best_rates(with_names(adam[adam["epochs"] == epochs].assign(init="usual")), ["name"])
    ends = final_values(best, "test_accuracy", ["name", "seed", "learning_rate"])
    return ends.rename("test_accuracy").reset_index()


@finding("losses", "encoding")
def adam_leaves_no_lead(found: Results, encodings: Results) -> Evidence:
    epochs = found.rows.loc[found.rows["optimizer"] == "adam", "epochs"].max()
    leads = behind_reference(with_adam(found, encodings))
    with_sgd = behind_reference(from_start(found.rows, wrong=False))
    return Evidence(
        f"With Adam (@sec-adam), which rescales small gradients, we detect no lead after {epochs:.0f} epochs "
        "(@tbl-losses).",
        {
            "with SGD cross entropy is more than two points ahead": all(
                test.difference.mean > 0.02 for test in with_sgd.values()
            ),
            "both halves of each pair were tried at the same rates": {
                frozenset(rows.loc[rows["optimizer"] == "adam", "learning_rate"])
                for rows in (found.rows, encodings.rows)
            }
            == {frozenset(ADAM_RATES)},
            "every interval holds 0": all(
                abs(test.difference.mean) <= test.difference.half_width for test in leads.values()
            ),
            "with Adam every lead is less than half a point": all(
                abs(test.difference.mean) + test.difference.half_width < 0.005 for test in leads.values()
            ),
        },
    )


@statement(said="Cross entropy is log-softmax applied to the negative log-likelihood.")
def composition_of_cross_entropy() -> Evidence:
    return Evidence(
        "The other way round: NLL is applied to the logarithm of the softmax (@sec-q4).",
        {"the NLL comes first": False},
    )
