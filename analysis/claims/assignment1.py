"""The findings of assignment 1."""

from __future__ import annotations

import pandas as pd

from analysis import statistics
from analysis.claims import Evidence, claim
from analysis.engine.run import CLASSES
from analysis.question import curves, exercise1, gradient_descent, learning_rate, published
from analysis.results import Results
from analysis.tables import assignment1 as tables
from analysis.tables import interval, number, percent, power, words

CHANCE = 0.1  # test accuracy of guessing
EDGE_EPOCH = 150  # Q6: when the first transients are over
SINGLE, ONE_HOT = "single output, quadratic", "one-hot, quadratic"  # encodings with the same loss
NAMED = {"ten": "10-10", "twenty": "20-20", "wide": "300"}  # the networks whose β the text names


@claim(
    "sec-exercise-1",
    ("exercise1",),
    "The completed program reaches {accuracy} test accuracy after {epochs} epochs with $\\eta = {rate}$; its "
    "training loss falls at every epoch, from {first} to {last}.",
)
def exercise1_accuracy(found: Results) -> Evidence:
    rows = found.programs["program"]
    losses = rows.loc[rows["metric"] == "train_loss", "value"]
    final = rows[rows["metric"] == "test_accuracy"].iloc[-1]
    return Evidence(
        bool((losses.diff().dropna() < 0).all() and final["value"] > 0.85),
        {
            "accuracy": percent(final["value"], 2),
            "epochs": f"{final['epoch']:.0f}",
            "rate": f"{exercise1.LEARNING_RATE:g}",
            "first": number(losses.iloc[0], 3),
            "last": number(losses.iloc[-1], 3),
        },
    )


@claim(
    "sec-q1",
    ("gradient_descent",),
    "The step is that of the full gradient, measured in double precision: it is $-\\eta \\nabla R(w)$ up to a "
    "relative deviation of {optimizer_step}; $\\nabla R(w)$ is the size-weighted mean of the gradients of all batches "
    "of {batch} up to {weighted_batches}, and shuffling the examples changes it by {shuffled}; the gradient of one "
    "such batch alone is off by {one_batch}.",
)
def gradient_descent_is_full(found: Results) -> Evidence:
    deviation = found.programs["checks"].set_index("check")["deviation"]
    exact = deviation.drop("one_batch")
    return Evidence(
        bool((exact < 1e-12).all() and deviation["one_batch"] > 0.01),
        {
            **{str(check): power(value) for check, value in exact.items()},
            "one_batch": percent(deviation["one_batch"], 0),
            "batch": str(gradient_descent.BATCH_SIZE),
        },
    )


@claim(
    "sec-q2",
    ("curves",),
    "No: at the last epoch the mean gap test − train is {gaps} for {names} ({seeds} seeds), in no run more than "
    "{share} of the test loss; in the {spikes} of {runs} runs whose test loss ends more than 1 % above its least "
    "value (by up to {rise}), the train loss has risen with it, which is instability and not over-fitting.",
)
def no_overfitting(found: Results) -> Evidence:
    networks = {name: tables.overfitting_numbers(rows) for name, rows in tables.networks(found.rows).items()}
    runs = pd.concat(networks.values())
    share = float((runs["gap"] / runs["test_loss"]).max())
    spikes = runs[runs["rise"] > 0.01]
    return Evidence(
        bool(share < 0.1 and (spikes["train_loss"] > spikes["best_train_loss"]).all()),
        {
            "gaps": words(number(numbers["gap"].mean(), 3) for numbers in networks.values()),
            "names": words(networks),
            "seeds": str(found.rows["seed"].nunique()),
            "share": percent(share),
            "spikes": str(len(spikes)),
            "runs": str(len(runs)),
            "rise": percent(float(runs["rise"].max()), 0),
        },
    )


@claim(
    "sec-q2",
    ("curves",),
    "For contrast, 784-300-10 trained on {examples} examples only does over-fit: its test loss is least at epoch "
    "{best} and then rises by {rise}, while its train loss falls to {train}.",
)
def contrast_overfits(found: Results) -> Evidence:
    numbers = tables.overfitting_numbers(tables.few_examples(found.rows))
    mean = numbers.mean()
    return Evidence(
        bool(numbers["rise"].min() > 0.02 and (numbers["train_loss"] < numbers["best_train_loss"]).all()),
        {
            "examples": f"{curves.FEW_EXAMPLES:,}",
            "best": f"{mean['best_epoch']:,.0f}",
            "rise": percent(mean["rise"], 0),
            "train": number(mean["train_loss"], 4),
        },
    )


