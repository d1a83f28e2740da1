"""Figures draw what they are given, name their axes, and are the same file every time."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis import figures
from analysis.figures import assignment1
from analysis.tables import assignment1 as tables
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


def test_every_axis_that_is_not_shared_has_a_name() -> None:
    for name, figure in drawn().items():
        lowest = max(axes.get_subplotspec().rowspan.stop for axes in figure.axes)
        for axes in figure.axes:
            place = axes.get_subplotspec()
            assert axes.get_xlabel() or place.rowspan.stop < lowest, name
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
