"""Findings: sentences that the report states, each a function over cached results; and statements by others.

A question's findings stand in its `answer` module:

    @finding("adam_vs_sgd", headline=True)
    def adam_is_ahead(found: Results) -> Evidence:
        ...
        return Evidence(f"Adam reaches {accuracy} …", {"Adam's interval lies above SGD's": low > high})

A finding is supported by the results at hand if all of its conditions hold; where one fails, the report names it
beside the sentence.
A statement by others is not asserted: the report lists whether our results confirm it, and what they show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias, TypeVar

from analysis.question import Question
from analysis.results import Results, SingleSeedError, cached, remembered

Load: TypeAlias = Callable[[str], Results]


@dataclass(frozen=True)
class Evidence:
    """What results say.

    Attributes:
        sentence: With their numbers.
        conditions: What must hold for it, by name; None where results cannot decide.
        short: Of a headline, the answer in at most fifteen words, for the first page.
    """

    sentence: str
    conditions: Mapping[str, bool] | None
    short: str = ""


@dataclass(frozen=True)
class Finding:
    """A sentence that the report states.

    Attributes:
        name: Of the function.
        results: The experiments behind it, in the order of the function's arguments.
        evidence: The function.
        headline: Whether it answers the question; one finding of each does.
    """

    name: str
    results: tuple[str, ...]
    evidence: Callable[..., Evidence]
    headline: bool = False


@dataclass(frozen=True)
class Statement:
    """What others state.

    Attributes:
        name, results, evidence: As of a finding.
        said: The statement, in our words.
    """

    name: str
    results: tuple[str, ...]
    evidence: Callable[..., Evidence]
    said: str


@dataclass(frozen=True)
class Verdict:
    """A finding or statement, evaluated on the results at hand.

    Attributes:
        sentence: With their numbers.
        failed: Names of the conditions that do not hold; None where results cannot decide.
        short: Of a headline, the answer for the first page.
        conditions: Names of all conditions.
    """

    sentence: str
    failed: tuple[str, ...] | None
    short: str = ""
    conditions: tuple[str, ...] = ()

    @property
    def supported(self) -> bool:
        """Whether all conditions hold."""
        return self.failed == ()


def finding(*results: str, headline: bool = False) -> Callable[[Callable[..., Evidence]], Finding]:
    """Make a function over these experiments' results a finding."""
    return lambda function: Finding(function.__name__, results, function, headline)


def statement(*results: str, said: str) -> Callable[[Callable[..., Evidence]], Statement]:
    """Make a function over these experiments' results a check of what others state."""
    return lambda function: Statement(function.__name__, results, function, said)


Kind = TypeVar("Kind")


def of_kind(question: Question, kind: type[Kind]) -> dict[str, Kind]:
    """Return what a question's answer has of a kind (findings, statements, exhibits), by name, in its order."""
    return {name: each for name, each in vars(question.answer).items() if isinstance(each, kind)}


def evaluate(claim: Finding | Statement, load: Load = cached) -> Verdict:
    """Evaluate a finding or statement on the results at hand.

    Raises:
        ResultsError: An experiment's results are missing.
    """
    evidence = claim.evidence(*(load(name) for name in claim.results))
    if evidence.conditions is None:
        return Verdict(evidence.sentence, None, evidence.short)
    failed = tuple(name for name, holds in evidence.conditions.items() if not holds)
    return Verdict(evidence.sentence, failed, evidence.short, tuple(evidence.conditions))


@cache
def verdict(claim: Finding | Statement) -> Verdict:
    """Evaluate a finding or statement on the cached results, once per process: several pages state the same."""
    return evaluate(claim)


def without_each_seed(claim: Finding | Statement, load: Load = cached) -> dict[int, Verdict]:
    """Evaluate a finding or statement again with each seed left out; nothing for results of one seed or of none."""
    found = [load(name) for name in claim.results]
    seeds = sorted({seed for each in found for seed in each.seeds})
    if len(seeds) < 2:
        return {}
    try:
        kept = {
            seed: {each.name: _without_each_seed(each).get(seed, each) for each in found} for seed in seeds
        }
    except SingleSeedError:
        return {}
    with suppress(Exception):  # it reads what depends on seeds
        seedless = {each.name: each.seedless for each in found}
        return dict.fromkeys(seeds, evaluate(claim, seedless.__getitem__))
    return {seed: evaluate(claim, results.__getitem__) for seed, results in kept.items()}


@remembered
def _without_each_seed(found: Results) -> dict[int, Results]:
    """Return the results without a seed, for each of them."""
    return {seed: found.without_seed(seed) for seed in found.seeds}