@claim(
    "sec-q3",
    ("capacity",),
    "They lower the bias, but the variance hardly pays for it: from width {narrow} to {wide}, with {examples} training "
    "examples, bias² falls from {first_bias} to {last_bias}, and the variance, largest at width {peak}, falls from "
    "{most_variance} to {least_variance} at width {bottom} and ends at {last_variance}. Classical theory's rise of the "
    "test error is all but absent.",
)
def variance_hardly_pays(found: Results) -> Evidence:
    parts = tables.decomposition(found)
    examples = parts["examples"].max()
    shallow = _shallow(parts, examples)
    bias, variance = shallow["bias2"], shallow["variance"]
    rises = [_rise(_shallow(parts, size)["squared_error"]) for size in parts["examples"].unique()]
    return Evidence(
        bool(bias.idxmin() == bias.index[-1] and variance.iloc[-1] < variance.max() / 2 and max(rises) < 0.1),
        {
            "narrow": str(bias.index[0]),
            "wide": f"{bias.index[-1]:,}",
            "examples": f"{examples:,}",
            "first_bias": number(bias.iloc[0], 3),
            "last_bias": number(bias.iloc[-1], 3),
            "peak": str(variance.idxmax()),
            "most_variance": number(variance.max(), 3),
            "least_variance": number(variance.min(), 3),
            "bottom": f"{variance.idxmin():,}",
            "last_variance": number(variance.iloc[-1], 3),
        },
    )


@claim(
    "sec-q3",
    ("capacity",),
    "Confirmed: training error falls with width, to below {train} at width {wide} whatever the number of examples, and "
    "bias² with it. Not confirmed: an optimum at moderate capacity. With {few} examples there is a trace of it: from "
    "width {bottom} to {wide}, bias² + variance rises by {rise} and test error by {error_rise} points (paired, {sets} "
    "training sets); with {more} and {most} examples the widest network is the best of one hidden layer.",
)
def no_optimum_at_moderate_capacity(found: Results) -> Evidence:
    parts, runs = tables.decomposition(found), tables.capacity_runs(found)
    few, more, most = parts["examples"].min(), parts["examples"].max(), runs["examples"].max()
    sizes = {size: _shallow(parts, size)["squared_error"] for size in (few, more)}
    accuracy = {size: _accuracies(runs, size) for size in (few, more, most)}
    wide = accuracy[few].columns[-1]
    bottom = sizes[few].idxmin()
    fall = statistics.paired_t(accuracy[few][bottom], accuracy[few][wide]).difference
    train = 1 - runs[(runs["depth"] == 1) & (runs["hidden"] == str(wide))]["train_accuracy"]
    return Evidence(
        bool(
            train.groupby(runs["examples"]).mean().max() < 0.005
            and 0 < _rise(sizes[few]) < 0.1
            and sizes[more].idxmin() == wide
            and all(accuracy[size].mean().idxmax() == wide for size in (more, most))
        ),
        {
            "train": percent(0.005),
            "wide": f"{wide:,}",
            "few": f"{few:,}",
            "bottom": f"{bottom:,}",
            "rise": percent(_rise(sizes[few])),
            "error_rise": interval(fall, 2, ""),
            "sets": str(fall.n),
            "more": f"{more:,}",
            "most": f"{most:,}",
        },
    )


@claim(
    "sec-q3",
    ("capacity",),
    "Depth trades bias for variance: with {examples} examples, a second and a third hidden layer of {wide} units take "
    "bias² from {wide_bias} and variance from {wide_variance}, and the second lowers the test error by {second} "
    "points; layers of {narrow} units, a bottleneck that is hard to train, raise bias² from {narrow_bias}.",
)
def depth_trades_bias_for_variance(found: Results) -> Evidence:
    parts, runs = tables.decomposition(found), tables.capacity_runs(found)
    examples = parts["examples"].max()
    by_network = parts[parts["examples"] == examples].set_index("hidden")
    chosen = {
        width: by_network.loc[["-".join([width] * depth) for depth in (1, 2, 3)], ["bias2", "variance"]]
        for width in ("4", "300")
    }
    accuracy = runs[runs["examples"] == examples].pivot(
        index="replicate", columns="hidden", values="test_accuracy"
    )
    second = statistics.paired_t(accuracy["300-300"], accuracy["300"])
    wide, narrow = chosen["300"], chosen["4"]
    return Evidence(
        bool(
            wide["bias2"].is_monotonic_decreasing
            and wide["variance"].is_monotonic_increasing
            and narrow["bias2"].is_monotonic_increasing
            and second.difference.mean > second.difference.half
        ),
        {
            "examples": f"{examples:,}",
            "wide": "300",
            "wide_bias": _then(wide["bias2"]),
            "wide_variance": _then(wide["variance"]),
            "second": interval(second.difference, 2, ""),
            "narrow": "4",
            "narrow_bias": _then(narrow["bias2"]),
        },
    )


