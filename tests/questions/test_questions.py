"""What holds of every question, whatever it asks."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import matplotlib.pyplot as plt
import pytest
import yaml
from matplotlib.figure import Figure

from analysis import plotting
from analysis.engine.run import Run
from analysis.exhibits import Exhibit, Picture, Sketch, Table
from analysis.findings import Finding, Statement, evaluate, of_kind
from analysis.question import PRESETS, Preset, Question
from analysis.questions import QUESTIONS
from tests.helpers.altered import assert_refutable

ROOT = Path(__file__).parents[2]
UNFORMATTED = re.compile(r"\{[A-Za-z_]+[\[(.:]")  # of a string that should have begun with f
PAGES = {path: path.read_text(encoding="utf-8") for path in ROOT.glob("report/*.qmd")}

questions = pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
exhibits = pytest.mark.parametrize(
    "exhibit",
    [each for question in QUESTIONS for each in of_kind(question, Exhibit).values()],
    ids=lambda exhibit: exhibit.label,
)


def page(question: Question) -> str:
    return PAGES[ROOT / question.page]


def quoted(question: Question, call: str, pages: Iterable[str] = tuple(PAGES.values())) -> list[str]:
    """Names with which pages that open a question as `page`, say, call `page.<call>("name", …)`."""
    return [
        name
        for text in pages
        for opened in re.findall(rf'(\w+) = book\.open_(?:page|exhibits)\("{question.name}"\)', text)
        for names in re.findall(rf"\b{opened}\.{call}\(([^)]*)\)", text)
        for name in re.findall(r'"([^"]+)"', names)
    ]


@questions
def test_every_finding_is_quoted_once_and_the_headline_by_its_page(question: Question) -> None:
    findings = of_kind(question, Finding)
    assert sorted(quoted(question, "finding")) == sorted(findings)
    assert [name for name, each in findings.items() if each.headline] == [next(iter(findings))]
    assert next(iter(findings)) in quoted(question, "finding", [page(question)])


@questions
def test_no_value_is_left_unformatted_in_a_sentence(question: Question) -> None:
    claims = (*of_kind(question, Finding).values(), *of_kind(question, Statement).values())
    for found in map(evaluate, claims):
        assert not UNFORMATTED.search(f"{found.sentence} {found.short}")


@questions
def test_a_question_of_the_assignments_has_a_short_answer_and_a_picture(question: Question) -> None:
    if question.assignment is None:
        return
    (headline,) = (each for each in of_kind(question, Finding).values() if each.headline)
    assert 3 < len(evaluate(headline).short.split()) <= 15
    (picture,) = of_kind(question, Sketch).values()
    figure = picture.figure()
    (axes,) = figure.axes
    assert axes.has_data()
    assert picture.alt.endswith(".")
    plt.close(figure)


@questions
def test_every_exhibit_is_shown_once(question: Question) -> None:
    shown = quoted(question, "show")
    assert sorted(shown) == sorted(exhibit.label for exhibit in of_kind(question, Exhibit).values())


@questions
def test_every_page_has_its_section_and_shows_its_set_up(question: Question) -> None:
    assert f"{{#{question.section}}}" in page(question).splitlines()[0]
    assert "page.setup()" in page(question)


def contradictions(question: Question) -> ModuleType | None:
    """The question's own tests, if it has any."""
    name = f"tests.questions.test_{question.name}"
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


@questions
def test_every_finding_and_statement_can_be_contradicted(question: Question) -> None:
    """By results that its own tests make up, or else by one of the standard alterations."""
    findings, statements = of_kind(question, Finding), of_kind(question, Statement)
    if tests := contradictions(question):
        assert set(tests.CONTRADICTIONS) == set(findings)
        decided, undecided = set(getattr(tests, "REVERSALS", {})), getattr(tests, "UNDECIDED", set())
        assert decided | undecided == set(statements)
        return
    assert not statements, "statements by others need tests of their own"
    for name in findings:
        assert_refutable(question.name, name)


