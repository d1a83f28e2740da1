"""Exhibits: the report's figures and tables, each a function over cached results.

A question's exhibits stand in its `answer` module:

    @exhibit("fig-adam", "adam_vs_sgd")
    def test_errors(found: Results) -> Picture:
        ...
        return Picture(figure, caption=f"… over {count_words(seeds, 'seed')}", alt="…")

A question of the assignments has a `sketch` as well, the small picture of its card on the first page.
The function's captions take budgets from the results, so that they are right for every preset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import pandas as pd
from matplotlib.figure import Figure

from analysis.findings import Load
from analysis.plotting import sketch_axes
from analysis.results import cached


@dataclass(frozen=True)
class Picture:
    """A figure with its caption and its words for those who cannot see it."""

    figure: Figure
    caption: str
    alt: str


@dataclass(frozen=True)
class Table:
    """A table with its caption; widths of the columns are relative to each other."""

    frame: pd.DataFrame
    caption: str
    widths: tuple[int, ...] = ()


Content: TypeAlias = Picture | Table


@dataclass(frozen=True)
class Exhibit:
    """One figure or table, or a family of them.

    Attributes:
        label: As references name it, beginning with fig- or tbl-; of a family, how their labels begin.
        results: The experiments that it shows, in the order of the function's arguments.
        make: The function; it returns the content, of a family all contents by label.
        explore: How the explorer shows the same runs, as its page's address says it: `metric=train_loss&run=…`.
    """

    label: str
    results: tuple[str, ...]
    make: Callable[..., Content | Mapping[str, Content]]
    explore: str = ""

    def contents(self, load: Load = cached) -> dict[str, Content]:
        """Draw or tabulate the results at hand: content by label.

        Raises:
            ResultsError: An experiment's results are missing.
        """
        made = self.make(*(load(name) for name in self.results))
        return {self.label: made} if isinstance(made, Picture | Table) else dict(made)


def exhibit(
    label: str, *results: str, explore: str = ""
) -> Callable[[Callable[..., Content | Mapping[str, Content]]], Exhibit]:
    """Make a function over these experiments' results an exhibit."""
    return lambda function: Exhibit(label, results, function, explore)


@dataclass(frozen=True)
class Sketch:
    """The small picture of a question's card on the first page.

    Attributes:
        results: The experiments that it shows, in the order of the function's arguments.
        draw: The function; it draws on axes without ticks.
        alt: What is seen, for those who cannot see it.
    """

    results: tuple[str, ...]
    draw: Callable[..., None]
    alt: str

    def figure(self, load: Load = cached) -> Figure:
        """Draw the results at hand.

        Raises:
            ResultsError: An experiment's results are missing.
        """
        figure, axes = sketch_axes()
        self.draw(axes, *(load(name) for name in self.results))
        return figure


def sketch(*results: str, alt: str) -> Callable[[Callable[..., None]], Sketch]:
    """Make a function over axes and these experiments' results the question's small picture."""
    return lambda function: Sketch(results, function, alt)
