"""Q4, why cross entropy: both losses over two outputs, from the usual and a wrong start; gradients at the logits."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding, statement
from analysis.formatting import (
    count_words,
    format_at_least,
    format_at_most,
    format_interval,
    format_mean_epoch,
    format_percent,
    format_range,
    join_english,
    label,
)
from analysis.plotting import GREEN, INK, MARKER, WIDTH, line_style, plain_ticks, write_in
from analysis.questions.losses.runs import FIRST_RATE
from analysis.results import Results, remembered
from analysis.statistics import (
    PairedTest,
    at_best_rates,
    final_values,
    first_epochs,
    paired_tests_holm,
    t_interval,
)

SOFTMAX, SIGMOID = "quadratic_softmax", "quadratic_sigmoid"
# The quadratic losses, and cross entropy of the same outputs.
REFERENCE = {SOFTMAX: "cross_entropy_softmax", SIGMOID: "cross_entropy_sigmoid"}
ACCURACIES = (0.90, 0.95)  # thresholds of test accuracy
SATURATED = 0.05  # share of the error that still reaches the logits where the outputs are saturated, at most
LATE = 10  # epochs over which late gains are measured


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
    """Return the rows with names but for runs that are there for their gradients only."""
    validated = rows.loc[rows["metric"] == "validation_accuracy", "key"]
    return with_names(rows[rows["key"].isin(validated)])


@remembered
def passed_back(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the share of the error that reaches the logits at the end, of runs from the usual start.

    With q the outputs, it is the root mean square over the training examples of the loss's gradient at the logits over
    that of ‖q - t‖: 1 for cross entropy, and less the more the outputs are saturated for the quadratic loss.

    Returns:
        Index: name, learning_rate; a column per seed.
    """
    watched = _with_errors(rows, "gradient_norm", "test_accuracy")
    by = ["name", "learning_rate", "seed"]
    norm, loss = (final_values(watched, metric, by) for metric in ("error_norm", "train_loss"))
    return (norm / (2 * loss) ** 0.5).unstack("seed")