def test_the_standard_alterations_refute_findings() -> None:
    for name in ("rate_matters_too", "contrast_overfits"):
        assert_refutable("overfitting", name)


def test_names_and_labels_are_unique_in_the_book() -> None:
    for kind in (Finding, Statement, Exhibit):
        names = [name for question in QUESTIONS for name in of_kind(question, kind)]
        assert len(set(names)) == len(names)
    labels = [each.label for question in QUESTIONS for each in of_kind(question, Exhibit).values()]
    assert len(set(labels)) == len(labels)


def test_the_book_has_the_questions_pages_in_their_order() -> None:
    book = yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))["book"]
    parts = {entry["part"]: entry["chapters"] for entry in book["chapters"] if isinstance(entry, dict)}
    for assignment in (1, 2):
        pages = [question.page for question in QUESTIONS if question.assignment == assignment]
        assert parts.pop(f"Assignment {assignment}") == pages
    assert not parts
    rest = [question.page for question in QUESTIONS if question.assignment is None]
    assert set(rest) < set(book["appendices"])


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_no_budget_is_typed_into_a_page(path: Path) -> None:
    """Numbers of seeds, rates, epochs and the like come from the runs, also where a quick preset is shown."""
    number = r"(?:\d[\d,.]*|one|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty)"
    text = re.sub(r"```.*?```|\$[^$]*\$", "", PAGES[path], flags=re.DOTALL)
    text = text.replace("20,000 epochs", "")  # the source report's
    assert not re.findall(rf"\b{number} (?:seeds|starts|rates|epochs|passes)\b", text)


@exhibits
def test_an_exhibit_has_a_caption_words_for_the_blind_and_named_axes(exhibit: Exhibit) -> None:
    for label, content in exhibit.contents().items():
        assert re.fullmatch(r"(fig|tbl)-[a-z0-9-]+", label)
        assert content.caption.endswith(".")
        assert not UNFORMATTED.search(content.caption)
        if isinstance(content, Table):
            assert label.startswith("tbl-")
            assert len(content.frame)
            assert len(content.widths) in (0, len(content.frame.columns))
        else:
            assert label.startswith("fig-")
            assert content.alt.endswith(".")
            assert content.alt != content.caption
            assert_axes_are_named(content.figure)
            plt.close(content.figure)


def assert_axes_are_named(figure: Figure) -> None:
    """Every axis that is not shared has a name."""
    placed = {axes: place for axes in figure.axes if (place := axes.get_subplotspec()) and axes.axison}
    lowest = max((place.rowspan.stop for place in placed.values()), default=0)
    for axes, place in placed.items():
        if len(axes.get_xticks()):
            assert axes.get_xlabel() or place.rowspan.stop < lowest
        if len(axes.get_yticks()):
            assert axes.get_ylabel() or place.colspan.start > 0


@exhibits
def test_the_same_results_make_the_same_file(exhibit: Exhibit) -> None:
    """So that a render changes nothing that the results have not changed."""
    files = []
    for _ in range(2):
        for content in list(exhibit.contents().values())[:1]:
            if isinstance(content, Picture):
                files.append(plotting.svg(content.figure))
                plt.close("all")
            else:
                files.append(content.frame.to_csv().encode())
    assert files[0] == files[1]


@questions
@pytest.mark.parametrize("preset", PRESETS)
def test_no_job_counts_twice(question: Question, preset: Preset) -> None:
    """As it would if runs that should differ in their seeds had one."""
    jobs = question.jobs(preset)
    assert len(set(jobs)) == len(jobs)


@questions
@pytest.mark.parametrize("preset", PRESETS)
def test_validation_examples_are_held_out_where_they_are_measured(question: Question, preset: Preset) -> None:
    for job in question.jobs(preset):
        if isinstance(job, Run):
            measured = {metric for measure in job.measures for metric in measure.metrics}
            assert job.validation_examples > 0 or not measured & {"validation_loss", "validation_accuracy"}
