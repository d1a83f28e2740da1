"""Lines are drawn as they are given, in colours that mean the same everywhere."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.axes import Axes

from analysis import plotting
from tests.helpers.altered import FALLING, LEARNT, curves


@pytest.fixture
def axes() -> Iterator[Axes]:
    yield plt.subplots()[1]
    plt.close("all")


def test_train_and_test_have_their_colours_and_the_data_as_given(axes: Axes) -> None:
    plotting.loss_panel(axes, curves(0.1, FALLING, LEARNT))
    assert [line.get_color() for line in axes.lines] == [plotting.TRAIN, plotting.TEST]
    assert list(axes.lines[0].get_ydata()) == pytest.approx(FALLING[1:])


def test_epoch_0_has_no_place_on_logarithmic_axes(axes: Axes) -> None:
    plotting.loss_panel(axes, curves(0.1, FALLING, LEARNT))
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert len(axes.lines[0].get_xdata()) == len(FALLING) - 1


@pytest.mark.parametrize(("seeds", "bands"), [(1, 0), (3, 2)])
def test_a_band_shows_the_seeds(axes: Axes, seeds: int, bands: int) -> None:
    rows = [curves(0.1, [value + seed for value in FALLING], LEARNT) for seed in range(seeds)]
    plotting.loss_panel(axes, pd.concat(rows))
    assert len(axes.collections) == bands


def test_a_run_that_is_not_finite_is_drawn_as_far_as_it_is(axes: Axes) -> None:
    rows = curves(0.1, FALLING, LEARNT)
    rows.loc[rows["epoch"] > 50, "value"] = math.nan
    plotting.loss_panel(axes, rows)
    axes.figure.savefig(io.BytesIO())


def test_labels_of_lines_that_end_together_do_not_overlap(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1])
    plotting.label_ends(axes, [(1, 1.0, "one", "k"), (1, 1.001, "two", "k"), (1, math.nan, "none", "k")])
    figure = axes.get_figure()
    assert figure is not None
    figure.draw_without_rendering()
    first, second = (text.get_window_extent() for text in axes.texts)
    assert first.y1 <= second.y0 + 1


def test_what_has_no_style_of_its_own_gets_one_that_stays() -> None:
    assert plotting.line_style("sgd")["color"] == plotting.INK
    assert plotting.line_style("heavy_ball") == plotting.line_style("heavy_ball")


@pytest.mark.parametrize(("error", "shown"), [(False, [85.0, 91.0]), (True, [15.0, 9.0])])
def test_courses_are_a_line_for_every_value_from_the_first_epoch_on(
    axes: Axes, error: bool, shown: list[float]
) -> None:
    rows = pd.concat([curves(rate, FALLING, LEARNT) for rate in (0.1, 0.2, 0.3)])
    plotting.draw_courses(axes, rows, "test_accuracy", "learning_rate", error)
    assert [text.get_text() for text in axes.texts] == ["0.1", "0.2", "0.3"]
    assert len({line.get_color() for line in axes.lines}) == 3
    assert list(axes.lines[0].get_ydata()[:2]) == pytest.approx(shown)
    assert list(axes.lines[0].get_xdata()[:2]) == [1, 2]


@pytest.mark.parametrize("style", [*plotting.LINE_STYLES.values(), *plotting.TRAIN_TEST.values()])
def test_lines_stand_out_from_light_and_from_dark_paper(style: dict[str, object]) -> None:
    assert plotting.contrast(style["color"], plotting.PAPER) >= 3
    assert plotting.contrast(plotting.dark_twin(str(style["color"])), plotting.DARK_PAPER) >= 3


def test_labels_of_lines_can_be_read(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1])
    plotting.label_ends(axes, [(1, 1.0, "light", "#ffe680"), (1, 0.5, "dark", plotting.INK)])
    assert all(plotting.contrast(text.get_color(), plotting.PAPER) >= 4.5 for text in axes.texts)


def test_a_figure_recolours_itself_on_dark_pages(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color=plotting.TEST)
    figure = axes.get_figure(root=True)
    assert figure is not None
    text = plotting.svg(figure).decode()
    rules = dict(
        re.findall(r'\[style\*="((?:fill|stroke): #[0-9a-f]{6})"\]\{[a-z]+:(#[0-9a-f]{6})!important\}', text)
    )
    assert rules["fill: #ffffff"] == plotting.DARK_PAPER, "the paper"
    assert plotting.contrast(rules[f"stroke: {plotting.TEST}"], plotting.DARK_PAPER) >= 4.5
    assert {f"{key}: {colour}" for key, colour in re.findall(r"(fill|stroke): (#[0-9a-f]{6})", text)} == set(
        rules
    )
