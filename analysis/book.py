"""What the pages of the report call: a page's findings, exhibits and set-up, and the tables of the appendices.

A page's first cell opens it, `page = book.open_page("adam_vs_sgd")`, which evaluates its findings; inline values only
look them up.
Files that a page shows or links to (figures, CSV) are written to `report/generated/` while it renders.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown

from analysis import archive, citation, explorer, formatting
from analysis.campaign.keys import Program
from analysis.data import MNIST_SHA256
from analysis.drawn import axes_guide, drawn_csv, drawn_points
from analysis.engine.run import Run
from analysis.exhibits import Content, Exhibit, Sketch, Table
from analysis.files import write_atomically
from analysis.findings import Finding, Statement, Verdict, of_kind, verdict, without_each_seed
from analysis.formatting import escape_markdown, join_english, markdown_table, plain_text
from analysis.plotting import svg
from analysis.question import Preset, Question
from analysis.questions import QUESTIONS
from analysis.results import cached
from analysis.setup import describe_setup, outline_setup

Kind = TypeVar("Kind")

NAMES = [question.name for question in QUESTIONS]
SETUP_LINES = 4  # longer set-ups stand in the appendix
GENERATED = Path(__file__).resolve().parents[1] / "report" / "generated"


@dataclass(frozen=True)
class Page:
    """A question's page.

    Attributes:
        question: What it answers.
        verdicts: Of its findings, by name.
        exhibits: By label.
    """

    question: Question
    verdicts: dict[str, Verdict]
    exhibits: dict[str, Exhibit]

    @property
    def preset(self) -> Preset:
        """Of the results that are shown."""
        return cached(self.question.name).preset

    def finding(self, name: str) -> Markdown:
        """Return a finding's sentence; where results contradict it, say which condition fails."""
        return Markdown(sentence(_known(name, self.verdicts, "finding")))

    def show(self, *labels: str) -> None:
        """Print exhibits, each with what it shows and how to compute that again."""
        for label in labels:
            self._show(_known(label, self.exhibits, "exhibit"))

    def _show(self, exhibit: Exhibit) -> None:
        drawn = [_print_content(label, content) for label, content in exhibit.contents().items()]
        lines = [provenance_line(name) for name in exhibit.results]
        links = [explorer.link(name, exhibit.explore) for name in exhibit.results if explorer.metrics(name)]
        _print_details([*drawn, *lines, *links], exhibit.make)

    def setup(self) -> None:
        """Print what the page's runs have in common and how they differ: an outline if that is long."""
        jobs = self.question.jobs(self.preset)
        lines = describe_setup(jobs)
        if len(lines) > SETUP_LINES:
            lines = outline_setup(jobs, "@sec-setups")
        if lines:
            print(_setup_box("Set-up", lines))

    def banner(self) -> Markdown:
        """Return a warning if the page shows quick results."""
        return provisional_banner((self.question.name,))


def show_setups() -> None:
    """Print the set-ups of which pages have an outline."""
    for question in QUESTIONS:
        lines = describe_setup(question.jobs(cached(question.name).preset))
        if len(lines) > SETUP_LINES:
            print(_setup_box(f"@{question.section}", lines))


def _setup_box(title: str, lines: Sequence[tuple[str, str]]) -> str:
    told = "\\\n".join(f"*{name}:* {text}." for name, text in lines)
    return f"::: {{.setup}}\n**{title}**\\\n{told}\n:::\n"


def open_page(name: str) -> Page:
    """Open a question's page: evaluate its findings, know its exhibits."""
    page = open_exhibits(name)
    return replace(
        page, verdicts={key: verdict(claim) for key, claim in of_kind(page.question, Finding).items()}
    )


def open_exhibits(name: str) -> Page:
    """Open a question's page for what another page shows of its exhibits: no finding is evaluated."""
    questions = {each.name: each for each in QUESTIONS}
    question = _known(name, questions, "question")
    return Page(question, {}, {each.label: each for each in of_kind(question, Exhibit).values()})


def _known(name: str, known: Mapping[str, Kind], what: str) -> Kind:
    """Return what has that name.

    Raises:
        KeyError: Nothing has it; the message lists the names.
    """
    if name not in known:
        raise KeyError(f"no {what} is called {name!r}: choose from {', '.join(known)}")
    return known[name]


