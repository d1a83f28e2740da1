"""What a figure draws, as a table: read from the figure itself, so that it is exactly that.

A row is one point of a line, band or image.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import Collection, LineCollection, PolyCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.text import Annotation

from analysis.formatting import join_english

COLUMNS = {
    "panel": "title of the axes, or their number",
    "series": "what is drawn, as the figure labels it; its colour where it has no label",
    "line": "number of the line, band or image in its panel",
    "x": "horizontal position",
    "y": "vertical position",
    "low": "lower end of a band or bar",
    "high": "upper end of a band or bar",
    "value": "number that a colour stands for",
}


def drawn_points(figure: Figure) -> pd.DataFrame:
    """Return every point that a figure draws; columns that it does not need are left out."""
    parts = [
        part.assign(panel=panel, series=series, line=line)
        for panel, axes in panels(figure).items()
        for line, (series, part) in enumerate(_series(axes), start=1)
    ]
    table = pd.concat(parts, ignore_index=True)
    return table[
        [name for name in COLUMNS if name in table and (table[name].notna() & (table[name] != "")).any()]
    ]


def drawn_csv(points: pd.DataFrame) -> bytes:
    """Return points as CSV, with six digits."""
    digits = {
        name: [f"{value:.6g}" if value == value else "" for value in column.tolist()]
        for name, column in points.select_dtypes("float").items()
    }  # an order of magnitude faster than pandas' own format
    text: str = points.assign(**digits).to_csv(index=False)
    return text.encode()


def panels(figure: Figure) -> dict[str, Axes]:
    """Return the axes that draw data, by title where that tells them apart, else with their number."""
    drawing = [axes for axes in figure.axes if next(_series(axes), None) is not None]
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in drawing]
    names = [
        title if title and titles.count(title) == 1 else f"{number} {title}".strip()
        for number, title in enumerate(titles, start=1)
    ]
    return dict(zip(names, drawing, strict=True))


def axes_guide(figure: Figure) -> str:
    """Say what x and y are, of each panel where they differ: "; x: epoch, y: cross entropy"."""
    guides: dict[str, list[str]] = {}
    for panel, axes in panels(figure).items():
        named = zip("xy", _axis_names(axes), strict=True)
        if guide := ", ".join(f"{column}: {name}" for column, name in named if name):
            guides.setdefault(guide, []).append(panel)
    if len(guides) == 1:
        return f"; {next(iter(guides))}"
    return "".join(f"; in panel {join_english(names)}, {guide}" for guide, names in guides.items())


def _axis_names(axes: Axes) -> tuple[str, str]:
    """Return what x and y are: rows and columns of axes are named once in a figure."""
    place, figure = axes.get_subplotspec(), axes.get_figure(root=True)
    assert figure is not None
    places = [(each, other) for each in figure.axes if place and (other := each.get_subplotspec())]
    below = [each for each, other in places if place and other.colspan == place.colspan]
    beside = [each for each, other in places if place and other.rowspan == place.rowspan]
    return (
        _first(each.get_xlabel() for each in (axes, *axes.get_shared_x_axes().get_siblings(axes), *below)),
        _first(each.get_ylabel() for each in (axes, *axes.get_shared_y_axes().get_siblings(axes), *beside)),
    )


def _first(names: Iterable[str]) -> str:
    """Return the first name that is not empty, without TeX's marks."""
    return re.sub(r"[${}\\\\]", "", next(filter(None, names), ""))


def _series(axes: Axes) -> Iterator[tuple[str, pd.DataFrame]]:
    """Give what axes draw, in this order: names and points."""
    if getattr(axes, "_colorbar", None):  # a scale, no data
        return
    names = _names(axes)
    last, last_colour = "", ""  # of lines: the band of a line is drawn after it
    for artist in axes.get_children():
        if isinstance(artist, Line2D) and artist.get_transform() == axes.transData:
            x, y = (np.asarray(values, dtype=float) for values in artist.get_data(orig=False))
            points = pd.DataFrame({"x": x, "y": y}).dropna()
            last, last_colour = _name_of(artist, names), _look(artist)[0]
            yield last, points
        elif isinstance(artist, QuadMesh):
            yield "", _cells(artist)
        elif isinstance(artist, AxesImage):
            values = np.asarray(artist.get_array(), dtype=float)
            rows, columns = np.indices(values.shape)
            yield "", pd.DataFrame({"x": columns.ravel(), "y": rows.ravel(), "value": values.ravel()})
        elif isinstance(artist, Collection) and artist in axes.collections:
            name = last if _look(artist)[0] == last_colour else _name_of(artist, names)
            yield name, _points(artist)