@claim(
    "sec-q3",
    ("capacity",),
    "More examples act on both: from {few} to {more}, the variance of 784-300-10 falls from {few_variance} to "
    "{more_variance} and its bias² from {few_bias} to {more_bias}.",
)
def more_examples_lower_both(found: Results) -> Evidence:
    parts = tables.decomposition(found)
    of_300 = parts[parts["hidden"] == "300"].set_index("examples").sort_index()
    few, more = of_300.iloc[0], of_300.iloc[-1]
    return Evidence(
        bool(len(of_300) > 1 and more["variance"] < few["variance"] and more["bias2"] < few["bias2"]),
        {
            "few": f"{of_300.index[0]:,}",
            "more": f"{of_300.index[-1]:,}",
            **{
                f"{size}_{part}": number(row[column], 3)
                for size, row in (("few", few), ("more", more))
                for part, column in (("variance", "variance"), ("bias", "bias2"))
            },
        },
    )


@claim(
    "sec-q3",
    ("capacity",),
    "It picks 784-{chosen}-10 (β = {beta}), with {accuracy} validation accuracy; the best, 784-{best}-10, has "
    "{best_accuracy}, and 784-300-10 {used}.",
)
def architecture_by_rule(found: Results) -> Evidence:
    networks = tables.architectures(found)
    accuracy = networks["validation_accuracy"]
    chosen = accuracy.index[accuracy >= accuracy.max() - tables.MARGIN][0]
    return Evidence(
        bool(accuracy["300"] >= accuracy.max() - tables.MARGIN),
        {
            "chosen": str(chosen),
            "beta": f"{networks.loc[chosen, 'beta']:,.0f}",
            "accuracy": percent(accuracy[chosen], 2),
            "best": str(accuracy.idxmax()),
            "best_accuracy": percent(accuracy.max(), 2),
            "used": percent(accuracy["300"], 2),
        },
    )


def _shallow(parts: pd.DataFrame, examples: int) -> pd.DataFrame:
    """The decompositions of one hidden layer; index: its width."""
    chosen = parts[(parts["examples"] == examples) & (parts["depth"] == 1)]
    return chosen.set_index(chosen["hidden"].astype(int)).sort_index()


def _accuracies(runs: pd.DataFrame, examples: int) -> pd.DataFrame:
    """Test accuracies of one hidden layer; index: replicate, columns: its width."""
    chosen = runs[(runs["examples"] == examples) & (runs["depth"] == 1)]
    wide = chosen.assign(width=chosen["hidden"].astype(int))
    return wide.pivot(index="replicate", columns="width", values="test_accuracy").sort_index(axis="columns")


def _rise(over_width: pd.Series[float]) -> float:
    """How far the last value lies above the least, relative to it."""
    return float(over_width.iloc[-1] / over_width.min() - 1)


def _then(values: pd.Series[float]) -> str:
    """A first value and those that follow: 0.065 to 0.057 and 0.054."""
    first, *others = (number(value, 3) for value in values)
    return f"{first} to {words(others)}"


@claim(
    "sec-q3",
    ("parameters",),
    "$\\beta$ is {ten} for 784-10-10-10, {twenty} for 784-20-20-10 and {wide} for 784-300-10, and agrees with the "
    "tensors of all {count} networks that were built.",
)
def parameters_counted(found: Results) -> Evidence:
    table = found.programs["count"].set_index("hidden")
    beta = {name: f"{table.loc[hidden, 'beta']:,}" for name, hidden in NAMED.items()}
    return Evidence(bool((table["beta"] == table["counted"]).all()), {**beta, "count": str(len(table))})