def provisional_banner(names: Sequence[str] = NAMES) -> Markdown:
    """Return a warning that some of these experiments show quick results; a comment where all are full.

    (Quarto shows the source of an inline value that is empty.)
    """
    quick = [name for name in names if cached(name).preset == "quick"]
    if not quick:
        return Markdown("<!-- the full results -->")
    return Markdown(
        f"**Provisional.** These experiments show the *quick* preset, a rehearsal cut down to seconds, because "
        f"their full runs are not in the cache: {', '.join(f'`{name}`' for name in quick)}."
    )


def sentence(found: Verdict) -> str:
    """Return a finding as the text states it."""
    if found.supported:
        return found.sentence
    return f"**Not supported by these results** ({join_english(found.failed or ())}): “{found.sentence}”"


def show_cards() -> None:
    """Print every question's answer in short, with a link to its page; on the site as a card with a small picture."""
    cards, lines = [], []
    for question in QUESTIONS:
        if question.assignment is None:
            continue
        headline = in_short(question)
        (picture,) = of_kind(question, Sketch).values()
        file = f"sketch-{question.name.replace('_', '-')}.svg"
        figure = picture.figure()
        write_atomically(GENERATED / file, svg(figure))
        plt.close(figure)
        cards.append(
            f'::: {{.card}}\n![](report/generated/{file}){{fig-alt="{picture.alt}"}}\n\n'
            f"[{question.title}]({question.page}){{.title}}\n\n{headline}\n:::\n"
        )
        lines.append(f"- **{question.title}** (@{question.section}). {headline}")
    _print_for("html", "::: {.cards}\n" + "\n".join(cards) + ":::")
    _print_for("typst", "\n".join(lines))


def in_short(question: Question) -> str:
    """Return a question's answer in at most fifteen words."""
    (claim,) = (each for each in of_kind(question, Finding).values() if each.headline)
    answer = verdict(claim)
    return sentence(replace(answer, sentence=answer.short))


def show(label: str, content: Content) -> None:
    """Print a figure or table that shows no experiment's results, with its data."""
    _print_details([_print_content(label, content)])


def _print_content(label: str, content: Content) -> str:
    """Print the Markdown of a figure, whose file is written, or of a table; say where its data are."""
    if isinstance(content, Table):
        print(f"{markdown_table(content.frame, content.widths)}\n\n: {content.caption} {{#{label}}}\n")
        cells = content.frame.rename(columns=plain_text).map(lambda cell: plain_text(str(cell)))
        return f"What is shown: {_ship(f'{label}.csv', cells.to_csv(index=False).encode())}."
    points, guide = drawn_points(content.figure), axes_guide(content.figure)
    write_atomically(GENERATED / f"{label}.svg", svg(content.figure))
    plt.close(content.figure)
    alt = content.alt.replace('"', "&quot;")
    print(f'![{content.caption}](generated/{label}.svg){{#{label} fig-alt="{alt}"}}\n')
    link = _ship(f"{label}.csv", drawn_csv(points))
    columns = ", ".join(f"`{name}`" for name in points)
    return f"What is drawn: {link}, with the [columns](#sec-drawn) {columns}{escape_markdown(guide)}."


def _print_details(lines: Sequence[str], function: Callable[..., Any] | None = None) -> None:
    """Print, for the site, lines that open on demand, and a function's code."""
    paragraphs = list(lines)
    if function:
        file = Path(inspect.getfile(function)).relative_to(GENERATED.parents[1]).as_posix()
        paragraphs.append(f"The code, in `{file}`:\n\n```python\n{inspect.getsource(function)}```")
    opened = '```{=html}\n<details class="provenance"><summary>Data and code</summary>\n```'
    _print_for("html", "\n\n".join([opened, *paragraphs, "```{=html}\n</details>\n```"]))


def _print_for(form: str, text: str) -> None:
    """Print what one format alone shows."""
    print(f':::: {{.content-visible when-format="{form}"}}\n{text}\n::::\n')


@cache
def provenance_line(name: str) -> str:
    """Return an experiment's data as CSV, the command that recomputes it, and how it was computed, in one line."""
    found = cached(name)
    links = ", ".join(_ship(file, table) for file, table in archive.tables(name).items())
    preset = "" if found.preset == "full" else f" --preset {found.preset}"
    return (
        f"Experiment `{name}` ({found.preset}); data: {links}; "
        f"recompute: `python -m analysis.run_all --only {name}{preset} --force`; {escape_markdown(found.summary())}."
    )


