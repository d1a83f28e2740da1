"""How the report's figures look: one style, one palette, and what several figures draw alike.

A colour means the same thing in every figure, and every line that shares its axes with others is labelled where it
ends. Colours of lines have a contrast of 3 to the paper, those of text 4.5, on light pages and on dark ones.
"""

from __future__ import annotations

import io
import math
import re
from typing import Any

import matplotlib as mpl
import matplotlib.colors
import matplotlib.lines
import matplotlib.pyplot as plt
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from analysis.formatting import format_rate, label

# Okabe & Ito's colours, told apart by the colour-blind, the light ones darkened; train and test also differ in grey.
TRAIN, TEST = "#0072b2", "#d55e00"
INK, QUIET, FAINT = "#222222", "#6b6b6b", "#d9d9d9"
GREEN, PINK, ORANGE = "#009e73", "#c86fa1", "#c07f00"
TRAIN_TEST: dict[str, dict[str, Any]] = {
    "train": {"color": TRAIN},
    "test": {"color": TEST, "linestyle": (0, (4, 1.5))},
}
# The same, to be seen where the test loss lies on the train loss.
ONE_ON_OTHER = {"train": {**TRAIN_TEST["train"], "linewidth": 3.5, "alpha": 0.4}, "test": TRAIN_TEST["test"]}
PAPER, DARK_PAPER, DARK_INK = "#ffffff", "#17191c", "#d9d7d2"  # the dark ones are the site's
RATE_COLOURS = mpl.colors.ListedColormap(mpl.colormaps["viridis"](np.linspace(0, 0.66, 256)), "rates")
# By name; what several figures show has one look. Others take the next free look of `line_style`.
LINE_STYLES: dict[str, dict[str, Any]] = {
    "sgd": {"color": INK, "marker": "o"},
    "adam": {"color": ORANGE, "marker": "s"},
    "gd": {"color": GREEN, "marker": "v"},
    "shuffled": {"color": INK, "marker": "o"},
    "label_sorted": {"color": PINK, "marker": "D"},
    "sigmoid": {"color": INK, "marker": "o"},
    "tanh": {"color": GREEN, "marker": "s"},
    "relu": {"color": ORANGE, "marker": "^"},
    "cross_entropy_softmax": {"color": INK, "marker": "o"},
    "cross_entropy_sigmoid": {"color": ORANGE, "marker": "s"},
    "quadratic_softmax": {"color": GREEN, "marker": "o", "linestyle": (0, (5, 1.5))},
    "quadratic_sigmoid": {"color": PINK, "marker": "o", "linestyle": (0, (1.5, 1))},
}
_FREE = ((GREEN, "v"), ("#3a93c9", "P"), ("#0072b2", "X"), ("#d55e00", "*"))
MARKER = 3.5  # size in points
MARKED = 20  # points of a line, beyond which markers would hide it

WIDTH = 6.3  # inches: the text width of the A4 page
STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same on every machine
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "text.color": INK,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "axes.formatter.useoffset": False,
    "svg.hashsalt": "mnist",  # the same figure gives the same file
}
plt.style.use(STYLE)


def line_style(name: str, position: int | None = None) -> dict[str, Any]:
    """Return colour and marker of what is called so; what has none of its own gets those of its position, if given."""
    color, marker = _FREE[(sum(name.encode()) if position is None else position) % len(_FREE)]
    return dict(LINE_STYLES.get(name, {"color": color, "marker": marker}))


def mean_and_range(frame: pd.DataFrame, metric: str, x: str = "epoch") -> pd.DataFrame:
    """Return one metric's mean, least and largest value over seeds, by `x`; index: x."""
    rows = frame[frame["metric"] == metric]
    return rows.groupby(x)["value"].agg(["mean", "min", "max"])


def draw_line(axes: Axes, summary: pd.DataFrame, color: Any, **style: Any) -> None:
    """Draw a mean line over a band from the least to the largest seed."""
    axes.plot(summary.index, summary["mean"], color=color, **style)
    if not summary["min"].equals(summary["max"]):
        axes.fill_between(summary.index, summary["min"], summary["max"], color=color, alpha=0.2, linewidth=0)


def draw_courses(axes: Axes, rows: pd.DataFrame, metric: str, by: str, error: bool = False) -> None:
    """Draw a share in percent along training, a line per value of a column, labelled at its end.

    Call it when the axes have their scales and limits.

    Args:
        axes: Where to draw.
        rows: Of runs, as `results` gives them.
        metric: A share, such as an accuracy.
        by: The column.
        error: Draw what is missing to 100 %.
    """
    ends = []
    for position, value in enumerate(rows[by].unique()):
        shares = mean_and_range(rows[rows[by] == value], metric)
        means = 100 * (1 - shares if error else shares)
        if error:
            means = means.rename(columns={"min": "max", "max": "min"})
        means, style = means[means.index > 0], line_style(str(value), position)
        if len(means) > MARKED:
            style["marker"] = ""
        draw_line(axes, means, markersize=MARKER, **style)
        ends.append((means.index[-1], means["mean"].iloc[-1], label(str(value)), style["color"]))
    axes.set_xlabel("epoch")
    label_ends(axes, ends)