@claim(
    "sec-q4",
    ("losses",),
    "Because its gradient does not vanish where the network is wrong: after {epochs} epochs, each loss at its own best "
    "learning rate, 784-300-10 has {reference} test accuracy with cross entropy, {softmax_gap} points more than with "
    "the quadratic loss of softmax outputs and {sigmoid_gap} more than with that of sigmoid outputs (95 % intervals "
    "over {seeds} shared seeds; p ≤ {p}).",
)
def cross_entropy_trains_better(found: Results) -> Evidence:
    numbers = tables.loss_numbers(found.rows)
    behind = tables.behind_cross_entropy(numbers)
    accuracy = numbers.groupby("name")["test_accuracy"].mean()
    return Evidence(
        all(test.difference.mean > 0 and test.p < 0.05 for test in behind.values()),
        {
            "epochs": f"{tables.trained_losses(found.rows)['epoch'].max():.0f}",
            "reference": percent(accuracy["cross entropy"]),
            "softmax_gap": interval(behind["quadratic, softmax"].difference, 1, ""),
            "sigmoid_gap": interval(behind["quadratic, sigmoid"].difference, 1, ""),
            "seeds": str(numbers["seed"].nunique()),
            "p": power(max(test.p for test in behind.values())),
        },
    )


@claim(
    "sec-q4",
    ("losses",),
    "With the bias of one output raised by {bias}, the first gradient has norm {reference} with cross entropy but "
    "{softmax} with the quadratic loss of softmax, {factor} times less; after one epoch from there the test accuracy "
    "is {reference_accuracy} and {softmax_accuracy}.",
)
def quadratic_gradient_vanishes_when_wrong(found: Results) -> Evidence:
    gradients = tables.first_gradients(found.rows)
    norms = gradients[gradients["bias"] == gradients["bias"].max()].groupby("name")["norm"].mean()
    reference, softmax = norms["cross entropy"], norms["quadratic, softmax"]
    trained = tables.trained_losses(found.rows)
    one = trained[(trained["bias"] > 0) & (trained["epoch"] == 1) & (trained["metric"] == "test_accuracy")]
    accuracy = one.groupby("name")["value"].mean()
    return Evidence(
        bool(reference > 100 * softmax and accuracy["cross entropy"] > accuracy["quadratic, softmax"] + 0.2),
        {
            "bias": f"{gradients['bias'].max():g}",
            "reference": number(reference, 1),
            "softmax": number(softmax, 4),
            "factor": f"{float(f'{reference / softmax:.1g}'):,.0f}",
            "reference_accuracy": percent(accuracy["cross entropy"], 0),
            "softmax_accuracy": percent(accuracy["quadratic, softmax"], 0),
        },
    )


@claim(
    "sec-q4",
    ("losses",),
    "The quadratic losses cannot make up for it by larger steps: from $\\eta = {rate}$ on they end within {most} of "
    "{chance} accuracy, with outputs that sit in the wrong corner (softmax, training loss {softmax}) or all at 0 "
    "(sigmoid, {sigmoid}), whereas cross entropy still reaches {reference} with $\\eta = {rate}$.",
)
def quadratic_losses_are_stuck(found: Results) -> Evidence:
    rows = tables.named_losses(found.rows[found.rows["epochs"] == found.rows["epochs"].max()])
    usual = rows[rows["bias"] == 0]
    accuracy = statistics.last(usual, "test_accuracy", ["name", "learning_rate", "seed"])
    loss = statistics.last(usual, "train_loss", ["name", "learning_rate", "seed"])
    means = accuracy.groupby(["name", "learning_rate"]).mean().unstack("name")
    numbers = tables.loss_numbers(found.rows)
    best = numbers.loc[numbers["name"] != "cross entropy", "learning_rate"].max()
    quadratic = means.loc[means.index > best].drop(columns="cross entropy")
    rate = quadratic.index.min()
    stuck = loss[loss.index.get_level_values("learning_rate") > best].groupby("name").mean()
    deviation = float((quadratic - CHANCE).abs().max(axis=None))
    return Evidence(
        bool(
            deviation < 0.02
            and means.loc[rate, "cross entropy"] > 0.9
            and abs(stuck["quadratic, softmax"] - (1 - CHANCE)) < 0.01
            and abs(stuck["quadratic, sigmoid"] - 0.5) < 0.01
        ),
        {
            "rate": f"{rate:g}",
            "most": f"{100 * deviation:.1f} points",
            "chance": percent(CHANCE, 0),
            "softmax": number(stuck["quadratic, softmax"], 2),
            "sigmoid": number(stuck["quadratic, sigmoid"], 2),
            "reference": percent(means.loc[rate, "cross entropy"]),
        },
    )