def stored_precision() -> Markdown:
    """Say how exactly the explorer's scripts hold the values."""
    return Markdown(
        f"Losses and norms are stored to within one part in {2 * explorer.RELATIVE_STEPS:,}, accuracies and cosines to "
        f"within 1/{2 * explorer.LINEAR_STEPS:,}."
    )


def show_curves() -> None:
    """Print the list of the explorer's scripts, which it reads as well, and write them."""
    items = []
    for question, metrics in explorer.explored().items():
        links = []
        for metric in metrics:
            content = explorer.script(question, metric)
            links.append(_ship(explorer.file_name(question, metric), content, formatting.label(metric)))
        items.append(f"- **{question.title}**: {', '.join(links)}")
    print("::: {#explorer-data}\n" + "\n".join(items) + "\n:::\n")


def _ship(file: str, content: bytes, words: str = "") -> str:
    """Write a file for readers to load; return a link to it. Pages that render at once may write the same."""
    write_atomically(GENERATED / file, content)
    return f"[{words or file}](generated/{file})"


def all_data() -> Markdown:
    """Return a sentence with the archive of all results, which it writes."""
    packed = archive.archive()
    link = _ship(f"{archive.NAME}.zip", packed)
    return Markdown(
        f"All results in one file: {link} ({len(packed) / 1e6:.1f} MB), CSV with a guide to its columns."
    )


def show_files() -> None:
    """Print the list of all experiments' results."""
    for question in QUESTIONS:
        links = (_ship(file, table) for file, table in archive.tables(question.name).items())
        print(f"- {question.asked}: {', '.join(links)}")
    print()


def show_guide(described: Mapping[str, str]) -> None:
    """Print what columns or metrics are."""
    names = [f"`{name}`" for name in described]
    frame = pd.DataFrame({"Name": names, "What it is": map(escape_markdown, described.values())})
    print(markdown_table(frame, (30, 70)), "\n")


def cited() -> Markdown:
    """Return how to cite the report, in words."""
    return Markdown(citation.words(citation.read()))


def show_bibtex() -> None:
    """Print the entry for bibliographies, with a file of it."""
    entry = citation.bibtex(citation.read())
    print(f"```bibtex\n{entry}```\n")
    _print_for("html", _ship("mnist-report.bib", entry.encode()))


def listing(path: str, step: int | None = None) -> None:
    """Print a source file as a code block, or of a file in numbered steps ("# 1. …") one step without its comment.

    Raises:
        ValueError: The file has no such step.
    """
    source = (GENERATED.parents[1] / path).read_text(encoding="utf-8")
    if step is not None:
        found = re.search(rf"^# {step}\. .*\n(?:#.*\n)*((?:(?!# \d\.|def curve).*\n)*)", source, re.MULTILINE)
        if not found:
            raise ValueError(f"{path} has no step {step}: steps begin with a comment such as # 1.")
        source = re.sub(r"^#.*\n", "", found[1], flags=re.MULTILINE).strip() + "\n"
    print(f"```python\n{source}```")


# The tables of the appendices


def show_findings() -> None:
    """Print what must hold for each finding: on the site of all, in the PDF of those that one seed decides."""
    lines = [
        (f"@{question.section}", verdict(claim), without_each_seed(claim))
        for question in QUESTIONS
        for claim in of_kind(question, Finding).values()
    ]
    frame = pd.DataFrame(
        {
            "Section": [section for section, *_ in lines],
            "What must hold": [_what_must_hold(each) for _, each, _ in lines],
            "Without a seed": [_support(left) for *_, left in lines],
        }
    )
    above = (
        "The table lists it, in the order of the pages; what does not hold is marked. Last column: whether all of it "
        "holds with any one of the experiment's seeds left out, or which must not be (–: some of its settings have a "
        "single seed, or its results none)."
    )
    _print_for("html", f"{above}\n\n{markdown_table(frame, (14, 76, 10))}")
    fragile = [
        f"- {section}, {_support(left)}: “{_first_sentence(each.sentence)}” What then fails: {'; '.join(failing)}."
        for section, each, left in lines
        for failing in [dict.fromkeys(name for one in left.values() for name in one.failed or ())]
        if failing
    ]
    told = (
        f"The site lists what must hold for each of the {len(lines)} findings. {len(fragile)} of them no longer hold "
        "if some single seed is left out. They are named by their first sentence, after the seeds that they need:"
    )
    _print_for("typst", "\n".join([told, "", *fragile]))


