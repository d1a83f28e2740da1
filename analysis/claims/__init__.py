"""The report's findings as code, in one module per assignment; and what others state, held against our results.

Each is a function over cached results with the sentence that it supports.
`judge` gives a finding's verdict and its sentence with the numbers: the text shows it, the appendix lists all, the
tests assert all on the committed cache.
When results contradict a finding, the report says so in place.
A statement by others is not asserted: the appendix lists whether our results confirm it, and what they show.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from analysis.results import load

results = cache(load)  # a chapter asks for the same results many times


@dataclass(frozen=True)
class Evidence:
    """What the results say about a finding: whether they support it, and the numbers for its sentence.

    `holds` is None for a statement by others that our results cannot decide.
    """

    holds: bool | None
    numbers: dict[str, str]


@dataclass(frozen=True)
class Claim:
    """A finding.

    Attributes:
        section: Label of the section that states it.
        experiments: The experiments behind it.
        sentence: What it says, with places for the evidence's numbers; of a statement by others, what our results show.
        check: Called with the experiments' results.
        said: What others state, in our words, and empty for findings of our own; `check` tells whether it holds.
    """

    section: str
    experiments: tuple[str, ...]
    sentence: str
    check: Callable[..., Evidence]
    said: str = ""


@dataclass(frozen=True)
class Verdict:
    """A finding judged by the results at hand; `text` is its sentence with the numbers."""

    claim: Claim
    holds: bool | None
    text: str


REGISTERED: dict[str, Claim] = {}  # by name, as far as their modules are imported: `registry` imports all


def claim(
    section: str, experiments: tuple[str, ...], sentence: str, said: str = ""
) -> Callable[[Callable[..., Evidence]], Callable[..., Evidence]]:
    """Registers the decorated check as the finding, or the statement by others, of its name."""

    def register(check: Callable[..., Evidence]) -> Callable[..., Evidence]:
        REGISTERED[check.__name__] = Claim(section, experiments, sentence, check, said)
        return check

    return register


def judge(name: str) -> Verdict:
    """The verdict of the cached results on a finding.

    Raises:
        KeyError: No finding has that name.
        ResultsError: An experiment's results are missing.
    """
    found = REGISTERED[name]
    evidence = found.check(*(results(experiment) for experiment in found.experiments))
    return Verdict(found, evidence.holds, found.sentence.format(**evidence.numbers))