@claim(
    "sec-q4",
    ("published",),
    "With smaller batches ({batch}) and twice the epochs, 784-300-10 reaches {accuracy} test accuracy with the "
    "quadratic loss of sigmoid outputs.",
)
def quadratic_comes_close(found: Results) -> Evidence:
    rows = found.rows[(found.rows["hidden"] == "300") & (found.rows["loss"] == "quadratic")]
    accuracy = statistics.t_interval(statistics.last(rows, "test_accuracy", ["seed"]))
    return Evidence(
        accuracy.mean > 0.97,
        {"batch": str(published.OTHERS_BATCH_SIZE), "accuracy": interval(accuracy)},
    )


@claim(
    "sec-q5",
    ("encoding",),
    "Because one output puts the digits on a line, where ten keep them apart: at its best learning rate the network "
    "with a single output has {single} test accuracy after {epochs} epochs, {gap} points less than with ten one-hot "
    "outputs and the same loss, which has {one_hot} ({reference} with cross entropy).",
)
def one_hot_beats_a_single_output(found: Results) -> Evidence:
    accuracy = tables.encoding_accuracies(found.rows)
    gap = statistics.paired_t(accuracy[ONE_HOT, 0], accuracy[SINGLE, 0])
    mean = accuracy.mean()
    return Evidence(
        gap.difference.mean > gap.difference.half,
        {
            "single": percent(mean[SINGLE, 0]),
            "epochs": f"{found.rows['epoch'].max():.0f}",
            "gap": interval(gap.difference, 1, ""),
            "one_hot": percent(mean[ONE_HOT, 0]),
            "reference": percent(mean["one-hot, cross entropy", 0]),
        },
    )


@claim(
    "sec-q5",
    ("encoding",),
    "{single} of the single output's errors fall on a digit numbered next to the true one, against {one_hot} with "
    "one-hot targets and {chance} if they were spread evenly; and when the digits are renumbered at random, {least} to "
    "{most} fall on the new neighbours: the numbering makes these errors, not the shapes.",
)
def errors_fall_on_neighbours(found: Results) -> Evidence:
    near = tables.neighbouring(found.rows)
    renumbered = near[SINGLE].drop(0)
    chance = 2 * (CLASSES - 1) / (CLASSES * (CLASSES - 1))
    return Evidence(
        bool(near[SINGLE].min() > 2 * near[ONE_HOT].max() and near[SINGLE].min() > 2 * chance),
        {
            "single": percent(near[SINGLE, 0], 0),
            "one_hot": percent(near[ONE_HOT, 0], 0),
            "chance": percent(chance, 0),
            "least": percent(renumbered.min(), 0),
            "most": percent(renumbered.max(), 0),
        },
    )


@claim(
    "sec-q5",
    ("encoding",),
    "The two ends, whose targets 0 and 1 a sigmoid never attains, are read only {least} to {most} as often as they "
    "occur, whatever digits are numbered 0 and 9.",
)
def ends_are_read_too_seldom(found: Results) -> Evidence:
    counts = tables.confusions(found.rows)
    single = counts[counts["name"] == SINGLE]
    read = single.groupby(["numbering", "predicted"])["count"].sum().unstack()
    occur = single.groupby(["numbering", "true"])["count"].sum().unstack()
    ends = (read / occur)[[0, CLASSES - 1]]
    return Evidence(
        bool((ends < 1).all(axis=None)),
        {"least": percent(ends.min(axis=None), 0), "most": percent(ends.max(axis=None), 0)},
    )


@claim(
    "sec-q5",
    ("encoding",),
    "The mean accuracy of the single output is {single} under the four numberings and depends on them (F test with "
    "{seeds} seeds as repeated measures, adjusted p = {single_p}); with ten outputs and the same loss it is {one_hot} "
    "(p = {one_hot_p}), with cross entropy {reference} (p = {reference_p}).",
)
def renumbering_moves_the_single_output(found: Results) -> Evidence:
    tests = tables.numbering_tests(found.rows)
    means = tables.encoding_accuracies(found.rows).mean()
    numbers = {}
    for place, name in {"single": SINGLE, "one_hot": ONE_HOT, "reference": "one-hot, cross entropy"}.items():
        numbers[place] = words(percent(value) for value in means[name])
        numbers[f"{place}_p"] = number(tests[name], 2 if tests[name] > 0.05 else 3)
    others = [p for name, p in tests.items() if name != SINGLE]
    return Evidence(
        tests[SINGLE] < 0.05 < min(others), {**numbers, "seeds": str(found.rows["seed"].nunique())}
    )


