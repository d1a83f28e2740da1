"""The findings of assignment 2."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from analysis import statistics
from analysis.claims import Evidence, claim
from analysis.question import adam_vs_sgd, minibatch
from analysis.results import Results
from analysis.tables import assignment2 as tables
from analysis.tables import interval, number, percent, power, rate_text, words

GOOD_ACCURACY = 0.97  # exercise 1: of the test set
GOOD_PASS = 0.90  # exercise 3: mean test accuracy of a pass
COLLAPSED = 0.2  # test accuracy below which little more than one class is recognised
RULE_OF_THUMB = 3e-4  # exercise 4: said to be Adam's best learning rate


@claim(
    "sec-minibatch",
    ("minibatch",),
    "Small batches need far fewer epochs: after {epochs}, each at its best rate, batches of {sizes} reach {least} to "
    "{most} test accuracy, gradient descent {gd}, and {gd_longer} after {longer} epochs.",
)
def minibatches_win(found: Results) -> Evidence:
    numbers = tables.minibatch_numbers(found.rows)
    constant = numbers[(numbers["decay"] == 0) & np.isfinite(numbers["batch"])].set_index("batch")
    accuracy = constant["accuracy"].map(lambda interval: interval.mean)
    good = accuracy[accuracy >= GOOD_ACCURACY]
    gd, longer = (numbers.loc[name, "accuracy"].mean for name in ("all", "all, longer"))
    return Evidence(
        bool({1, 4, 16, 128} <= set(good.index) and max(gd, longer) < GOOD_ACCURACY),
        {
            "epochs": f"{numbers['budget'].min():.0f}",
            "sizes": words(f"{size:,.0f}" for size in good.index),
            "least": percent(good.min()),
            "most": percent(good.max()),
            "gd": percent(gd),
            "gd_longer": percent(longer),
            "longer": f"{numbers['budget'].max():.0f}",
        },
    )


@claim(
    "sec-minibatch",
    ("minibatch",),
    "A single epoch with batches of {sizes} brings the train loss to {losses}, below the {gd} that gradient descent "
    "reaches in {longer}.",
)
def one_epoch_beats_gradient_descent(found: Results) -> Evidence:
    numbers = tables.minibatch_numbers(found.rows)
    first = numbers[(numbers["decay"] == 0) & np.isfinite(numbers["batch"])].set_index("batch")["first_loss"]
    gd = numbers.loc["all, longer", "train_loss"]
    below = first[first < gd]
    return Evidence(
        len(below) > 1,
        {
            "sizes": words(f"{size:,.0f}" for size in below.index),
            "losses": _between(below, 3) if len(below) else "none",
            "gd": number(gd, 3),
            "longer": f"{numbers['budget'].max():.0f}",
        },
    )


@claim(
    "sec-minibatch",
    ("minibatch",),
    "By the clock it depends on the program: in plain PyTorch an epoch takes {one} s with single examples, {best} s "
    "with batches of {size} and {all} s with one batch, as every update has an overhead; our kernel has next to none, "
    "so an epoch takes {least} to {most} s at every size, and the order by time is that by epochs.",
)
def overhead_decides_the_time(found: Results) -> Evidence:
    numbers = tables.minibatch_numbers(found.rows)
    ours = numbers.loc[numbers["decay"] == 0, "epoch_seconds"]
    plain = tables.plain_epoch(found.programs["plain_seconds"])
    return Evidence(
        bool(plain[1] > 5 * plain.min() and ours.max() < 2 * ours.min()),
        {
            "one": number(plain[1], 1),
            "best": number(plain.min(), 1),
            "size": f"{plain.idxmin():,}",
            "all": number(plain.iloc[-1], 1),
            "least": number(ours.min(), 2),
            "most": number(ours.max(), 2),
        },
    )


@claim(
    "sec-minibatch",
    ("minibatch",),
    "784-300-10 shows none of this: it fits the training examples so well in the end that their gradients nearly "
    "vanish together, and the noise dies out by itself. Trained on single examples, with constant, slowly and fast "
    "decreasing rates its train loss ends at {losses} and its test accuracy at {accuracies}.",
)
def constant_rates_suffice_where_all_is_fitted(found: Results) -> Evidence:
    ends = tables.schedules(found.rows, "300")
    loss, accuracy = ends["train_loss"].mean(), ends["test_accuracy"].mean()
    return Evidence(
        bool(loss.idxmin() == "constant" and loss["constant"] < 0.01),
        {
            "losses": words(number(value, 4) for value in loss),
            "accuracies": words(percent(value, 2) for value in accuracy),
        },
    )


@claim(
    "sec-minibatch",
    ("minibatch",),
    "In a network too small for that, 784-{hidden}-10, the noise stays: at the largest rate tried, $\\eta = {rate}$, "
    "the three end at train losses of {losses} and test accuracies of {accuracies}. A decreasing rate thus forgives a "
    "first rate that is too large; each at its best rate, no difference in test accuracy can be told ({slow} and "
    "{fast} points in favour of the decreasing ones; paired, {seeds} seeds).",
)
def decreasing_rates_quench_noise(found: Results) -> Evidence:
    rate = max(minibatch.NARROW_RATES)
    ends = tables.schedules(found.rows, tables.NARROW, rate)
    loss = ends["train_loss"].mean()
    best = tables.schedules(found.rows, tables.NARROW)["test_accuracy"]
    gaps = {
        schedule: statistics.paired_t(best[schedule], best["constant"]).difference
        for schedule in ("slow", "fast")
    }
    return Evidence(
        bool(loss["fast"] < loss["slow"] < loss["constant"])
        and all(abs(gap.mean) < gap.half for gap in gaps.values()),
        {
            "hidden": tables.NARROW,
            "rate": f"{rate:g}",
            "losses": words(number(value, 3) for value in loss),
            "accuracies": words(percent(value) for value in ends["test_accuracy"].mean()),
            **{schedule: interval(gap, 2, "") for schedule, gap in gaps.items()},
            "seeds": str(len(best)),
        },
    )


@claim(
    "sec-constant-start",
    ("constant_init",),
    "The hidden units stay identical, so the network can do no more than one with a single hidden unit: in all {runs} "
    "runs the largest distance between two units is exactly 0 at every measurement; the train loss of SGD ends at "
    "{stuck} or more, about where networks that do have one unit end ({one} at their best rates), whereas from a "
    "random start it ends at {random}.",
)
def units_stay_identical(found: Results) -> Evidence:
    named = tables.named_starts(found.rows)
    constant = named[named["init"] == "constant"]
    distance = constant.loc[constant["metric"] == "unit_distance", "value"]
    final = statistics.last(named[named["method"] == "SGD"], "train_loss", ["start", "activation", "seed"])
    means = final.groupby(["start", "activation"]).mean()
    stuck = means.drop(["random", "one unit"], level="start")
    return Evidence(
        bool(
            (distance == 0).all()
            and stuck.min() > 0.9 * means["one unit"].min()
            and final["random"].max() < 0.3
        ),
        {
            "runs": str(constant["key"].nunique()),
            "stuck": number(stuck.min(), 2),
            "one": _between(means["one unit"], 2),
            "random": _between(means["random"], 2),
        },
    )


@claim(
    "sec-constant-start",
    ("constant_init", "label_sorted_stream"),
    "Measured: from 0, with tanh and ReLU, the gradient of the hidden layer is exactly 0 at every measurement, and the "
    "train loss ends at {losses} under GD and SGD, next to $H = {entropy}$ and just below $\\ln 10 = {chance}$.",
)
def zero_moves_the_bias_only(found: Results, stream: Results) -> Evidence:
    named = tables.named_starts(found.rows)
    dead = named[(named["start"] == "0") & named["activation"].isin(["tanh", "relu"])]
    hidden = dead.loc[(dead["metric"] == "gradient_norm") & (dead["index"] == 1), "value"]
    losses = statistics.last(dead, "train_loss", ["method", "activation", "seed"])
    entropy = tables.label_entropy(stream.programs["labels"]["label_sorted"])
    return Evidence(
        bool((hidden == 0).all() and (losses - entropy).between(-1e-4, 0.01).all()),
        {
            "losses": _between(losses, 4),
            "entropy": number(entropy, 4),
            "chance": number(float(np.log(10)), 4),
        },
    )


@claim(
    "sec-constant-start",
    ("constant_init",),
    "From 0.1 and 1 the networks do not get so far: the train loss ends at {least} to {most}, where guessing gives "
    "$\\ln 10 = {chance}$, and at most {best} of the test examples are recognised, as 300 equal steps add up and "
    "overshoot.",
)
def large_constants_fail(found: Results) -> Evidence:
    numbers = tables.constant_numbers(found.rows)
    large = numbers[numbers.index.get_level_values("start").isin(["0.1", "1"])]
    return Evidence(
        bool((large["train_loss"] > 2.2).all() and (large["test_accuracy"] < COLLAPSED).all()),
        {
            "least": number(large["train_loss"].min(), 2),
            "most": number(large["train_loss"].max(), 2),
            "chance": number(float(np.log(10)), 3),
            "best": percent(large["test_accuracy"].max(), 0),
        },
    )


@claim(
    "sec-sorted",
    ("label_sorted_stream",),
    "It was seen to converge only at rates so small that a whole pass makes one small step. Of {count} rates from "
    "{low} to {high}, SGD exceeds {good} test accuracy with those from {sgd_low} to {sgd_high} (mean over the last of "
    "{passes} passes), the sorted stream {most} with none; it answers with the label of the moment.",
)
def sorted_needs_small_rates(found: Results) -> Evidence:
    window = tables.stream_window(found.rows)
    means = tables.stream_ends(window)["test"].groupby(["order", "learning_rate"]).mean()
    sgd, most = means["shuffled"], means["label_sorted"].max()
    good = sgd.index[sgd > GOOD_PASS]
    limit = math.ceil(20 * most) / 20  # the next multiple of 5 %
    return Evidence(
        bool(len(good) > 3 and limit < 0.5),
        {
            "count": str(len(sgd)),
            "low": rate_text(sgd.index.min()),
            "high": rate_text(sgd.index.max()),
            "good": percent(GOOD_PASS, 0),
            "sgd_low": rate_text(good.min()),
            "sgd_high": rate_text(good.max()),
            "passes": f"{window['epoch'].max():.0f}",
            "most": percent(limit, 0),
        },
    )


@claim(
    "sec-sorted",
    ("label_sorted_stream",),
    "With {rates} it does converge, but as slowly as gradient descent with the rates $\\eta n$ = {steps} ($n$ = "
    "{examples}): after {passes} passes it has {sorted} test accuracy and gradient descent {gd}, less than the {sgd} "
    "that SGD at its best rate has on average over its first pass.",
)
def sorted_follows_gradient_descent(found: Results) -> Evidence:
    slow = tables.slow_stream(found.rows)
    accuracy = tables.slow_ends(found.rows)["test_accuracy"].groupby(["step", "method"]).mean().unstack()
    rates = sorted(slow.loc[slow["method"] == "label_sorted", "learning_rate"].unique())
    window = tables.stream_window(found.rows)
    best = tables.stream_best(tables.stream_ends(window))["shuffled"]
    first = tables.pass_means(window)["shuffled", best].xs(1, level="pass").mean()
    return Evidence(
        bool(
            (accuracy["gd"] - accuracy["label_sorted"]).abs().max() < 0.05
            and accuracy["label_sorted"].between(0.5, first).all()
        ),
        {
            "rates": words(rate_text(rate) for rate in rates),
            "steps": words(f"{step:g}" for step in accuracy.index),
            "examples": f"{accuracy.index[0] / rates[0]:,.0f}",
            "passes": f"{slow['epoch'].max():.0f}",
            "sorted": words(percent(value) for value in accuracy["label_sorted"]),
            "gd": words(percent(value) for value in accuracy["gd"]),
            "sgd": percent(first),
        },
    )


@claim(
    "sec-sorted",
    ("label_sorted_stream",),
    "For the training set, $n_0, \\dots, n_9$ are {counts}: $10^{{{logarithm}}}$ sequences.",
)
def number_of_orders(found: Results) -> Evidence:
    labels = found.programs["labels"]
    counts = labels["label_sorted"].value_counts().sort_index()
    return Evidence(
        bool(
            labels["label_sorted"].is_monotonic_increasing
            and counts.equals(labels["shuffled"].value_counts().sort_index().rename("count"))
        ),
        {
            "logarithm": f"{tables.orderings(labels['label_sorted']):.1f}",
            "counts": words(f"{count:,}" for count in counts),
        },
    )


@claim(
    "sec-sorted",
    ("label_sorted_stream",),
    "No: each at its best rate, it is {sorted} on average over the last of {passes} passes of the sorted stream and "
    "{end} at its end, against {sgd} for SGD, {gap} points more than that average (paired over {seeds} seeds); within "
    "that pass it swings between {least} and {most}. At the small rates, {late} after {many} passes is the most.",
)
def sorted_is_worse(found: Results) -> Evidence:
    ends = tables.stream_ends(tables.stream_window(found.rows))
    best = tables.stream_best(ends)
    runs = {order: ends.loc[(order, rate)] for order, rate in best.items()}
    gap = statistics.paired_t(runs["shuffled"]["test"], runs["label_sorted"]["test"]).difference
    means = runs["label_sorted"].mean()
    late = tables.slow_ends(found.rows)["test_accuracy"].groupby(["method", "step"]).mean()
    return Evidence(
        bool(gap.mean > 0.01 and not gap.mean <= gap.half),
        {
            "passes": f"{tables.stream_window(found.rows)['epoch'].max():.0f}",
            "many": f"{tables.slow_stream(found.rows)['epoch'].max():.0f}",
            "late": percent(late["label_sorted"].max()),
            "sorted": percent(means["test"]),
            "end": percent(means["end"]),
            "sgd": percent(runs["shuffled"]["test"].mean()),
            "gap": interval(gap, 1, ""),
            "seeds": str(gap.n),
            "least": percent(means["least"]),
            "most": percent(means["most"]),
        },
    )


@claim(
    "sec-sorted",
    ("label_sorted_stream",),
    "At $\\eta = {rate}$, {own} of a class's test examples are recognised at the end of its own block, and {next} one "
    "block later.",
)
def forgetting(found: Results) -> Evidence:
    table = tables.recalled(found.rows, found.programs["labels"])
    own, later = table["own"].mean(), table["next"].mean()
    return Evidence(
        bool(own > 0.8 and later < own / 2),
        {
            "rate": f"{tables.looked_into(found.rows)['learning_rate'].iloc[0]:g}",
            "own": percent(own),
            "next": percent(later),
        },
    )


@claim(
    "sec-sorted",
    ("label_sorted_stream",),
    "Measured along both passes (@fig-pass, below), the cosine of the next example's gradient with $\\nabla R$ is "
    "{sorted} on average on the sorted stream and negative in {sorted_share} of the measurements, against {sgd} and "
    "{sgd_share} for shuffled examples.",
)
def running_gradient_is_biased(found: Results) -> Evidence:
    rows = tables.looked_into(found.rows)
    cosines = rows[rows["metric"] == "gradient_cosine"].groupby("order")["value"]
    mean, share = cosines.mean(), cosines.agg(lambda values: (values < 0).mean())
    return Evidence(
        bool(mean["label_sorted"] < 0 < mean["shuffled"]),
        {
            "sorted": number(mean["label_sorted"], 2),
            "sorted_share": percent(share["label_sorted"], 0),
            "sgd": number(mean["shuffled"], 2),
            "sgd_share": percent(share["shuffled"], 0),
        },
    )


@claim(
    "sec-adam",
    ("adam_vs_sgd",),
    "Adam is less sensitive to the learning rate, faster and slightly more accurate: each at its best rate "
    "({adam_rate} for Adam, {sgd_rate} for SGD), it reaches {adam} test accuracy after {epochs} epochs and SGD {sgd}, "
    "a difference of {gap} points (paired over {seeds} seeds, p = {p}).",
)
def adam_is_ahead(found: Results) -> Evidence:
    best = tables.best_optimizers(found.rows)
    test = _optimizer_tests(found.rows)["optimizers"]
    by_optimizer = best.groupby("optimizer")
    return Evidence(
        test.difference.mean > 0
        and test.p < 0.05
        and adam_is_less_sensitive(found).holds
        and adam_is_faster(found).holds,
        {
            **{
                f"{optimizer}_rate": f"{rate:g}"
                for optimizer, rate in by_optimizer["learning_rate"].first().items()
            },
            **{
                str(optimizer): percent(value, 2)
                for optimizer, value in by_optimizer["test_accuracy"].mean().items()
            },
            "epochs": f"{found.rows['epoch'].max():.0f}",
            "gap": interval(test.difference, 2, ""),
            "seeds": str(test.difference.n),
            "p": power(test.p),
        },
    )


@claim(
    "sec-adam",
    ("adam_vs_sgd",),
    "Of the {count} rates from {low} to {high}, test accuracy lies within one point of the best at {adam} for Adam and "
    "at {sgd} for SGD; it exceeds 90 % over {adam_decades} decades of rates for Adam and {sgd_decades} for SGD.",
)
def adam_is_less_sensitive(found: Results) -> Evidence:
    numbers = tables.optimizer_numbers(found.rows)
    means = {optimizer: tables.accuracies(numbers, optimizer) for optimizer in tables.OPTIMIZERS}
    near = {optimizer: tables.window(values).index for optimizer, values in means.items()}
    usable = {
        optimizer: tables.decades(values.index[values > 0.9]) if (values > 0.9).any() else 0.0
        for optimizer, values in means.items()
    }
    rates = adam_vs_sgd.LEARNING_RATES
    return Evidence(
        len(near["adam"]) > len(near["sgd"]) and usable["adam"] > usable["sgd"],
        {
            "count": str(len(rates)),
            "low": rate_text(min(rates)),
            "high": rate_text(max(rates)),
            **{optimizer: words(map(rate_text, rates)) for optimizer, rates in near.items()},
            **{f"{optimizer}_decades": f"{value:.1f}" for optimizer, value in usable.items()},
        },
    )


@claim(
    "sec-adam",
    ("adam_vs_sgd",),
    "At the best rates, Adam takes {adam_95} epochs to 95 % and {adam_97} to 97 % test accuracy on average, SGD "
    "{sgd_95} and {sgd_97}.",
)
def adam_is_faster(found: Results) -> Evidence:
    epochs = tables.best_optimizers(found.rows).groupby("optimizer")[["epochs_95", "epochs_97"]].mean()
    return Evidence(
        bool((epochs.loc["adam"] < epochs.loc["sgd"]).all()),
        {
            f"{optimizer}_{threshold}": f"{epochs.loc[optimizer, f'epochs_{threshold}']:.1f}"
            for optimizer in tables.OPTIMIZERS
            for threshold in ("95", "97")
        },
    )


@claim(
    "sec-adam",
    ("adam_vs_sgd",),
    "The lead has the same sign for every seed ({least} to {most} points) and shrinks, from {early} points after one "
    "epoch to {late} in the end; over the last five epochs SGD's error still falls by {sgd} points, Adam's by {adam}: "
    "the lead is partly one of speed.",
)
def adams_lead_shrinks(found: Results) -> Evidence:
    best = tables.best_optimizers(found.rows).pivot(index="seed", columns="optimizer")
    final, first = best["test_accuracy"], best["first"]
    lead, early = final["adam"] - final["sgd"], first["adam"] - first["sgd"]
    rows = statistics.at_best_rates(found.rows, ["optimizer"])
    before = statistics.last(
        rows[rows["epoch"] <= rows["epoch"].max() - 5], "test_accuracy", ["optimizer", "seed"]
    )
    gained = final.mean() - before.groupby("optimizer").mean()
    return Evidence(
        bool((lead > 0).all() and lead.mean() < early.mean() and gained["sgd"] > gained["adam"]),
        {
            "least": number(100 * lead.min(), 2),
            "most": number(100 * lead.max(), 2),
            "early": number(100 * early.mean(), 2),
            "late": number(100 * lead.mean(), 2),
            **{optimizer: number(100 * gained[optimizer], 2) for optimizer in tables.OPTIMIZERS},
        },
    )


@claim(
    "sec-adam",
    ("adam_vs_sgd",),
    "That {rule} is Adam's best rate is refuted here: it ends at {accuracy}, {behind} points behind {best} (p = {p}).",
)
def rule_of_thumb_is_not_best(found: Results) -> Evidence:
    test = _optimizer_tests(found.rows)["rule"]
    numbers = tables.accuracies(tables.optimizer_numbers(found.rows), "adam")
    best = statistics.best_rates(found.rows, ["optimizer"])["adam"]
    return Evidence(
        test.difference.mean > 0 and test.p < 0.05,
        {
            "rule": rate_text(RULE_OF_THUMB),
            "accuracy": percent(numbers[RULE_OF_THUMB], 2),
            "behind": interval(test.difference, 2, ""),
            "best": f"{best:g}",
            "p": power(test.p),
        },
    )


def _optimizer_tests(rows: pd.DataFrame) -> dict[str, statistics.Paired]:
    """Adam's lead over SGD, each at its best rate, and that of its best rate over the rule of thumb."""
    best = tables.best_optimizers(rows).pivot(index="seed", columns="optimizer", values="test_accuracy")
    final = statistics.last(rows, "test_accuracy", ["optimizer", "learning_rate", "seed"])
    return statistics.compared(
        {
            "optimizers": (best["adam"], best["sgd"]),
            "rule": (best["adam"], final.loc["adam", RULE_OF_THUMB]),
        }
    )


def _between(values: pd.Series[float], digits: int) -> str:
    """From the least to the largest: 2.3012 to 2.3024."""
    least, most = number(values.min(), digits), number(values.max(), digits)
    return f"{least} to {most}" if least != most else least
