"""Assignment 2 with a second, smaller network: what of its main comparisons changes."""

from __future__ import annotations

import pandas as pd

from analysis.exhibits import Table, exhibit
from analysis.findings import Evidence, finding
from analysis.formatting import format_interval, format_percent
from analysis.questions.smaller_network.runs import (
    ENDS,
    NETWORKS,
    OPTIMIZER_BATCH,
    OPTIMIZER_BUDGETS,
    OPTIMIZERS,
    ORDER_BUDGETS,
    ORDERS,
    SPEEDS,
    end_epochs,
    speed_epochs,
)
from analysis.results import Results, remembered
from analysis.statistics import (
    Interval,
    at_best_rates,
    best_rates,
    final_values,
    first_epochs,
    paired_t,
    t_interval,
)

USED, SMALLER = ("-".join(map(str, hidden)) for hidden in NETWORKS)
EARLY = 0.90  # test accuracy
LARGE = 1_024  # the largest batch size of the longer runs
DECIDED = 0.1  # test accuracy by which every random start ends above every constant one, at least

PerNetwork = dict[str, pd.Series]


def _of_sgd(rows: pd.DataFrame, batch_size: int | None, rate: float, epochs: int) -> pd.DataFrame:
    """Return the rows of SGD from the usual start with validation data."""
    batch = rows["batch_size"].isna() if batch_size is None else rows["batch_size"] == batch_size
    usual = (rows["optimizer"] == "sgd") & (rows["order"] == "shuffled") & (rows["validation_examples"] > 0)
    return rows[batch & usual & (rows["learning_rate"] == rate) & (rows["epochs"] == epochs)]


@remembered
def speeds(found: Results) -> dict[int | None, PerNetwork]:
    """Return the first measured epoch with EARLY test accuracy, by batch size, network and seed."""
    return {
        size: _by_network(
            first_epochs(
                _of_sgd(found.rows, size, rate, speed_epochs(found.preset, size)),
                EARLY,
                ["hidden", "seed"],
            )
        )
        for size, rate in SPEEDS.items()
    }


@remembered
def ends(found: Results) -> dict[int, PerNetwork]:
    """Return the test accuracy at the end of the longer runs, by batch size, network and seed."""
    return {
        size: _by_network(
            final_values(
                _of_sgd(found.rows, size, rate, end_epochs(found.preset, size)),
                "test_accuracy",
                ["hidden", "seed"],
            )
        )
        for size, (rate, _) in ENDS.items()
    }


@remembered
def starts(found: Results) -> dict[bool, PerNetwork]:
    """Return the test accuracy at the end, by whether the start is constant, network, constant and seed."""
    rows = found.rows[found.rows["validation_examples"] == 0]
    by = ["hidden", "init_scale", "seed"]
    return {
        constant: _by_network(
            final_values(rows[(rows["init"] == "constant") == constant], "test_accuracy", by)
        )
        for constant in (True, False)
    }


def largest_distance(found: Results) -> float:
    """Return the largest distance between two hidden units from any constant start, at any measurement."""
    rows = found.rows[(found.rows["init"] == "constant") & (found.rows["metric"] == "unit_distance")]
    return float(rows["value"].max())


@remembered
def orders(found: Results) -> dict[str, PerNetwork]:
    """Return the test accuracy after many passes, by order, network and seed."""
    rows = found.rows[
        (found.rows["batch_size"] == 1) & (found.rows["epochs"] == ORDER_BUDGETS[found.preset].epochs)
    ]
    return {
        order: _by_network(
            final_values(
                rows[(rows["order"] == order) & (rows["learning_rate"] == rate)],
                "test_accuracy",
                ["hidden", "seed"],
            )
        )
        for order, rate in ORDERS.items()
    }


@remembered
def optimizers(found: Results) -> dict[str, PerNetwork]:
    """Return the test accuracy at the end at the best rate, by optimizer, network and seed."""
    best = at_best_rates(_of_optimizers(found), ["hidden", "optimizer"])
    return {
        str(name): _by_network(final_values(runs, "test_accuracy", ["hidden", "seed"]))
        for name, runs in best.groupby("optimizer")
    }


def _of_optimizers(found: Results) -> pd.DataFrame:
    """Return the rows of the runs that compare the optimizers."""
    budget = OPTIMIZER_BUDGETS[found.preset]
    return found.rows[(found.rows["batch_size"] == OPTIMIZER_BATCH) & (found.rows["epochs"] == budget.epochs)]


def _by_network(values: pd.Series[float]) -> PerNetwork:
    return {name: values[name] for name in (USED, SMALLER)}


def _lead(first: PerNetwork, second: PerNetwork, name: str) -> Interval:
    return paired_t(first[name], second[name]).difference


# Exhibits