def lay_out(figure: Figure) -> None:
    """Put the figure's axes where they will be drawn, without drawing them; they may have their places."""
    if engine := figure.get_layout_engine():
        engine.execute(figure)


def label_ends(axes: Axes, labels: list[tuple[float, float, str, Any]]) -> None:
    """Write labels (x, y, text, colour) beside the ends of lines, moved apart where they would overlap.

    Call it when the axes have their scales and limits.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    lay_out(figure)
    height = plt.rcParams["font.size"] * figure.dpi / 72
    lowest = -math.inf
    for x, y, text, colour in sorted((each for each in labels if math.isfinite(each[1])), key=lambda e: e[1]):
        place = axes.transData.transform((x, y))[1]
        lowest = max(place, lowest + height)
        offset = 4, (lowest - place) * 72 / figure.dpi
        readable = with_contrast(colour, PAPER, 4.5)
        axes.annotate(text, (x, y), xytext=offset, textcoords="offset points", color=readable, va="center")


def sketch_axes() -> tuple[Figure, Axes]:
    """Return a small picture's axes, which show shapes and no numbers."""
    figure, axes = plt.subplots(figsize=(2.4, 1.1))
    axes.tick_params(which="both", length=0, labelbottom=False, labelleft=False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    return figure, axes


def write_in(axes: Axes, x: float, y: float, text: str, colour: Any, **style: Any) -> None:
    """Write a word on a small picture, at a share of its width and height."""
    readable = with_contrast(colour, PAPER, 4.5)
    axes.text(x, y, text, color=readable, transform=axes.transAxes, **style)


def plain_ticks(axis: Axis, decades: bool = False) -> None:
    """Set logarithmic ticks at 1, 2 and 5, or of many decades at 1 alone, written as rates are."""
    axis.set_major_locator(mpl.ticker.LogLocator(subs=(1.0,) if decades else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: format_rate(value)))
    axis.set_minor_locator(mpl.ticker.NullLocator())


def contrast(first: Any, second: Any) -> float:
    """Return the contrast of two colours as WCAG defines it, from 1 to 21."""
    lights = []
    for colour in (first, second):
        channels = np.array(mpl.colors.to_rgb(colour))
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        lights.append(linear @ (0.2126, 0.7152, 0.0722) + 0.05)
    return float(max(lights) / min(lights))


def with_contrast(colour: Any, paper: str, least: float) -> str:
    """Return the colour, mixed with black or white as far as its contrast to the paper needs."""
    rgb, end = np.array(mpl.colors.to_rgb(colour)), 0.0 if contrast(paper, "white") < 2 else 1.0
    mixed = (str(mpl.colors.to_hex(rgb + share * (end - rgb))) for share in np.linspace(0, 1, 51))
    return next(each for each in mixed if contrast(each, paper) >= least)


def dark_twin(colour: str) -> str:
    """Return what stands on dark pages for a colour of light ones: greys between paper and ink, lighter colours."""
    rgb = np.array(mpl.colors.to_rgb(colour))
    if np.ptp(rgb) > 0.08:
        return with_contrast(colour, DARK_PAPER, 4.5)
    paper, ink = (np.array(mpl.colors.to_rgb(each)) for each in (DARK_PAPER, DARK_INK))
    share = min(1.0, (1 - rgb.mean()) / (1 - np.mean(mpl.colors.to_rgb(INK))))
    return str(mpl.colors.to_hex(paper + share * (ink - paper)))


def _dark_rules(text: str) -> str:
    """Return the style that recolours a figure where it is shown on a dark page; Typst and printers pass it over."""
    found = sorted(set(re.findall(r"(fill|stroke): (#[0-9a-f]{6})", text)))
    rules = [f'[style*="{key}: {colour}"]{{{key}:{dark_twin(colour)}!important}}' for key, colour in found]
    return f"<style>@media (prefers-color-scheme:dark){{{''.join(rules)}}}</style>"


def svg(figure: Figure) -> bytes:
    """Return a figure as SVG, the same bytes for the same figure, which recolours itself on dark pages.

    The last digits of where the layout puts axes vary: they are rounded. Matplotlib names clip paths and markers by
    hashes of such digits: here they are numbered.
    """
    lay_out(figure)
    figure.set_layout_engine("none")
    for axes in figure.axes:
        x, y, width, height = (round(side, 6) for side in axes.get_position(original=True).bounds)
        axes.set_position((x, y, width, height))
    file = io.BytesIO()
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(file, metadata={"Date": None})  # not savefig, which draws once more for the layout
    text = file.getvalue().decode()
    names = dict.fromkeys(re.findall(r'id="([a-zA-Z]*[0-9a-f]{10})"', text))
    for number, name in enumerate(names):
        text = text.replace(name, f"e{number}")
    return text.replace("<defs>", f"{_dark_rules(text)}\n <defs>", 1).encode()


def loss_panel(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw train and test loss against epochs, on logarithmic axes, which leave epoch 0 out."""
    for name, style in ONE_ON_OTHER.items():
        summary = mean_and_range(rows, f"{name}_loss")
        draw_line(axes, summary[summary.index > 0], label=name, **style)
    axes.set_xscale("log")
    axes.set_yscale("log")
    plain_ticks(axes.yaxis)
    axes.set_xlabel("epoch")