@claim(
    "sec-q6",
    ("learning_rate",),
    "Very, on both sides: too small a rate is slow, too large a one unstable. After {epochs} epochs the test accuracy "
    "rises with the rate, from {least} at {low} over {second_accuracy} at {second} to {most} at {best}; beyond, it is "
    "{fast_accuracies} at {fast}.",
)
def learning_rate_window(found: Results) -> Evidence:
    table = tables.learning_rate_numbers(tables.long_runs(found.rows)).set_index("learning_rate")
    accuracy = table["test_accuracy"]
    best = accuracy.idxmax()
    rising, fast = accuracy[accuracy.index <= best], accuracy[accuracy.index > best]
    return Evidence(
        bool(rising.is_monotonic_increasing and rising.iloc[0] < 0.5 and len(rising) > 2 and len(fast) > 0),
        {
            "epochs": f"{table['epochs'].max():,}",
            "least": percent(rising.iloc[0]),
            "low": f"{rising.index[0]:g}",
            "second": f"{accuracy.index[1]:g}",
            "second_accuracy": percent(accuracy.iloc[1]),
            "most": percent(accuracy.max()),
            "best": f"{best:g}",
            "fast": words(f"{rate:g}" for rate in fast.index),
            "fast_accuracies": words(percent(value) for value in fast),
        },
    )


@claim(
    "sec-q6",
    ("learning_rate",),
    "No rate diverges, but with {unstable} the train loss still goes up and down in the last half of the epochs.",
)
def learning_rate_unstable(found: Results) -> Evidence:
    table = tables.learning_rate_numbers(tables.long_runs(found.rows)).set_index("learning_rate")
    unstable = table.index[table["verdict"] == "unstable"]
    return Evidence(
        bool(len(unstable) and unstable.min() > 1 and not (table["verdict"] == "diverges").any()),
        {"unstable": words(f"{rate:g}" for rate in unstable)},
    )


