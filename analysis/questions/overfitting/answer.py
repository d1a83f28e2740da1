"""Q2, over-fitting: what train and test curves of three networks say, and of one that over-fits plainly."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis import plotting
from analysis.exhibits import Picture, Table, exhibit, sketch
from analysis.findings import Evidence, finding, statement
from analysis.formatting import count_words, format_fixed, format_percent, format_range, join_english
from analysis.plotting import FAINT, GREEN, INK, ORANGE, PINK, TRAIN_TEST, WIDTH, plain_ticks, write_in
from analysis.questions.overfitting.runs import FEW_EXAMPLES, SOURCE_RATE
from analysis.results import Results, remembered

NETWORKS = ("300", "10-10", "20-20")
FEW = f"300, {FEW_EXAMPLES:,} examples"
COLOURS = {"300": INK, "10-10": GREEN, "20-20": PINK, FEW: ORANGE}
RISEN = 0.01  # share by which the test loss of a run that over-fits ends above its least value, at least
FIRST_DRAWN = 10  # epoch at which the figure's curves begin
LEAST_ERROR = 0.1  # in percent, as drawn: a train error of zero has no place on a logarithmic axis
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
def overfitting(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run of a network.

    Returns:
        Index key; epochs, train_loss, test_loss and test_error at the last epoch, best_epoch of least test loss,
        best_train_loss there, rise: how far the test loss ends above the least, relative to it, error_rise: how far
        the test error does, in points; and overfits: whether the loss ends more than RISEN above while the train loss
        has fallen. All are of running medians.
    """
    train, test = smooth(_curves(rows, "train_loss")), smooth(_curves(rows, "test_loss"))
    error = 100 * (1 - smooth(_curves(rows, "test_accuracy")))
    turns = _turns(test)
    numbers = pd.DataFrame(
        {
            "epochs": test.index[-1],
            "train_loss": train.iloc[-1],
            "test_loss": test.iloc[-1],
            "test_error": error.iloc[-1],
            "best_epoch": turns,
            "best_train_loss": [train.loc[epoch, run] for run, epoch in turns.items()],
            "rise": test.iloc[-1] / test.min() - 1,
            "error_rise": error.iloc[-1] - error.min(),
        }
    )
    has_fallen = numbers["train_loss"] < numbers["best_train_loss"]
    return numbers.assign(overfits=(numbers["rise"] > RISEN) & has_fallen)