def _points(artist: Collection) -> pd.DataFrame:
    """Return the points of a scatter, or the ranges of bars and bands."""
    if isinstance(artist, LineCollection):
        return _ranges(artist.get_segments())
    if isinstance(artist, PolyCollection):
        return _ranges([path.vertices for path in artist.get_paths()])
    return pd.DataFrame(np.asarray(artist.get_offsets(), dtype=float), columns=["x", "y"])


def _cells(mesh: QuadMesh) -> pd.DataFrame:
    """Return the centres of a mesh's cells, and their values."""
    corners: Any = mesh.get_coordinates()
    x, y = np.moveaxis((corners[:-1, :-1] + corners[1:, 1:]) / 2, -1, 0)
    values: Any = np.ma.filled(np.ma.asarray(mesh.get_array(), dtype=float), np.nan)
    return pd.DataFrame({"x": x.ravel(), "y": y.ravel(), "value": values.ravel()})


def _ranges(outlines: list[Any]) -> pd.DataFrame:
    """Return the ends of vertical bars, or of a band's outline above each x."""
    points = pd.DataFrame(
        np.concatenate([np.asarray(each, dtype=float) for each in outlines]), columns=["x", "y"]
    )
    ranges = points.groupby("x")["y"].agg(low="min", high="max")
    return ranges.reset_index()


Look = tuple[str, str]


def _look(artist: Any) -> Look:
    """Return by what a reader tells it from others: its colour, and how its line is dashed."""
    if isinstance(artist, Line2D):
        return _colour(artist), str(artist.get_linestyle())
    colours: Any = artist.get_facecolor() if isinstance(artist, PolyCollection) else artist.get_edgecolor()
    return (to_hex(colours[0]) if len(colours) else ""), ""


def _colour(artist: Any) -> str:
    return to_hex(artist.get_color())


def _names(axes: Axes) -> list[dict[Look, str]]:
    """Return what looks mean: by labels of lines, by the legend, by words of the same colour; then in other axes."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    own = {_look(line): label for line in axes.lines if (label := _own_label(line) or _end_label(line))}
    return [own, _legend(axes), _words(axes), *map(_legend, figure.axes), *map(_words, figure.axes)]


def _own_label(artist: Any) -> str:
    label = str(artist.get_label())
    return "" if label.startswith("_") else label


def _end_label(line: Any) -> str:
    """Return the words beside the end of a line, which `plotting.label_ends` writes."""
    points = np.asarray(line.get_xydata(), dtype=float)
    points = points[np.isfinite(points).all(axis=1)]
    for text in line.axes.texts:
        if isinstance(text, Annotation) and len(points) and np.allclose(text.xy, points[-1]):
            return str(text.get_text())
    return ""


def _legend(axes: Axes) -> dict[Look, str]:
    legend = axes.get_legend()
    if legend is None:
        return {}
    pairs = zip(legend.legend_handles, legend.get_texts(), strict=True)
    return {_look(handle): text.get_text() for handle, text in pairs if isinstance(handle, Line2D)}


def _words(axes: Axes) -> dict[Look, str]:
    """Return words by their colours, but of a colour that several have."""
    words: dict[str, set[str]] = {}
    for text in axes.texts:
        words.setdefault(_colour(text), set()).add(text.get_text())
    return {(colour, ""): name for colour, names in words.items() for name in names if len(names) == 1}


def _name_of(artist: Any, names: list[dict[Look, str]]) -> str:
    """Return its own label, else what its look means, or its colour if that means one thing; else the colour."""
    if label := _own_label(artist) or (_end_label(artist) if isinstance(artist, Line2D) else ""):
        return label
    colour, dash = _look(artist)
    for known in names:
        if (colour, dash) in known:
            return known[colour, dash]
        alike = {name for (other, _), name in known.items() if other == colour}
        if len(alike) == 1:
            return alike.pop()
    return colour
