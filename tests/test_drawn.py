"""The data of a figure are exactly what it draws."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from analysis import drawn, plotting
from analysis.exhibits import Exhibit, Picture
from analysis.findings import of_kind
from analysis.questions import QUESTIONS

PICTURES = [
    exhibit
    for question in QUESTIONS
    for exhibit in of_kind(question, Exhibit).values()
    if exhibit.label.startswith("fig-")
]


@pytest.mark.parametrize("exhibit", PICTURES, ids=lambda exhibit: exhibit.label)
def test_every_panel_of_every_figure_has_its_points(exhibit: Exhibit) -> None:
    picture = next(iter(exhibit.contents().values()))
    assert isinstance(picture, Picture)
    points = drawn.drawn_points(picture.figure)
    assert set(points["panel"]) == set(drawn.panels(picture.figure))
    assert set(points.columns) <= set(drawn.COLUMNS)
    assert points["x"].notna().all()
    assert (
        points[[name for name in ("y", "low", "value") if name in points]].notna().any(axis="columns")
    ).all()


def test_points_are_told_with_six_digits() -> None:
    values = [0.0, -0.0, 1 / 3, -2e-9, 123456789.0, 1e300, float("nan"), float("inf"), 5.0]
    points = pd.DataFrame({"panel": 'a, "b"', "line": range(9), "x": values, "y": np.float32(1.1)})
    assert drawn.drawn_csv(points).decode() == points.to_csv(index=False, float_format="%.6g")


def test_lines_are_named_by_what_the_figure_says_of_them() -> None:
    figure, (left, right) = plt.subplots(1, 2)
    left.plot([0, 1, 2], [5, 3, 4], color="#0072b2")
    left.plot([0, 1], [2, 9], color="#0072b2")
    plotting.label_ends(left, [(2, 4, "wide", "#0072b2"), (1, 9, "narrow", "#0072b2")])
    right.plot([1, 2], [1, 1], label="own")
    right.plot([1, 2], [2, 2], color="#d55e00", linestyle="--")
    right.legend(handles=[plt.Line2D([], [], label="test", color="#d55e00", linestyle="--")])
    right.axvline(1.5)  # a help to the eye, no data
    right.plot([3, 4], [float("nan"), 7.0], color="#123456")
    table = drawn.drawn_points(figure)
    assert list(table.groupby(["panel", "line"])["series"].first()) == [
        "wide",
        "narrow",
        "own",
        "test",
        "#123456",
    ]
    assert table.loc[table["series"] == "wide", ["x", "y"]].to_numpy().tolist() == [[0, 5], [1, 3], [2, 4]]
    assert table.loc[table["series"] == "#123456", ["x", "y"]].to_numpy().tolist() == [[4, 7]]


def test_bands_and_bars_have_their_ends() -> None:
    figure, axes = plt.subplots()
    index = pd.Index([0.0, 1.0, 2.0])
    summary = pd.DataFrame({"mean": [2.0, 3, 4], "min": [1.0, 2, 3], "max": [5.0, 6, 7]}, index=index)
    plotting.draw_line(axes, summary, "#0072b2", label="mean")
    axes.errorbar([10], [4], yerr=[[1], [2]], color="#d55e00", label="bar")
    table = drawn.drawn_points(figure)
    band = table[table["low"].notna() & (table["series"] == "mean")]
    assert band[["x", "low", "high"]].to_numpy().tolist() == [[0, 1, 5], [1, 2, 6], [2, 3, 7]]
    bar = table[table["x"] == 10]
    assert bar["low"].max() == 3
    assert bar["high"].max() == 6


def test_images_and_meshes_have_their_values_but_colour_bars_have_none() -> None:
    figure, (left, right) = plt.subplots(1, 2)
    left.imshow([[1.0, 2.0], [3.0, 4.0]])
    mesh = right.pcolormesh([0, 10, 20], [0, 1], np.array([[7.0, 8.0]]))
    figure.colorbar(mesh)
    table = drawn.drawn_points(figure)
    assert table[["x", "y", "value"]].to_numpy().tolist() == [
        [0, 0, 1],
        [1, 0, 2],
        [0, 1, 3],
        [1, 1, 4],
        [5, 0.5, 7],
        [15, 0.5, 8],
    ]


def test_the_guide_names_the_axes_of_each_panel() -> None:
    figure, axes = plt.subplots(2, 2)
    for each in axes.flat:
        each.plot([1, 2], [1, 2])
    axes[1, 0].set_xlabel("epoch")
    axes[1, 1].set_xlabel("sharpness $\\lambda_{max}$")
    axes[0, 0].set_ylabel("loss")
    axes[1, 0].set_ylabel("loss")
    assert drawn.axes_guide(figure) == (
        "; in panel 1 and 3, x: epoch, y: loss; in panel 2 and 4, x: sharpness lambda_max, y: loss"
    )
