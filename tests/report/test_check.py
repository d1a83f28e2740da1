"""The check finds each kind of damage in a rendered book, and nothing in a good one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from report.check import check, main

Damage = Callable[[Path], None]
ONE = "report/one.html"


def replacing(old: str, new: str, page: str = ONE) -> Damage:
    def damage(book: Path) -> None:
        text = (book / page).read_text(encoding="utf-8")
        assert old in text
        (book / page).write_text(text.replace(old, new, 1), encoding="utf-8")

    return damage


def adding(html: str, page: str = ONE) -> Damage:
    return replacing("</main>", f"{html}</main>", page)


DAMAGES: dict[str, tuple[Damage, str]] = {
    "reference": (adding("<p><strong>?@fig-none</strong></p>"), f"{ONE}: unresolved reference ?@fig-none"),
    "book reference": (
        adding('<p><span class="quarto-unresolved-ref">?fig-none</span></p>'),
        f"{ONE}: unresolved reference ?fig-none",
    ),
    "citation": (
        adding(
            '<p>(<span class="citation" data-cites="x nobody1900"><strong>nobody1900?</strong></span>)</p>'
        ),
        f"{ONE}: unresolved citation nobody1900?",
    ),
    "link": (adding('<a href="none.html">a</a>'), f"{ONE}: link to none.html, which does not exist"),
    "fragment": (
        adding('<a href="two.html#none">a</a>'),
        f"{ONE}: link to two.html#none, but that page has no #none",
    ),
    "own fragment": (adding('<a href="#none">a</a>'), f"{ONE}: link to #none, but that page has no #none"),
    "file": (adding('<a href="data/none.csv">a</a>'), f"{ONE}: link to data/none.csv, which does not exist"),
    "image": (lambda book: (book / "report/dot.svg").unlink(), f"{ONE}: image dot.svg is missing"),
    "alt": (replacing('alt="A red rectangle."', ""), f"{ONE}: image dot.svg has no alternative text"),
    "empty alt": (
        replacing('alt="A red rectangle."', 'alt=" "'),
        f"{ONE}: image dot.svg has no alternative text",
    ),
    "source for a value": (
        adding("<p><code>{python} page.banner()</code></p>"),
        f"{ONE}: shows source for a value: {{python}} page.banner()",
    ),
    "foreign image": (
        adding('<img src="https://a.org/b.svg" alt="B">'),
        f"{ONE}: <img> asks another host: https://a.org/b.svg",
    ),
    "foreign script": (
        adding('<script src="//a.org/b.js"></script>'),
        f"{ONE}: <script> asks another host: //a.org/b.js",
    ),
    "foreign style": (
        adding('<link rel="stylesheet" href="https://a.org/b.css">'),
        f"{ONE}: <link> asks another host: https://a.org/b.css",
    ),
    "foreign font": (
        adding("<style>@import url('https://a.org/font.css');</style>"),
        f"{ONE}: a style asks another host: https://a.org/font.css",
    ),
    "foreign import": (
        adding('<script type="module">import x from "https://a.org/x.js"</script>'),
        f"{ONE}: a script imports from another host: https://a.org/x.js",
    ),
    "style sheet": (
        lambda book: (book / "site.css").write_text('@import "//a.org/b.css";'),
        "site.css: asks another host: //a.org/b.css",
    ),
    "missing script": (lambda book: (book / "site.js").unlink(), f"{ONE}: <script> ../site.js is missing"),
    "other number": (
        replacing("Figure\u00a01.2:", "Figure\u00a01.9:"),
        f"A-sample-book.pdf: Figure 1.9 of {ONE} is not in the PDF",
    ),
    "number lost": (
        replacing("Figure\u00a01.2:", ""),
        "A-sample-book.pdf: Figure 1.2 is not on the site",
    ),
    "other words": (
        replacing("A figure from an image file", "A picture"),
        "A-sample-book.pdf: the caption of Figure 1.2 differs from the site's: A picture",
    ),
    "no PDF": (
        lambda book: (book / "A-sample-book.pdf").unlink(),
        "book: there is no PDF beside index.html",
    ),
    "no pages": (
        lambda book: (book / "index.html").unlink(),
        "book: there is no index.html: render the book first",
    ),
}


@pytest.fixture
def book(sample: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sample / "_book", tmp_path / "book"))


def test_good_books_pass(sample: Path, fuller: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(sample / "_book")]) == 0
    assert main([str(fuller / "_book")]) == 0
    assert "in order" in capsys.readouterr().out


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found(name: str, book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage, told = DAMAGES[name]
    damage(book)
    assert main([str(book)]) == 1
    assert told in capsys.readouterr().out.splitlines()


SOUND = {
    "code": "<pre>?@fig-none</pre>",
    "question": "<p><strong>Really?</strong> and <strong>η=0.1?</strong></p>",
    "address": '<p><a href="https://example.org/?sec-1">https://example.org/?sec-1</a></p>',
    "remark in a citation": '<p>(<span class="citation" data-cites="x">see <strong>why?</strong> X 1900</span>)</p>',
}


@pytest.mark.parametrize("name", SOUND)
def test_words_that_only_look_like_damage_are_none(name: str, book: Path) -> None:
    adding(SOUND[name])(book)
    assert check(book) == []


def test_an_escape_that_quarto_eats_is_found(tmp_path: Path) -> None:
    (tmp_path / "_quarto.yml").touch()
    (tmp_path / "one.qmd").write_text(
        '```{python}\n#| label: tbl-a\n#| tbl-cap: "$1\\\\,000$ of \\"all\\""\n```\n'
    )
    (tmp_path / "_book").mkdir()
    (tmp_path / "_book/index.html").write_text("<main></main>")
    found = [str(failure) for failure in check(tmp_path / "_book") if "one.qmd" in str(failure)]
    assert found == [
        r"one.qmd:3: the cell option has \,, of which Quarto eats the backslash: write it without"
    ]
