"""Q2, over-fitting: what train and test curves of three networks say, and of one that over-fits plainly."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis import plotting
from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding, statement
from analysis.formatting import count_words, format_fixed, format_percent, format_range, label
from analysis.plotting import FAINT, GREEN, INK, ORANGE, PINK, TRAIN_TEST, WIDTH, plain_ticks, write_in
from analysis.questions.overfitting.runs import FEW_EXAMPLES, LEARNING_RATE, SOURCE_RATE
from analysis.results import Results, remembered
from analysis.statistics import at_best_rates

NETWORKS = ("300", "10-10", "20-20")
FEW = f"300, {FEW_EXAMPLES:,} examples"
COLOURS = {"300": INK, "10-10": GREEN, "20-20": PINK, FEW: ORANGE}
RISEN = 0.01  # share by which the test loss of a run that over-fits stays above its least value, at least
DASHES = {"300, SGD": "--", "300, Adam": ":"}
FIRST_DRAWN = 10  # epoch at which the figure's curves begin
MEDIAN_OF = 21  # measurements around each, fewer where a curve has few: curves without single spikes


@remembered
def by_network(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of the networks trained on all examples, at the larger of their rates, by hidden sizes."""
    return {name: group for (name, rate), group in _by_rate(rows).items() if rate != SOURCE_RATE}