@remembered
def first_updates(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what the first updates at one rate do, from the usual and the wrong start.

    Returns:
        Index: name, shift, seed, update; columns test_accuracy, and share as of `passed_back` (quadratic losses).
    """
    begun = _with_errors(rows, "gradient_norm")
    begun = begun[begun["key"].isin(begun.loc[begun["metric"] == "test_accuracy", "key"])]
    table = begun.pivot(index=["name", "shift", "seed", "update"], columns="metric", values="value")
    share = table["error_norm"] / (2 * table["train_loss"]) ** 0.5
    quadratic = table.index.get_level_values("name").isin(list(REFERENCE))
    return table[["test_accuracy"]].assign(share=share.where(quadratic))


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


def first_accuracies(rows: pd.DataFrame) -> pd.DataFrame:
    """Return test accuracies one epoch after the wrong start, at every rate: index (name, rate), a column per seed."""
    runs = trained(rows)
    chosen = runs[(runs["shift"] > 0) & (runs["metric"] == "test_accuracy") & (runs["epoch"] == 1)]
    return chosen.pivot(index=["name", "learning_rate"], columns="seed", values="value")


def from_start(rows: pd.DataFrame, wrong: bool) -> pd.DataFrame:
    """Return one row per run of the usual or the wrong start, every loss at its best rate there.

    Returns:
        Columns name (losses in the order of the runs), seed, learning_rate, first_accuracy, test_accuracy (after one
        epoch and at the end), epochs_90 and epochs_95, the first epoch with that test accuracy (infinite if never).
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
            "first_accuracy": final_values(chosen[chosen["epoch"] <= 1], "test_accuracy", by),
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


def behind_later(rows: pd.DataFrame) -> dict[str, PairedTest]:
    """Return `behind_reference` for the longer runs."""
    accuracy = final_values(trained_longer(rows), "test_accuracy", ["seed", "name"])
    return behind_reference(accuracy.rename("test_accuracy").reset_index())


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
    figure, ((norms, shares), (usual, wrong)) = plt.subplots(2, 2, figsize=(WIDTH, 3.4))
    wrong.sharey(usual)
    begun = first_updates(found.rows)["share"].groupby(["name", "shift", "update"]).mean()
    for (name, shift), of_start in begun.groupby(["name", "shift"]):
        if name in REFERENCE:
            course = of_start.droplevel(["name", "shift"])
            look = {**line_style(str(name)), "marker": "", **({} if shift == 0 else {"linewidth": 0.7})}
            shares.plot(course.index, 100 * course, **look)
    for name in names:
        style = line_style(name)
        mean = errors[errors["name"] == name].groupby("shift")["norm"].mean()
        norms.plot(mean.index, mean, markersize=MARKER, label=label(name), **style)
        for axes, start in ((usual, runs["shift"] == 0), (wrong, runs["shift"] > 0)):
            chosen = runs[start & (runs["name"] == name) & (runs["metric"] == "test_accuracy")]
            for _, run in chosen.groupby("seed"):
                axes.plot(run["epoch"], 100 * (1 - run["value"]), linewidth=0.9, **{**style, "marker": ""})
    norms.set_yscale("log")
    norms.set_xticks(sorted(errors["shift"].unique()))
    norms.set_xlabel("output biases shifted by s")
    norms.set_ylabel("gradient norm")
    figure.legend(
        *norms.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=4,
        fontsize=7.5,
        handlelength=2.2,
        columnspacing=1.2,
    )
    shares.set_xscale("symlog", linthresh=1)
    shares.set_xlim(0, begun.index.get_level_values("update").max())
    shares.set_yscale("log")
    plain_ticks(shares.yaxis, decades=True)
    shares.set_xlabel("update")
    shares.set_ylabel("passed back, %")
    usual.set_ylabel("test error in %")
    usual.set_title("usual start")
    wrong.set_title(f"wrong start, s = {errors['shift'].max():g}")
    for axes in (usual, wrong):
        axes.set_xlabel("epoch")
        axes.set_yscale("log")
        axes.set_ylim(2, 100)
        plain_ticks(axes.yaxis)
    return Picture(
        figure,
        "Two losses over two outputs. Above, left: root mean square over the training examples of the gradient at the "
        "logits before the first update, over the shift $s$. Right: the share of the outputs' error that the quadratic "
        f"losses pass back in the first epoch at $\\eta = {FIRST_RATE:g}$, from the usual start and the wrong "
        "one (thin), means over the seeds. Below: test error from both starts, every loss at its own best rate for "
        "that start; a line per seed.",
        "Above: with cross entropy the gradient stays at about one or more, with both quadratic losses it falls by "
        "orders of magnitude; from the usual start, the first update takes what sigmoids pass back almost to zero. "
        "Below: error over epochs, lowest with cross entropy.",
    )


@exhibit("tbl-losses", "losses")
def losses_table(found: Results) -> Table:
    """Tabulate each loss at its best rate, from the usual and from the wrong start."""
    lines = []
    for start, wrong in (("usual", False), ("wrong", True)):
        numbers = from_start(found.rows, wrong)
        behind, later = behind_reference(numbers), {} if wrong else behind_later(found.rows)
        lines += [
            {
                "Start": start,
                "Loss": label(name),
                "Best $\\eta$": f"{of_loss['learning_rate'].iloc[0]:g}",
                "After 1 epoch": _format_range(of_loss["first_accuracy"]),
                "Epochs to 90 %": format_mean_epoch(of_loss["epochs_90"]),
                "to 95 %": format_mean_epoch(of_loss["epochs_95"]),
                "Test acc. at the end": format_interval(t_interval(of_loss["test_accuracy"])),
                "Behind, in points": format_interval(behind[name].difference, unit="")
                if name in behind
                else "–",
                "Behind later": format_interval(later[name].difference, unit="") if name in later else "–",
            }
            for name, of_loss in numbers.groupby("name", sort=False)
        ]
    return Table(
        pd.DataFrame(lines),
        "Each loss at its learning rate of highest mean validation accuracy at the end, for each start: least and "
        "largest test accuracy of the seeds after one epoch, mean first epoch with 90 and 95 % (–: not reached "
        "by all seeds), final test accuracy and its deficit to cross entropy of the same outputs with half widths "
        f"of 95 % t intervals, paired by seed; later: after {trained_longer(found.rows)['epoch'].max():.0f} epochs.",
        (6, 25, 5, 15, 7, 5, 15, 13, 12),
    )


def _format_range(shares: pd.Series[float]) -> str:
    return f"{100 * shares.min():.1f} to {format_percent(shares.max())}"


@exhibit("tbl-cliff", "losses")
def cliff_table(found: Results) -> Table:
    """Tabulate test accuracies from the usual start by rate, and the share of the error that is passed back."""
    runs, shares = trained(found.rows), passed_back(found.rows)
    accuracy = final_values(runs[runs["shift"] == 0], "test_accuracy", ["name", "learning_rate", "seed"])
    names = list(runs["name"].unique())
    rates = shares.index.unique("learning_rate")
    return Table(
        pd.DataFrame(
            {
                "$\\eta$": f"{rate:g}",
                **{label(name): _format_range(accuracy[name, rate]) for name in names},
                **{
                    f"Passed back, {runs.loc[runs['name'] == name, 'output'].iloc[0]}": format_range(
                        100 * shares.loc[(name, rate)], 1
                    )
                    for name in REFERENCE
                },
            }
            for rate in rates
        ),
        f"From the usual start: test accuracy after {runs['epoch'].max():.0f} epochs at some of the rates, and the "
        "share in percent of the outputs' error ($\\lVert p - t \\rVert$ or $\\lVert q - t \\rVert$) that the "
        "quadratic loss then passes back to the logits, in runs of their own (root mean squares over the training "
        "examples; cross entropy passes back all of it). Least and largest of the "
        f"{count_words(shares.columns.size, 'seed')}.",
        (5, 17, 17, 17, 17, 13, 13),
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
    behind, later = behind_reference(from_start(found.rows, wrong=False)), behind_later(found.rows)
    return Evidence(
        "Because it corrects most where the network is most wrong. "
        f"After {trained(found.rows)['epoch'].max():.0f} epochs, each at its best rate, it is ahead of the quadratic "
        f"loss of the same outputs by {format_interval(behind[SOFTMAX].difference, 1, '')} points of test accuracy "
        f"with softmax, and by {format_interval(behind[SIGMOID].difference, 1, '')} with sigmoids. Most of that is a "
        f"lead in speed: after {trained_longer(found.rows)['epoch'].max():.0f} epochs, "
        f"{format_interval(later[SOFTMAX].difference, 1, '')} and {format_interval(later[SIGMOID].difference, 1, '')} "
        "points are left.",
        {
            "in longer runs less than a third of it is left": all(
                later[name].difference.mean < test.difference.mean / 3 for name, test in behind.items()
            ),
            "cross entropy has the higher mean accuracy": all(
                test.difference.mean > 0 for test in behind.values()
            ),
            "the differences are significant at 0.1 %": all(test.p < 0.001 for test in behind.values()),
        },
        "Its gradient stays as large as the mistake; that of the quadratic loss fades.",
    )


@finding("losses")
def cross_entropy_leaves_a_wrong_start(found: Results) -> Evidence:
    best = from_start(found.rows, wrong=True)
    first = best.groupby("name")["first_accuracy"]
    reference = best.loc[best["name"].isin(REFERENCE.values()), "first_accuracy"]
    slowest = first_accuracies(found.rows).min(axis="columns")  # seed at every rate
    return Evidence(
        f"After one epoch cross entropy has at least {format_at_least(reference.min(), 0)} test accuracy with every "
        "seed. With the quadratic loss of softmax outputs some seed is left behind at every learning rate, at "
        f"{format_at_most(slowest[SOFTMAX].max())} or less; at its best rate it sits still for epochs with some seeds "
        "and leaves early with others.",
        {
            "every seed of cross entropy has left the start": bool(reference.min() > 0.8),
            "with the quadratic loss of softmax, one has not at any rate": bool(slowest[SOFTMAX].max() < 0.6),
            "at its best rate some seed has and some has not": bool(
                first.min()[SOFTMAX] < 0.2 and first.max()[SOFTMAX] > 0.7
            ),
        },
    )


@finding("losses")
def sigmoids_leave_the_wrong_start(found: Results) -> Evidence:
    usual, wrong = (
        of_start.loc[of_start["name"] == SIGMOID, "first_accuracy"]
        for of_start in (from_start(found.rows, wrong=False), from_start(found.rows, wrong=True))
    )
    errors = first_errors(found.rows)
    largest = errors[errors["shift"] == errors["shift"].max()].groupby("name")["norm"].mean()
    ratio = largest[SIGMOID] / largest[SOFTMAX]
    return Evidence(
        "At its best rate, the quadratic loss of sigmoids leaves the wrong start, with "
        f"{format_percent(wrong.min())} or more after one epoch: its gradient is {ratio:.0f} times that of the "
        "quadratic loss of softmax.",
        {
            "every seed has left the wrong start after one epoch": bool(wrong.min() > 0.7),
            "the usual start is slower": bool(usual.mean() < wrong.min()),
            "their gradient is more than ten times as large": bool(ratio > 10),
        },
    )


@finding("losses")
def wrong_start_is_left_in_the_end(found: Results) -> Evidence:
    usual, wrong = (
        from_start(found.rows, wrong).groupby("name")["test_accuracy"].mean() for wrong in (False, True)
    )
    lost = 100 * (usual - wrong)
    return Evidence(
        "At its best rate every run leaves the wrong start in the end. Both losses of softmax then lose at most "
        f"{math.ceil(10 * lost[[SOFTMAX, REFERENCE[SOFTMAX]]].max()) / 10:.1f} points to the usual start. With "
        f"sigmoids, cross entropy, which takes a smaller rate here, loses {lost[REFERENCE[SIGMOID]]:.1f}, and the "
        f"quadratic loss, which bears a larger one, gains {-lost[SIGMOID]:.1f}.",
        {
            "every run ends above 90 %": bool(
                from_start(found.rows, wrong=True)["test_accuracy"].min() > 0.9
            ),
            "with softmax both lose less than half a point": bool(
                lost[[SOFTMAX, REFERENCE[SOFTMAX]]].max() < 0.5
            ),
            "cross entropy of sigmoids loses more, from a smaller rate": bool(lost[REFERENCE[SIGMOID]] > 0.5)
            and _best_rate(found, REFERENCE[SIGMOID], True) < _best_rate(found, REFERENCE[SIGMOID], False),
            "their quadratic loss gains, from a larger one": bool(lost[SIGMOID] < 0)
            and _best_rate(found, SIGMOID, True) > _best_rate(found, SIGMOID, False),
        },
    )


def _best_rate(found: Results, name: str, wrong: bool) -> float:
    """The best rate of a loss from a start."""
    runs = from_start(found.rows, wrong)
    return float(runs.loc[runs["name"] == name, "learning_rate"].iloc[0])


@finding("losses")
def quadratic_gradient_vanishes_when_wrong(found: Results) -> Evidence:
    errors = first_errors(found.rows)
    by_shift = errors.groupby(["name", "shift"])["norm"].mean().unstack("name")
    largest = by_shift.iloc[-1]
    ratio = {name: largest[like] / largest[name] for name, like in REFERENCE.items()}
    return Evidence(
        f"At $s = {by_shift.index[-1]:g}$ cross entropy's gradient at the logits is "
        f"{float(f'{ratio[SOFTMAX]:.2g}'):,.0f} times that of the quadratic loss with softmax outputs, and "
        f"{float(f'{ratio[SIGMOID]:.2g}'):,.0f} times with sigmoids.",
        {
            "with cross entropy it is about 1 or more at every shift": bool(
                by_shift[list(REFERENCE.values())].min(axis=None) > 0.9
            ),
            "with both quadratic losses it falls from each shift to the next, from 1 on": all(
                by_shift[name].iloc[1:].is_monotonic_decreasing for name in REFERENCE
            ),
            "both are more than 50 times smaller at the end": min(ratio.values()) > 50,
        },
    )


@finding("losses")
def larger_rates_saturate_the_quadratic_loss(found: Results) -> Evidence:
    shares = passed_back(found.rows)
    usual = trained(found.rows)
    usual = usual[usual["shift"] == 0]
    accuracy = final_values(usual, "test_accuracy", ["name", "learning_rate", "seed"])
    best = from_start(found.rows, wrong=False).groupby("name")["learning_rate"].first()
    at_best = pd.concat(
        [shares.loc[(name, best[name])] for name in REFERENCE if (name, best[name]) in shares.index]
    )
    beyond = [rate for rate in shares.index.unique("learning_rate") if rate > best[list(REFERENCE)].max()]
    lost = shares.loc[(list(REFERENCE), beyond[-2:]), :]
    ends = pd.concat([accuracy[name, rate] for name in REFERENCE for rate in beyond[-2:]])
    others = pd.concat([accuracy[name, rate] for name in REFERENCE.values() for rate in beyond[-2:]])
    return Evidence(
        "Later the quadratic loss passes back a part of its error only, at the end "
        f"{format_percent(at_best.min(), 0)} to {format_percent(at_best.max(), 0)} at its best rate. Larger steps do "
        "not make up for it, as they saturate the outputs for good (@tbl-cliff): at "
        f"{join_english(f'{rate:g}' for rate in beyond[-2:])}, no more than {format_at_most(lost.max(axis=None))} is "
        f"passed back, and the network stays at {format_at_most(ends.max(), 0)} test accuracy or less. Cross entropy "
        f"has at least {format_at_least(others.min(), 0)} at these rates.",
        {
            "at its best rate less than half is passed back": bool(at_best.max() < 0.5),
            "but something in every run": bool(at_best.min() > 0.1),
            "at two larger rates next to nothing is": len(beyond) >= 2
            and bool(lost.max(axis=None) < SATURATED),
            "the quadratic losses end below 20 % there": bool(ends.max() < 0.2),
            "cross entropy ends above 85 %": bool(others.min() > 0.85),
        },
    )


@finding("losses")
def first_update_saturates_sigmoids(found: Results) -> Evidence:
    begun = first_updates(found.rows).xs(0.0, level="shift")
    share = begun["share"].groupby(["name", "update"]).agg(["min", "max"])
    of_sigmoids, of_softmax = share.loc[SIGMOID], share.loc[SOFTMAX]
    accuracy = begun["test_accuracy"].groupby(["name", "update"]).mean().unstack("name")
    fifth = accuracy.index[accuracy.index <= accuracy.index.max() / 5].max()
    reference, quadratic = accuracy.loc[fifth, [REFERENCE[SIGMOID], SIGMOID]]
    return Evidence(
        "Measured, what the quadratic loss of sigmoids passes back falls from "
        f"{format_percent(of_sigmoids['max'][0], 0)} to {format_at_most(of_sigmoids['max'][1])} or less, with every "
        f"seed; with softmax it stays at {format_at_least(of_softmax['min'].min(), 0)} or more (@fig-losses). Cross "
        f"entropy of sigmoids overshoots as well, but passes everything back. After {fifth} updates, its test "
        f"accuracy is {format_percent(reference, 0)}, that of the quadratic loss {format_percent(quadratic, 0)}.",
        {
            "after the first update sigmoids pass back less than a hundredth": bool(
                of_sigmoids["max"][1] < 0.01
            ),
            "softmax passes back more at every measurement of the first epoch": bool(
                of_softmax["min"].min() > 10 * of_sigmoids["max"][1]
            ),
            "cross entropy of sigmoids is far ahead after a fifth of the epoch": bool(
                reference > quadratic + 0.4
            ),
        },
    )


@finding("losses")
def quadratic_comes_closer(found: Results) -> Evidence:
    runs = trained_longer(found.rows)
    accuracy = final_values(runs, "test_accuracy", ["seed", "name"])
    behind = behind_later(found.rows)
    before = final_values(
        runs[runs["epoch"] <= runs["epoch"].max() - LATE], "test_accuracy", ["seed", "name"]
    )
    gained = (accuracy - before).groupby("name").mean()
    return Evidence(
        f"In the last {count_words(LATE)} of the {runs['epoch'].max():.0f} epochs of the longer runs the quadratic "
        "loss still gains more than cross entropy does, so that less would be left in the end.",
        {
            "it is still behind, by more than the interval": all(
                test.difference.mean > test.difference.half_width for test in behind.values()
            ),
            "it gains more late": all(gained[name] > gained[like] for name, like in REFERENCE.items()),
        },
    )


@finding("published")
def small_batches_leave_no_lead(found: Results) -> Evidence:
    rows = found.rows[found.rows["hidden"] == "300"]
    final = final_values(rows, "test_accuracy", ["loss", "seed"])
    quadratic, reference = (t_interval(final[loss]) for loss in ("quadratic", "cross_entropy"))
    return Evidence(
        f"With batches of {rows['batch_size'].iloc[0]:.0f}, which make more updates, {rows['epoch'].max():.0f} epochs "
        f"take the quadratic loss of sigmoids to {format_interval(quadratic)} and cross entropy of softmax to "
        f"{format_interval(reference)} ({count_words(quadratic.n, 'seed')}, rates not tuned, @sec-published).",
        {
            "the mean test accuracy exceeds 97 %": quadratic.mean > 0.97,
            "the intervals overlap": abs(reference.mean - quadratic.mean)
            < reference.half_width + quadratic.half_width,
        },
    )


@statement(said="Cross entropy is log-softmax applied to the negative log-likelihood.")
def composition_of_cross_entropy() -> Evidence:
    return Evidence(
        "The other way round: NLL is applied to the logarithm of the softmax (@sec-q4).",
        {"the NLL comes first": False},
    )
