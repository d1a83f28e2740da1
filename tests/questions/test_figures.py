"""Figures draw what they are given, name their axes, and are the same file every time."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis import figures
from analysis.claims import results
from analysis.figures import assignment1, assignment2
from analysis.statistics import at_best_rates
from analysis.tables import assignment1 as tables
from analysis.tables import assignment2 as tables2
from tests.test_tables import FALLING, LEARNT, run


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    plt.close("all")


def rows(rate: float = 0.1, seeds: int = 2) -> pd.DataFrame:
    return pd.concat(
        [
            run(rate, [value + seed / 10 for value in FALLING], LEARNT).assign(
                seed=seed, seconds=lambda frame: frame["epoch"] * 0.2
            )
            for seed in range(seeds)
        ]
    )


def drawn() -> dict[str, Figure]:
    networks = {name: rows() for name in ("300", "10-10", "20-20")}
    several = pd.concat([rows(rate, seeds=1) for rate in (0.1, 1.2, 8)])
    relative = pd.DataFrame({0.1: [0.1, 0.2], 8.0: [1.0, math.nan]}, index=[1.0, 2.0])
    return {
        "loss_curves": assignment1.loss_curves(networks),
        "generalisation_gap": assignment1.generalisation_gap({**networks, "few": rows()}),
        "loss_against_seconds": assignment1.loss_against_seconds(networks),
        "learning_rate_curves": assignment1.learning_rate_curves(rows(seeds=1)),
        "learning_rate_summary": assignment1.learning_rate_summary(tables.learning_rate_numbers(several)),
        "sharpness": assignment1.sharpness(relative),
    }


def drawn_from_cache() -> dict[str, Figure]:
    """The figures of many panels, as the chapters draw them."""
    capacity, encoding = results("capacity"), results("encoding").rows
    losses, gradients = results("losses").rows, results("vanishing_gradient").rows
    batches, starts = results("minibatch").rows, results("constant_init").rows
    stream, labels = results("label_sorted_stream").rows, results("label_sorted_stream").programs["labels"]
    adam = results("adam_vs_sgd").rows
    return {
        "capacity": assignment1.capacity(tables.capacity_runs(capacity), tables.decomposition(capacity)),
        "losses": assignment1.losses(tables.first_gradients(losses), tables.trained_losses(losses)),
        "encodings": assignment1.encodings(tables.confusions(encoding), tables.encoding_accuracies(encoding)),
        "vanishing_gradient": assignment1.vanishing_gradient(
            tables.gradient_norms(gradients), tables.first_layer(gradients)
        ),
        "batches": assignment2.batches(tables2.batch_settings(batches).query("decay == 0")),
        "constant_starts": assignment2.constant_starts(tables2.named_starts(starts), tables2.ACTIVATIONS, 4),
        "label_image": assignment2.label_image(labels, tables2.ORDERS),
        "stream_rates": assignment2.stream_rates(
            tables2.stream_summary(stream), tables2.stream_at_best(stream), tables2.slow_stream(stream)
        ),
        "within_pass": assignment2.within_pass(tables2.looked_into(stream), tables2.label_starts(labels)),
        "optimizers": assignment2.optimizers(
            tables2.optimizer_numbers(adam), at_best_rates(adam, ["optimizer"]), tables2.OPTIMIZERS
        ),
    }


@pytest.mark.parametrize("draw", [drawn, drawn_from_cache])
def test_every_axis_that_is_not_shared_has_a_name(draw: Callable[[], dict[str, Figure]]) -> None:
    for name, figure in draw().items():
        placed = {axes: place for axes in figure.axes if (place := axes.get_subplotspec()) and axes.axison}
        lowest = max(place.rowspan.stop for place in placed.values())
        for axes, place in placed.items():
            if len(axes.get_xticks()):
                assert axes.get_xlabel() or place.rowspan.stop < lowest, name
            if len(axes.get_yticks()):
                assert axes.get_ylabel() or place.colspan.start > 0, name


def test_train_and_test_have_their_colours_and_the_data_as_given() -> None:
    frame = rows(seeds=1)
    linear, logarithmic = assignment1.learning_rate_curves(frame).axes
    assert [line.get_color() for line in linear.lines] == [figures.TRAIN, figures.TEST]
    assert linear.lines[0].get_ydata().tolist() == pytest.approx(FALLING)
    assert (linear.get_xscale(), logarithmic.get_xscale()) == ("linear", "log")
    assert len(logarithmic.lines[0].get_xdata()) == len(FALLING) - 1, "epoch 0 has no place on it"


def test_a_band_shows_the_seeds() -> None:
    assert len(assignment1.loss_curves({"300": rows(seeds=3)}).axes[0].collections) == 2
    assert len(assignment1.loss_curves({"300": rows(seeds=1)}).axes[0].collections) == 0


def test_a_run_that_is_not_finite_is_drawn_as_far_as_it_is() -> None:
    frame = rows(seeds=1)
    frame.loc[frame["epoch"] > 50, "value"] = math.nan
    assignment1.learning_rate_curves(frame).savefig(io.BytesIO())


def test_the_same_figure_is_the_same_file() -> None:
    def svg() -> bytes:
        file = io.BytesIO()
        assignment1.learning_rate_curves(rows()).savefig(file, format="svg", metadata={"Date": None})
        return file.getvalue()

    assert svg() == svg()