@remembered
def at_source_rate(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of the networks trained on all examples at the rate of the source, by hidden sizes."""
    return {name: group for (name, rate), group in _by_rate(rows).items() if rate == SOURCE_RATE}


def _by_rate(rows: pd.DataFrame) -> dict[tuple[str, float], pd.DataFrame]:
    everything = rows[rows["train_examples"].isna()]
    groups = dict(iter(everything.groupby(["hidden", "learning_rate"])))
    return {key: groups[key] for key in sorted(groups, key=lambda key: (NETWORKS.index(key[0]), key[1]))}


@remembered
def few_examples(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the network trained on few examples."""
    return rows[rows["train_examples"].notna()]


@remembered
def further(optimizers: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of 784-300-10 in the longest runs of SGD and Adam, which come further than gradient descent."""
    rows = at_best_rates(optimizers[optimizers["epochs"] == optimizers["epochs"].max()], ["optimizer"])
    return {f"300, {label(name)}": rows[rows["optimizer"] == name] for name in ("sgd", "adam")}


@remembered
def overfitting(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run of a network.

    Returns:
        Index key; epochs, train_loss and test_loss at the last epoch, best_epoch of least test loss, best_train_loss
        there, rise: how far the test loss stays above the least in the last tenth of the epochs, relative to it; and
        overfits: whether that is more than RISEN while the train loss has fallen. Losses are running medians.
    """
    train, test = smooth(_curves(rows, "train_loss")), smooth(_curves(rows, "test_loss"))
    best = test.min()
    numbers = pd.DataFrame(
        {
            "epochs": test.index[-1],
            "train_loss": train.iloc[-1],
            "test_loss": test.iloc[-1],
            "best_epoch": test.idxmin(),
            "best_train_loss": [train.loc[epoch, run] for run, epoch in test.idxmin().items()],
            "rise": test[test.index >= 0.9 * test.index[-1]].min() / best - 1,
        }
    )
    has_fallen = numbers["train_loss"] < numbers["best_train_loss"]
    return numbers.assign(overfits=(numbers["rise"] > RISEN) & has_fallen)


def _curves(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One metric over epochs: index epoch, a column per run (key)."""
    return rows[rows["metric"] == metric].pivot(index="epoch", columns="key", values="value")


def lost_accuracy(rows: pd.DataFrame) -> pd.Series[float]:
    """Return how far each run's last test accuracy lies below its highest, by running medians."""
    accuracy = smooth(_curves(rows, "test_accuracy"))
    return accuracy.max() - accuracy.iloc[-1]


def _rise(test: pd.DataFrame) -> pd.DataFrame:
    """In percent, how far test losses lie above their least so far."""
    return 100 * (test / test.cummin() - 1)


def smooth(curves: pd.DataFrame) -> pd.DataFrame:
    """Return running medians along the index, which pass over single spikes."""
    window = min(MEDIAN_OF, len(curves) // 12 | 1)
    return curves.rolling(window, min_periods=1, center=True).median()


# Exhibits


@exhibit(
    "fig-curves",
    "overfitting",
    explore=(
        "metric=test_loss&xlog=1&ylog=1"
        "&run=hidden:20-20,learning_rate:0.5,train_examples:all"
        "&pin=hidden:10-10"
        "&pin=hidden:300,learning_rate:2"
    ),
)
def curves(found: Results) -> Picture:
    """Draw train and test loss above, train and test error below, of every run; a column per network."""
    fast, slow = by_network(found.rows), at_source_rate(found.rows)
    figure, grid = plt.subplots(2, len(fast), figsize=(WIDTH, 3.1), sharex="col", sharey="row", squeeze=False)
    for column, name in enumerate(fast):
        above, below = grid[:, column]
        for frame, look in ((fast[name], {}), (slow[name], {"alpha": 0.45})):
            for part, style in TRAIN_TEST.items():
                losses = smooth(_curves(frame, f"{part}_loss").drop(index=0))
                errors = 100 * (1 - smooth(_curves(frame, f"{part}_accuracy").drop(index=0)))
                above.plot(losses.index, losses, linewidth=0.9, **style, **look)
                below.plot(errors.index, errors, linewidth=0.9, **style, **look)
        above.set_title(f"{name}, η = {fast[name]['learning_rate'].iloc[0]:g}")
        for axes in (above, below):
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlim(left=FIRST_DRAWN)
            plain_ticks(axes.yaxis)
        below.set_xlabel("epoch")
    grid[0, 0].set_ylabel("cross entropy")
    grid[1, 0].set_ylabel("error in %")
    plotting.train_test_legend(grid[0, 0])
    return Picture(
        figure,
        f"Train and test loss (above) and error (below) of every run, running medians of {MEDIAN_OF} measurements, on "
        f"logarithmic axes; pale: at $\\eta = {SOURCE_RATE:g}$.",
        "Six panels of falling curves, a column per network. The train and the test curve of the wide network nearly "
        "coincide; those of the two small networks part late, and the test loss of 20-20 turns up.",
    )


@exhibit(
    "fig-turn",
    "overfitting",
    "adam_vs_sgd",
    explore=(
        "metric=test_loss&xlog=1&ylog=1&seeds=each"
        "&run=hidden:20-20,learning_rate:0.5,train_examples:all"
        "&pin=hidden:300,train_examples:1000"
    ),
)
def turns(found: Results, optimizers: Results) -> Picture:
    """Draw every run's test loss relative to its least so far against epochs, and test against train loss."""
    figure, (rises, losses) = plt.subplots(1, 2, figsize=(WIDTH, 2.6))
    frames = {**by_network(found.rows), FEW: few_examples(found.rows), **further(optimizers.rows)}
    styles: dict[str, dict[str, Any]] = {name: {"color": colour} for name, colour in COLOURS.items()}
    for name in further(optimizers.rows):
        styles[name] = {"color": INK, "linestyle": DASHES[name]}
    for name, frame in frames.items():
        train, test = (smooth(_curves(frame, f"{part}_loss").drop(index=0)) for part in TRAIN_TEST)
        rise = _rise(test)
        rises.plot(rise.index, rise, linewidth=0.9, **styles[name])
        for key in test:
            losses.plot(train[key], test[key], linewidth=0.9, **styles[name])
    for axes in (rises, losses):
        axes.set_xscale("log")
    rises.axhline(0, color=FAINT, linewidth=0.8, zorder=0)
    rises.set_xlim(left=1)
    rises.set_ylim(-1, 45)
    rises.set_xlabel("epoch")
    rises.set_ylabel("rise of the test loss in %")
    losses.axline((0.1, 0.1), (1, 1), color=FAINT, linewidth=0.8, zorder=0)
    losses.set_yscale("log")
    losses.set_xlim(3, 1e-4)
    losses.set_ylim(0.04, 3)
    plain_ticks(losses.yaxis)
    losses.set_xlabel("train loss (falling to the right)")
    losses.set_ylabel("test loss")
    handles = [Line2D([], [], label=name, **style) for name, style in styles.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)
    return Picture(
        figure,
        "Over-fitting, a line per run, running medians. Left: how far the test loss lies above its least value so far. "
        "Right: test loss against train loss as training goes on; grey: where both are equal. Solid: gradient descent "
        "at the larger rates. SGD and Adam: runs of @sec-adam.",
        "Left: the line of the wide network under gradient descent stays at zero; all others climb late, most of all "
        "Adam's and those of few examples. Right: every curve falls along the diagonal, leaves it, and turns up where "
        "its training goes on for long enough.",
    )


@exhibit("tbl-overfitting", "overfitting", "adam_vs_sgd")
def overfitting_table(found: Results, optimizers: Results) -> Table:
    """Tabulate `overfitting`: least and largest value of the runs."""
    lines = []
    for network, frames in (
        *((name, (at_source_rate(found.rows)[name], by_network(found.rows)[name])) for name in NETWORKS),
        *((name, (rows,)) for name, rows in further(optimizers.rows).items()),
        (FEW, (few_examples(found.rows),)),
    ):
        for rows in frames:
            numbers = overfitting(rows)
            lines.append(
                {
                    "Network": network,
                    "$\\eta$": f"{rows['learning_rate'].iloc[0]:g}",
                    "Epochs": f"{numbers['epochs'].max():,.0f}",
                    "Train loss": format_range(numbers["train_loss"], 3),
                    "Test loss": format_range(numbers["test_loss"], 3),
                    "Epoch of least test loss": " to ".join(
                        dict.fromkeys(f"{epoch:,.0f}" for epoch in numbers["best_epoch"].agg(["min", "max"]))
                    ),
                    "Stays above, in %": format_range(100 * numbers["rise"], 1),
                    "Over-fit": f"{numbers['overfits'].sum()} of {len(numbers)}",
                }
            )
    return Table(
        pd.DataFrame(lines),
        "Losses at the last epoch, the epoch of least test loss, how far the test loss stays above that in the last "
        "tenth of the epochs, and how many of the runs over-fit: those where that is more than "
        f"{format_percent(RISEN, 0)} and the train loss has fallen since. Running medians; least and largest value of "
        "the runs. SGD and Adam: batches of 128, 50,000 examples (@sec-adam).",
        (14, 6, 9, 14, 14, 15, 13, 10),
    )


@sketch("overfitting", alt="The test loss of 784-300-10 stays least, that of 20-20 rises late.")
def sketch_of_rise(axes: Axes, found: Results) -> None:
    frames = by_network(found.rows)
    for name in ("300", "20-20"):
        rise = _rise(_curves(frames[name], "test_loss"))
        axes.plot(rise.index, rise.mean(axis="columns"), color=COLOURS[name])
    axes.set_xscale("log")
    axes.set_xlim(left=100)
    axes.set_ylim(-1, 15)
    write_in(axes, 0.03, 0.82, "test loss above its least", INK)
    write_in(axes, 0.6, 0.5, "20-20", COLOURS["20-20"])
    write_in(axes, 0.1, 0.16, "300", COLOURS["300"])


# Findings


@finding("overfitting", "adam_vs_sgd", headline=True)
def all_overfit_in_the_end(found: Results, optimizers: Results) -> Evidence:
    networks = by_network(found.rows)
    numbers = {name: overfitting(rows) for name, rows in networks.items()}
    wide, small, smallest = (numbers[name] for name in ("300", "20-20", "10-10"))
    sgd = overfitting(further(optimizers.rows)["300, SGD"])
    slow = [overfitting(rows) for rows in at_source_rate(found.rows).values()]
    as_long = [overfitting(rows[rows["epoch"] <= wide["epochs"].max()]) for rows in networks.values()]
    return Evidence(
        f"Once they are trained far enough, yes, though it hardly costs accuracy. In "
        f"{wide['epochs'].max():,.0f} epochs of gradient descent "
        "on all examples none over-fits. In ten times as many at the larger rate, every run of 20-20 does: its test "
        f"loss stays up to {format_percent(small['rise'].max(), 0)} above its least. So does "
        f"{count_words(smallest['overfits'].sum())} of the {count_words(len(smallest))} of 10-10, and 784-300-10 in "
        f"all {count_words(len(sgd))} runs in which SGD takes it further.",
        {
            "no run over-fits within the epochs of 784-300-10": not any(
                each["overfits"].any() for each in as_long
            ),
            "the small ones were given ten times as many": bool(
                small["epochs"].max() == smallest["epochs"].max() == 10 * wide["epochs"].max()
            ),
            "no run at the source's rate over-fits": not any(each["overfits"].any() for each in slow),
            "all runs of 20-20 over-fit": bool(small["overfits"].all()),
            "some but not all runs of 10-10 do": bool(0 < smallest["overfits"].mean() < 1),
            "with SGD all of 784-300-10 do": bool(sgd["overfits"].all()),
            "with SGD the error ends less than half a point above its least": bool(
                lost_accuracy(further(optimizers.rows)["300, SGD"]).max() < 0.005
            ),
            "the rise stays below a fifth": bool(max(small["rise"].max(), sgd["rise"].max()) < 0.2),
        },
        "All three can over-fit, if trained far enough: in confidence more than in errors.",
    )


@finding("overfitting", "adam_vs_sgd")
def wide_network_turns_further_on(found: Results, optimizers: Results) -> Evidence:
    descent = overfitting(by_network(found.rows)["300"]).iloc[0]
    sgd = overfitting(further(optimizers.rows)["300, SGD"])
    return Evidence(
        f"Gradient descent leaves 784-300-10 at a train loss of {format_fixed(descent['train_loss'], 3)}, its test "
        f"loss still falling. With SGD that turns too, at a train loss of about "
        f"{format_fixed(sgd['best_train_loss'].mean(), 3)}.",
        {
            "its test loss is least at the end": bool(descent["best_epoch"] == descent["epochs"]),
            "with SGD it is least before, in every run": bool((sgd["best_epoch"] < sgd["epochs"]).all()),
            "at a lower train loss than that of gradient descent": bool(
                sgd["best_train_loss"].max() < descent["train_loss"]
            ),
        },
    )


@finding("overfitting")
def slow_runs_have_not_come_so_far(found: Results) -> Evidence:
    rate = LEARNING_RATE[(20, 20)]
    epochs = max(overfitting(rows)["epochs"].max() for rows in at_source_rate(found.rows).values())
    turned = rate * min(
        overfitting(by_network(found.rows)[name])["best_epoch"].min() for name in ("10-10", "20-20")
    )
    return Evidence(
        f"At $\\eta = {SOURCE_RATE:g}$ the small networks have not come so far: their epochs are worth "
        f"{SOURCE_RATE * epochs / rate:,.0f} at $\\eta = {rate:g}$ (@sec-q6), where no test loss turns before epoch "
        f"{turned / rate:,.0f}.",
        {
            "progress at the smaller rate ends before any run at the larger one turns": bool(
                SOURCE_RATE * epochs < turned
            )
        },
    )


@finding("overfitting", "adam_vs_sgd")
def small_network_turns_earlier(found: Results, optimizers: Results) -> Evidence:
    small = overfitting(by_network(found.rows)["20-20"])
    sgd = overfitting(further(optimizers.rows)["300, SGD"])
    return Evidence(
        f"20-20 turns earlier, at about {format_fixed(small['best_train_loss'].mean(), 3)}, and at a larger test loss.",
        {
            "every run of 20-20 turns at a larger train loss": bool(
                small["best_train_loss"].min() > sgd["best_train_loss"].max()
            ),
            "its least test loss is larger": _least(by_network(found.rows)["20-20"]).min()
            > _least(further(optimizers.rows)["300, SGD"]).max(),
        },
    )


def _least(rows: pd.DataFrame) -> pd.Series[float]:
    """Each run's least test loss."""
    return smooth(_curves(rows, "test_loss")).min()


@finding("adam_vs_sgd")
def adam_overfits_in_confidence(optimizers: Results) -> Evidence:
    rows = further(optimizers.rows)["300, Adam"]
    adam, accuracy = overfitting(rows), smooth(_curves(rows, "test_accuracy"))
    at_least_loss = pd.Series({key: accuracy.loc[epoch, key] for key, epoch in adam["best_epoch"].items()})
    return Evidence(
        f"With Adam the test loss of 784-300-10 stays {format_percent(adam['rise'].min(), 0)} to "
        f"{format_percent(adam['rise'].max(), 0)} above its least, and yet its test error ends lower than it was "
        "there.",
        {
            "all runs over-fit": bool(adam["overfits"].all()),
            "every run is more accurate at its end than where its test loss is least": bool(
                (accuracy.iloc[-1] > at_least_loss).all()
            ),
        },
    )


@finding("overfitting")
def error_hardly_rises(found: Results) -> Evidence:
    losses = overfitting(by_network(found.rows)["20-20"])
    lost = lost_accuracy(by_network(found.rows)["20-20"])
    return Evidence(
        "What over-fits is confidence more than decisions: when the test loss of 20-20 rises, its test error does by "
        f"at most {100 * lost.max():.1f} points.",
        {
            "the test loss stays 4 % above its least in every run": bool(losses["rise"].min() > 0.04),
            "the error rises by less than half a point in every run": bool(lost.max() < 0.005),
            "and by something": bool(lost.min() > 0),
        },
    )


@finding("overfitting")
def contrast_overfits(found: Results) -> Evidence:
    runs = overfitting(few_examples(found.rows))
    return Evidence(
        f"For contrast, 784-300-10 trained on {FEW_EXAMPLES:,} examples over-fits plainly, at the same number of "
        f"epochs: its test loss stays {format_percent(runs['rise'].mean(), 0)} above its least.",
        {
            "every run over-fits": bool(runs["overfits"].all()),
            "the test loss rises by more than 20 % in every run": bool(runs["rise"].min() > 0.2),
        },
    )


@finding("overfitting")
def single_runs(found: Results) -> Evidence:
    alone = [*at_source_rate(found.rows).values(), by_network(found.rows)["300"]]
    runs = {rows["key"].nunique() for rows in alone}
    return Evidence(
        f"At $\\eta = {SOURCE_RATE:g}$, and of 784-300-10 with gradient descent on all examples, there is "
        f"{count_words(max(runs), 'run')} each.",
        {"there is one run of each": runs == {1}},
    )


@statement("overfitting", said="As trained there, 784-300-10 over-fits mildly.")
def wide_network_overfits_mildly(found: Results) -> Evidence:
    wide = overfitting(at_source_rate(found.rows)["300"]).iloc[0]
    return Evidence(
        f"After {wide['epochs']:,.0f} epochs at the source's $\\eta = {SOURCE_RATE:g}$ the test loss is at its least, "
        f"{format_fixed(wide['test_loss'], 3)}, and still below the train loss. Trained further it does (@sec-q2).",
        {"it over-fits": bool(wide["overfits"])},
    )


@statement("overfitting", said="10-10 and 20-20, at $\\eta = 0.1$, over-fit mildly.")
def small_networks_overfit_mildly(found: Results) -> Evidence:
    slow = {name: overfitting(rows) for name, rows in at_source_rate(found.rows).items()}
    fast = {name: overfitting(rows)["overfits"] for name, rows in by_network(found.rows).items()}
    ours = slow["10-10"].iloc[0]
    return Evidence(
        f"At that rate neither does; at {LEARNING_RATE[(20, 20)]:g}, {count_words(fast['20-20'].sum(), 'run')} of "
        f"20-20 and {count_words(fast['10-10'].sum())} of 10-10 do. The source's curves of 10-10 end near 0.29 and "
        f"0.40. Ours end at {format_fixed(ours['train_loss'], 2)} and {format_fixed(ours['test_loss'], 2)}.",
        {"both over-fit": bool(slow["10-10"]["overfits"].all() and slow["20-20"]["overfits"].all())},
    )