@exhibit("tbl-smaller-network", "smaller_network")
def comparison_table(found: Results) -> Table:
    """Tabulate the main numbers of the four exercises with either network."""
    of_starts, of_orders, of_optimizers = starts(found), orders(found), optimizers(found)
    few, many = ends(found)[min(ENDS)], ends(found)[LARGE]
    passes, epochs = ORDER_BUDGETS[found.preset].epochs, OPTIMIZER_BUDGETS[found.preset].epochs

    def points(values: PerNetwork) -> dict[str, str]:
        return {name: format_interval(t_interval(values[name]), 2, "") for name in (USED, SMALLER)}

    def leads(first: PerNetwork, second: PerNetwork) -> dict[str, str]:
        return {name: format_interval(_lead(first, second, name), 2, "") for name in (USED, SMALLER)}

    def extreme(values: PerNetwork, which: str) -> dict[str, str]:
        return {
            name: f"{100 * values[name].groupby('init_scale').mean().agg(which):.1f}"
            for name in (USED, SMALLER)
        }

    lines: list[tuple[str, str, dict[str, str]]] = [
        *(
            (
                "1" if place == 0 else "",
                f"Epochs to {format_percent(EARLY, 0)}, {'all examples' if size is None else f'batches of {size}'}",
                {name: f"{float(f'{values[name].mean():.2g}'):g}" for name in (USED, SMALLER)},
            )
            for place, (size, values) in enumerate(speeds(found).items())
        ),
        ("", "At the plateau, single examples", points(few)),
        ("", f"Their lead over batches of {LARGE:,}", leads(few, many)),
        ("2", "Sigmoids: highest mean of the constant starts", extreme(of_starts[True], "max")),
        ("", "Random start", extreme(of_starts[False], "min")),
        ("3", f"After {passes} passes, SGD", points(of_orders["shuffled"])),
        ("", "Its lead over the sorted stream", leads(of_orders["shuffled"], of_orders["label_sorted"])),
        ("4", f"After {epochs} epochs, Adam", points(of_optimizers["adam"])),
        ("", "Its lead over SGD", leads(of_optimizers["adam"], of_optimizers["sgd"])),
    ]
    return Table(
        pd.DataFrame(
            {
                "Exercise": exercise,
                "What": what,
                **{f"784-{name}-10": values[name] for name in (USED, SMALLER)},
            }
            for exercise, what, values in lines
        ),
        "The main comparisons of assignment 2 with the chosen network and with a smaller one: test accuracies in "
        "percent and leads in points, with 95 % t intervals over seeds; in exercises 1 to "
        "3 at the rates that are best for the former.",
        (10, 46, 20, 20),
    )


# Findings: what they say together, and one for each exercise


@finding("smaller_network", headline=True)
def most_comparisons_agree(found: Results) -> Evidence:
    lead = _lead(optimizers(found)["sgd"], optimizers(found)["adam"], SMALLER)
    return Evidence(
        f"We repeated the main comparisons with 784-{SMALLER}-10, which an earlier rule took (@sec-q3). As with "
        f"784-{USED}-10, smaller batches take fewer epochs, hidden units that start alike stay alike, and the "
        "sorted stream ends behind SGD (@tbl-smaller-network). Differences in final accuracy are not all the same: "
        "the stream is farther behind, and SGD ends ahead of Adam.",
        {
            **_fewer_epochs(found),
            **_stay_alike(found),
            "with either, SGD leads the sorted stream with every seed": all(
                (orders(found)["shuffled"][name] > orders(found)["label_sorted"][name]).all()
                for name in (USED, SMALLER)
            ),
            "with the smaller one the stream is farther behind": _stream_lead(found, SMALLER).mean
            > _stream_lead(found, USED).mean,
            "and SGD ends ahead": lead.mean > lead.half_width,
        },
    )


@finding("smaller_network")
def batches_with_the_smaller(found: Results) -> Evidence:
    few, many = ends(found)[min(ENDS)], ends(found)[LARGE]
    lead = _lead(few, many, SMALLER)
    return Evidence(
        f"With it we detect no lead of single examples over batches of {LARGE:,} ({format_interval(lead, 2, '')} "
        "points).",
        {"the lead is within its interval": abs(lead.mean) < lead.half_width},
    )


def _fewer_epochs(found: Results) -> dict[str, bool]:
    epochs = {name: [values[name].mean() for values in speeds(found).values()] for name in (USED, SMALLER)}
    return {
        "a larger batch takes more epochs, with either": all(each == sorted(each) for each in epochs.values())
    }


def _stay_alike(found: Results) -> dict[str, bool]:
    of_starts = starts(found)
    return {
        "hidden units stay identical, with either": largest_distance(found) == 0,
        "every constant start ends far below every random one, with either": all(
            of_starts[True][name].max() + DECIDED < of_starts[False][name].min() for name in (USED, SMALLER)
        ),
    }


@finding("smaller_network")
def stream_with_the_smaller(found: Results) -> Evidence:
    lead, other = (_stream_lead(found, name) for name in (SMALLER, USED))
    return Evidence(
        f"After {ORDER_BUDGETS[found.preset].epochs} passes, both at the rates of @sec-sorted, the sorted stream is "
        f"{format_interval(lead, 1, '')} points behind SGD.",
        {
            "with every seed": bool(
                (orders(found)["shuffled"][SMALLER] > orders(found)["label_sorted"][SMALLER]).all()
            ),
            "it is farther behind, beyond the interval": lead.mean - lead.half_width > other.mean,
        },
    )


def _stream_lead(found: Results, name: str) -> Interval:
    """Return the lead of SGD over the sorted stream after many passes."""
    return _lead(orders(found)["shuffled"], orders(found)["label_sorted"], name)


@finding("smaller_network")
def optimizers_with_the_smaller(found: Results) -> Evidence:
    lead = _lead(optimizers(found)["sgd"], optimizers(found)["adam"], SMALLER)
    rates = best_rates(_of_optimizers(found), ["hidden", "optimizer"])[SMALLER]
    return Evidence(
        f"With the smaller 784-{SMALLER}-10, SGD ends {format_interval(lead, 2, '')} points ahead (each at its best "
        f"rate for that network, {rates['sgd']:g} and {rates['adam']:g}; @sec-smaller-network).",
        {
            "SGD ends ahead by more than the interval": lead.mean > lead.half_width,
            "either best rate has others on both sides": all(
                min(OPTIMIZERS[name]) < rate < max(OPTIMIZERS[name]) for name, rate in rates.items()
            ),
        },
    )