def _turns(curves: pd.DataFrame) -> pd.Series[float]:
    """Return the epoch of each run's least value; running medians are flat about it, so it is the middle of these."""
    least = {run: curve.index[curve == curve.min()] for run, curve in curves.items()}
    return pd.Series({run: epochs[len(epochs) // 2] for run, epochs in least.items()})


def _curves(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One metric over epochs: index epoch, a column per run (key)."""
    return rows[rows["metric"] == metric].pivot(index="epoch", columns="key", values="value")


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
    figure, grid = plt.subplots(2, len(fast), figsize=(WIDTH, 2.7), sharex="col", sharey="row", squeeze=False)
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
            plain_ticks(axes.yaxis, decades=True)
        below.set_ylim(LEAST_ERROR, 100)
        below.set_xlabel("epoch")
    grid[0, 0].set_ylabel("cross entropy")
    grid[1, 0].set_ylabel("error in %")
    plotting.train_test_legend(grid[0, 0])
    return Picture(
        figure,
        f"Train and test loss (above) and error (below) of every run on all examples, running medians of {MEDIAN_OF} "
        f"measurements, on logarithmic axes; pale: at $\\eta = {SOURCE_RATE:g}$.",
        "Six panels of falling curves, a column per network. Train and test curves part late, and the test losses of "
        "300 and 20-20 turn up; the pale ones still coincide.",
    )


@exhibit(
    "fig-turn",
    "overfitting",
    explore=(
        "metric=test_loss&xlog=1&ylog=1&seeds=each"
        "&run=hidden:20-20,learning_rate:0.5,train_examples:all"
        "&pin=hidden:300,train_examples:1000"
    ),
)
def turns(found: Results) -> Picture:
    """Draw every run's test loss relative to its least so far against epochs, and test against train loss."""
    figure, (rises, losses) = plt.subplots(1, 2, figsize=(WIDTH, 2.1))
    frames = {**by_network(found.rows), FEW: few_examples(found.rows)}
    for name, frame in frames.items():
        train, test = (smooth(_curves(frame, f"{part}_loss").drop(index=0)) for part in TRAIN_TEST)
        rise = _rise(test)
        rises.plot(rise.index, rise, linewidth=0.9, color=COLOURS[name])
        for key in test:
            losses.plot(train[key], test[key], linewidth=0.9, color=COLOURS[name])
    for axes in (rises, losses):
        axes.set_xscale("log")
    rises.axhline(0, color=FAINT, linewidth=0.8, zorder=0)
    rises.set_xlim(left=100)
    rises.set_xlabel("epoch")
    rises.set_ylabel("rise of the loss, %")
    losses.axline((0.1, 0.1), (1, 1), color=FAINT, linewidth=0.8, zorder=0)
    losses.set_yscale("log")
    losses.set_xlim(3, 2e-3)
    losses.set_ylim(0.04, 3)
    plain_ticks(losses.yaxis)
    losses.set_xlabel("train loss (falling to the right)")
    losses.set_ylabel("test loss")
    handles = [Line2D([], [], label=name, color=COLOURS[name]) for name in frames]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8)
    return Picture(
        figure,
        "Over-fitting, a line per run, running medians. Left: how far the test loss lies above its least value so far. "
        "Right: test loss against train loss as training goes on; grey: where both are equal. On all examples at the "
        "larger rates, and on few.",
        "Left: lines at zero that climb late, those of few examples soonest and highest, then 300 and 20-20. Right: "
        "every curve falls along the diagonal, leaves it, and those of few examples, 20-20 and 300 turn up.",
    )


@exhibit("tbl-overfitting", "overfitting")
def overfitting_table(found: Results) -> Table:
    """Tabulate `overfitting`: least and largest value of the runs."""
    lines = []
    for network, frames in (
        *((name, (at_source_rate(found.rows)[name], by_network(found.rows)[name])) for name in NETWORKS),
        (FEW, (few_examples(found.rows),)),
    ):
        for rows in frames:
            numbers = overfitting(rows)
            lines.append(
                {
                    "Network": network.replace(FEW, "300, few"),
                    "$\\eta$": f"{rows['learning_rate'].iloc[0]:g}",
                    "Train loss": format_range(numbers["train_loss"], 3),
                    "Test loss": format_range(numbers["test_loss"], 3),
                    "least at epoch": " to ".join(
                        dict.fromkeys(f"{epoch:,.0f}" for epoch in numbers["best_epoch"].agg(["min", "max"]))
                    ),
                    "ends above, %": format_range(100 * numbers["rise"], 1),
                    "Test error, %": format_range(numbers["test_error"], 1),
                    "ends above, points": format_range(numbers["error_rise"], 1),
                    "Over-fit": f"{numbers['overfits'].sum()} of {len(numbers)}",
                }
            )
    epochs, few = (
        int(overfitting(rows)["epochs"].max())
        for rows in (by_network(found.rows)[NETWORKS[0]], few_examples(found.rows))
    )
    frame = pd.DataFrame(lines).map(lambda cell: cell.replace(" to ", "–"))
    return Table(
        frame,
        f"After {count_words(epochs, 'epoch')}, on few examples {few:,.0f}: losses, the epoch of least test loss and "
        "how far it ends above that; test error and how far it ends above its own least; how many of the runs "
        f"over-fit: those whose test loss ends more than {format_percent(RISEN, 0)} above its least while the train "
        "loss has fallen. Running medians; least and largest value of the runs.",
        (12, 5, 14, 14, 16, 12, 12, 10, 9),
    )


@sketch("overfitting", alt="Late in training the test losses of 784-300-10 and 20-20 rise.")
def sketch_of_rise(axes: Axes, found: Results) -> None:
    frames = by_network(found.rows)
    for name in ("300", "20-20"):
        rise = _rise(_curves(frames[name], "test_loss"))
        axes.plot(rise.index, rise.mean(axis="columns"), color=COLOURS[name])
    axes.set_xscale("log")
    axes.set_xlim(left=1_000)
    axes.set_ylim(-1, 20)
    write_in(axes, 0.03, 0.82, "test loss above its least", INK)
    write_in(axes, 0.6, 0.5, "300", COLOURS["300"])
    write_in(axes, 0.8, 0.1, "20-20", COLOURS["20-20"])


# Findings


@finding("overfitting", headline=True)
def all_overfit_in_the_end(found: Results) -> Evidence:
    numbers = {name: overfitting(rows) for name, rows in by_network(found.rows).items()}
    slow = pd.concat([overfitting(rows) for rows in at_source_rate(found.rows).values()])
    wide, small, smallest = (numbers[name] for name in ("300", "20-20", "10-10"))
    turned = pd.concat([wide, small])
    return Evidence(
        f"In the loss yes, once they are trained far enough; in the error hardly. In {wide['epochs'].max():,.0f} "
        "epochs of gradient descent at the larger rates, the test loss of every run of 784-300-10 and of 20-20 "
        f"turns, and ends up to {format_percent(wide['rise'].max(), 0)} and {format_percent(small['rise'].max(), 0)} "
        f"above its least. The test error ends at most {turned['error_rise'].max():.1f} points above its own. 10-10 "
        f"is undecided, and at the source's rate, $\\eta = {SOURCE_RATE:g}$, no test loss turns.",
        {
            "all runs of 784-300-10 over-fit": bool(wide["overfits"].all()),
            "all runs of 20-20 over-fit": bool(small["overfits"].all()),
            "some but not all runs of 10-10 do": bool(0 < smallest["overfits"].mean() < 1),
            "the error rises by less than half a point in every run": bool(turned["error_rise"].max() < 0.5),
            "no run at the source's rate over-fits": not slow["overfits"].any(),
            "all have equal epochs": pd.concat([slow, *numbers.values()])["epochs"].nunique() == 1,
        },
        "Trained far enough, the test loss rises, the error hardly; at the source's rate, neither.",
    )


@finding("overfitting")
def threshold_decides_for_one(found: Results) -> Evidence:
    rises = {name: 100 * overfitting(rows)["rise"] for name, rows in by_network(found.rows).items()}
    clear = pd.concat([rises["300"], rises["20-20"]]).min()
    ends = join_english(f"{rise:.1f}" for rise in sorted(rises["10-10"]))
    return Evidence(
        f"A run counts as over-fitting if its test loss ends more than {format_percent(RISEN, 0)} above its least. "
        f"Any threshold below {math.floor(clear)} % gives 784-300-10 and 20-20 the same verdict, but not 10-10, "
        f"whose runs end {ends} % above.",
        {
            "the threshold lies below every rise of the two": bool(clear > 100 * RISEN),
            "and among those of the third": bool(rises["10-10"].min() < 100 * RISEN < rises["10-10"].max()),
        },
    )


@finding("overfitting")
def width_turns_further_on(found: Results) -> Evidence:
    networks = by_network(found.rows)
    wide, small = (overfitting(networks[name])["best_train_loss"] for name in ("300", "20-20"))
    return Evidence(
        "On all examples, 784-300-10 leaves the common course last: its test loss turns at a train loss of "
        f"{format_range(wide, 3)}. That of 20-20 turns already at {format_range(small, 3)}, and at a larger test "
        "loss. Hence having few weights does not protect from over-fitting.",
        {
            "every run of 20-20 turns at a larger train loss": bool(small.min() > wide.max()),
            "its least test loss is larger": _least(networks["20-20"]).min() > _least(networks["300"]).max(),
        },
    )


def _least(rows: pd.DataFrame) -> pd.Series[float]:
    """Each run's least test loss."""
    return smooth(_curves(rows, "test_loss")).min()


@finding("overfitting")
def slow_runs_have_not_come_so_far(found: Results) -> Evidence:
    """Compare progress as @sec-q6 does: by the learning rate times epochs."""
    slow = {name: overfitting(rows)["epochs"].max() for name, rows in at_source_rate(found.rows).items()}
    rates = {name: rows["learning_rate"].iloc[0] for name, rows in by_network(found.rows).items()}
    turned = {name: overfitting(rows)["best_epoch"].min() for name, rows in by_network(found.rows).items()}
    worth = {name: SOURCE_RATE / rates[name] * epochs for name, epochs in slow.items()}
    return Evidence(
        f"At $\\eta = {SOURCE_RATE:g}$ no network has come so far. If progress is $\\eta$ times epochs, as @sec-q6 "
        f"finds for 784-300-10, all its epochs there are worth {worth['300']:,.0f} at {rates['300']:g}, or for the "
        f"small networks {worth['20-20']:,.0f} at {rates['20-20']:g}. At these rates every run takes more to its "
        "least test loss.",
        {f"{name} turns later than that": bool(worth[name] < turned[name]) for name in worth},
    )


@finding("overfitting")
def gap_is_wide(found: Results) -> Evidence:
    rows = by_network(found.rows)["300"]
    train, test = (100 * (1 - smooth(_curves(rows, f"{part}_accuracy")).iloc[-1]) for part in TRAIN_TEST)
    return Evidence(
        "The gap between train and test error says more than this rise: 784-300-10 ends with "
        f"{format_range(test, 1)} % test error and at most {math.ceil(100 * train.max()) / 100:.2f} % train error.",
        {"the test error is more than ten times the train error": bool((test > 10 * train).all())},
    )


@finding("overfitting")
def contrast_overfits(found: Results) -> Evidence:
    runs = overfitting(few_examples(found.rows))
    every = overfitting(by_network(found.rows)["300"])
    return Evidence(
        f"On {FEW_EXAMPLES:,} examples, 784-300-10 over-fits sooner and more: its test loss is least at epoch "
        f"{runs['best_epoch'].min():,.0f} and ends {format_range(100 * runs['rise'], 0)} % above its least. There "
        f"the test error rises as well, by {format_range(runs['error_rise'], 1)} points.",
        {
            "every run over-fits": bool(runs["overfits"].all()),
            "sooner than on all examples": bool(runs["best_epoch"].max() < every["best_epoch"].min()),
            "and more": bool(runs["rise"].min() > every["rise"].max()),
            "at one epoch": runs["best_epoch"].nunique() == 1,
            "the error rises by more than a point": bool(runs["error_rise"].min() > 1),
        },
    )


@finding("overfitting")
def single_runs(found: Results) -> Evidence:
    runs = {rows["key"].nunique() for rows in at_source_rate(found.rows).values()}
    return Evidence(
        f"At $\\eta = {SOURCE_RATE:g}$ there is {count_words(max(runs), 'run')} of each network.",
        {"there is one run of each": runs == {1}},
    )


@statement("overfitting", said="As trained there, 784-300-10 over-fits mildly.")
def wide_network_overfits_mildly(found: Results) -> Evidence:
    wide = overfitting(at_source_rate(found.rows)["300"]).iloc[0]
    rate = by_network(found.rows)["300"]["learning_rate"].iloc[0]
    return Evidence(
        f"Not by our definition: at the source's $\\eta = {SOURCE_RATE:g}$ its test loss never turns. After "
        f"{wide['epochs']:,.0f} epochs it is at its least, {format_fixed(wide['test_loss'], 3)}. At $\\eta = "
        f"{rate:g}$ it does (@sec-q2).",
        {"it over-fits": bool(wide["overfits"])},
    )


@statement("overfitting", said="10-10 and 20-20, at $\\eta = 0.1$, over-fit mildly.")
def small_networks_overfit_mildly(found: Results) -> Evidence:
    slow = {name: overfitting(rows) for name, rows in at_source_rate(found.rows).items()}
    fast = {name: overfitting(rows)["overfits"] for name, rows in by_network(found.rows).items()}
    rate, ours = by_network(found.rows)["20-20"]["learning_rate"].iloc[0], slow["10-10"].iloc[0]
    return Evidence(
        f"By our definition neither does at that rate; at {rate:g}, {count_words(fast['20-20'].sum(), 'run')} of "
        f"20-20 and {count_words(fast['10-10'].sum())} of 10-10 do. The source's curves of 10-10 end near 0.29 and "
        f"0.40. Ours end at {format_fixed(ours['train_loss'], 2)} and {format_fixed(ours['test_loss'], 2)}.",
        {"both over-fit": bool(slow["10-10"]["overfits"].all() and slow["20-20"]["overfits"].all())},
    )