def _support(left: Mapping[int, Verdict]) -> str:
    """Say without which seed a finding does not hold; a dash if none can be left out."""
    needed = [str(seed) for seed, each in left.items() if not each.supported]
    if not needed:
        return "holds" if left else "–"
    return f"needs seed{'s' if len(needed) > 1 else ''} {', '.join(needed)}"


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.?]) (?=[A-Z@(])", text, maxsplit=1)[0]


def _what_must_hold(found: Verdict) -> str:
    failed = found.failed or ()
    return "; ".join(f"**{name} (it does not)**" if name in failed else name for name in found.conditions)


def statements_table() -> Table:
    """Tabulate what others state, and what our results say of it."""
    lines = []
    for question in QUESTIONS:
        for claim in of_kind(question, Statement).values():
            found = verdict(claim)
            words = "not testable" if found.failed is None else "confirmed" if found.supported else "refuted"
            lines.append(
                {
                    "Section": f"@{question.section}",
                    "Statement": claim.said,
                    "Verdict": words,
                    "Our results": found.sentence,
                }
            )
    caption = "Statements of others, in our words, and what our results show."
    return Table(pd.DataFrame(lines), caption, (12, 28, 12, 48))


def digests_table() -> Table:
    """Tabulate the data's files and their SHA-256."""
    frame = pd.DataFrame({"File": [f"`{name}`" for name in MNIST_SHA256], "SHA-256": MNIST_SHA256.values()})
    frame["SHA-256"] = frame["SHA-256"].map(lambda digest: f"`{digest[:32]}` `{digest[32:]}`")
    return Table(frame, "The four files of MNIST and their digests.", (36, 64))


def experiments_table() -> Table:
    """Tabulate every experiment's budget."""
    lines = []
    for question in QUESTIONS:
        found = cached(question.name)
        jobs = question.jobs(found.preset)
        runs = [job for job in jobs if isinstance(job, Run)]
        programs = [dict(job.arguments) for job in jobs if isinstance(job, Program)]
        epochs = {run.epochs for run in runs} | {each["epochs"] for each in programs if "epochs" in each}
        lines.append(
            {
                "Experiment": f"`{question.name}`",
                "Question": f"@{question.section}, {question.title}",
                "Results": len(found.provenance),
                "Seeds": len({run.seed for run in runs}) or "–",
                "Epochs": " / ".join(f"{each:,}" for each in sorted(epochs)) or "–",
                "Minutes": f"{found.seconds / 60:.1f}",
            }
        )
    caption = "Experiments: number of results, seeds, epochs and time to compute."
    return Table(pd.DataFrame(lines), caption, (20, 36, 8, 7, 20, 9))


def environments_table() -> Table:
    """Tabulate on what, and with which versions, how many of the results were computed."""
    made = Counter(
        (
            escape_markdown(each.device_name),
            escape_markdown(each.device),
            each.threads,
            escape_markdown(each.torch),
            escape_markdown(each.numba or "–"),
        )
        for question in QUESTIONS
        for each in cached(question.name).provenance
    )
    frame = pd.DataFrame(list(made), columns=["Processor", "Device", "Threads", "PyTorch", "Numba"])
    return Table(frame.assign(Results=list(made.values())), "What computed the results.")


def provenance_table() -> Table:
    """Tabulate when, from which commit and on what each experiment was computed."""
    frame = pd.DataFrame(
        {
            "Experiment": [f"`{question.name}`" for question in QUESTIONS],
            "Preset": [cached(question.name).preset for question in QUESTIONS],
            "Computed": [escape_markdown(cached(question.name).summary()) for question in QUESTIONS],
        }
    )
    caption = "Where the results of each experiment come from."
    if frame["Computed"].str.contains("+", regex=False).any():
        caption += " A plus sign marks a commit with uncommitted changes."
    return Table(frame, caption, (20, 10, 70))