@claim(
    "sec-q6",
    ("learning_rate",),
    "Each rate has one long run, and early on the start matters: after {epochs} epochs, the test accuracies from "
    "{seeds} starts lie up to {spread} points apart at one rate ({widest}). From every start, {low} is then still at "
    "chance, {second} between {second_least} and {second_most}, and every larger rate above {others}.",
)
def starts_differ_early(found: Results) -> Evidence:
    accuracy = tables.early_accuracies(found.rows)
    spread = accuracy.max(axis="columns") - accuracy.min(axis="columns")
    slow, second, others = accuracy.iloc[0], accuracy.iloc[1], accuracy.iloc[2:]
    return Evidence(
        bool(len(accuracy.columns) > 2 and slow.max() < 1.5 * CHANCE and others.min(axis=None) > 2 * CHANCE),
        {
            "epochs": str(learning_rate.OTHER_EPOCHS),
            "seeds": str(len(accuracy.columns)),
            "spread": f"{100 * spread.max():.0f}",
            "widest": f"{spread.idxmax():g}",
            "low": f"{accuracy.index[0]:g}",
            "second": f"{accuracy.index[1]:g}",
            "second_least": percent(second.min()),
            "second_most": percent(second.max()),
            "others": percent(0.05 * (others.min(axis=None) // 0.05), 0),
        },
    )


@claim(
    "sec-q6",
    ("learning_rate",),
    "At each of {starts} starts the sharpness exceeds $2/\\eta$ for the rates from {first} on, up to {most}-fold for "
    "{last}: exactly these first raise the train loss, up to {peak}-fold, before it falls.",
)
def start_beyond_the_edge(found: Results) -> Evidence:
    start, peak = tables.first_steps(found.rows)
    beyond = (start > 1).all(axis="columns")
    return Evidence(
        bool(beyond.any() and ((start > 1) == (peak > 1.001)).all(axis=None)),
        {
            "starts": str(len(start.columns)),
            "first": f"{start.index[beyond].min():g}",
            "most": number(start.max(axis=None), 0),
            "last": f"{start.max(axis='columns').idxmax():g}",
            "peak": number(peak.max(axis=None), 0),
        },
    )


@claim(
    "sec-q6",
    ("learning_rate",),
    "They do not diverge because the sharpness gives way: by epoch {early} it has fallen to {least} to {most} times "
    "$2/\\eta$ for the rates from {first} to {last}, to the edge of stability, and with the train loss it falls on, "
    "to {end_least} to {end_most} times at epoch {end}. For {unstable}, whose train loss still goes up and down, it "
    "is {unstable_end} times $2/\\eta$ even then; for {small}, which begins far below the edge, {small_end}.",
)
def sharpness_gives_way(found: Results) -> Evidence:
    long = tables.long_runs(found.rows)
    relative = tables.relative_sharpness(long)
    verdicts = tables.learning_rate_numbers(long).set_index("learning_rate")["verdict"]
    early = relative.loc[EDGE_EPOCH]
    end = relative.tail(5).median()  # the sharpness of unstable runs swings
    steady = relative.columns[(relative.iloc[0] > 1) & (verdicts[relative.columns] == "converges")]
    unstable = relative.columns[verdicts[relative.columns] == "unstable"]
    return Evidence(
        bool(
            early[steady].between(0.8, 1.25).all()
            and (end[steady] < early[steady]).all()
            and len(unstable)
            and end[unstable].min() > end[steady].max()
            and end.iloc[0] < 0.1
        ),
        {
            "early": str(EDGE_EPOCH),
            "least": number(early[steady].min(), 2),
            "most": number(early[steady].max(), 2),
            "first": f"{steady[0]:g}",
            "last": f"{steady[-1]:g}",
            "end_least": number(end[steady].min(), 2),
            "end_most": number(end[steady].max(), 2),
            "end": f"{relative.index[-1]:,.0f}",
            "unstable": words(f"{rate:g}" for rate in unstable),
            "unstable_end": words(number(end[rate], 2) for rate in unstable),
            "small": f"{relative.columns[0]:g}",
            "small_end": number(end.iloc[0], 3),
        },
    )


@claim(
    "sec-q7",
    ("vanishing_gradient",),
    "No: with two weight layers, $\\sigma'$ enters its first layer's gradient only once. At the start, the gradient's "
    "norm is {first} in the first layer and {second} in the second, and in {epochs} epochs of training the first "
    "layer's never falls below {share} of the second's.",
)
def shallow_gradient_does_not_vanish(found: Results) -> Evidence:
    norms = tables.gradient_norms(found.rows)
    shallow = norms[(norms["depth"] == 1) & (norms["activation"] == "sigmoid")]
    means = shallow.groupby(["epoch", "index"])["value"].mean().unstack()
    ratio = means[1] / means[2]
    return Evidence(
        bool(ratio.min() > 0.1),
        {
            "first": number(means[1].iloc[0], 2),
            "second": number(means[2].iloc[0], 2),
            "epochs": f"{means.index[-1]:.0f}",
            "share": percent(ratio.min(), 0),
        },
    )


@claim(
    "sec-q7",
    ("vanishing_gradient",),
    "Measured, every further hidden layer multiplies the first layer's gradient by {sigmoid} with the sigmoid, {tanh} "
    "with tanh and {relu} with ReLU (geometric means up to {deepest} hidden layers); with the sigmoid it ends at "
    "{least}.",
)
def depth_makes_the_gradient_vanish(found: Results) -> Evidence:
    norms = tables.first_layer(found.rows)
    deep = norms.columns[-1]
    factors = tables.depth_factors(found.rows)
    return Evidence(
        bool(factors["sigmoid"] < 0.25 and factors.max() < 1),
        {
            **{str(name): number(factor, 2) for name, factor in factors.items()},
            "deepest": str(deep),
            "least": power(norms.loc[("sigmoid", False), deep]),
        },
    )


@claim(
    "sec-q7",
    ("vanishing_gradient",),
    "With skip connections the first layer's gradient is no smaller with {deepest} hidden layers than with one "
    "({sigmoid}, {tanh} and {relu} times it for sigmoid, tanh and ReLU).",
)
def skip_keeps_the_gradient(found: Results) -> Evidence:
    norms = tables.first_layer(found.rows)
    deep = norms.columns[-1]
    ratios = norms.xs(True, level="skip")[deep] / norms.xs(False, level="skip")[norms.columns[0]]
    return Evidence(
        bool((ratios > 0.9).all()),
        {"deepest": str(deep), **{str(name): number(ratio, 1) for name, ratio in ratios.items()}},
    )
