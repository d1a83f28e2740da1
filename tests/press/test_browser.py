"""The rendered site in a real browser: wide and narrow, light and dark, served and opened as files."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
if not CHROMIUM and not os.environ.get("CI"):
    pytest.skip("Chromium is not installed (apt install chromium)", allow_module_level=True)

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGES = ("index.html", "report/parts.html", "report/references.html", "report/more.html", "report/last.html")
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM, "Chromium is not installed, and in CI the browser tests have to run"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Requests are looked at in the browser."""


@pytest.fixture(scope="module")
def site(fuller: Path) -> Iterator[str]:
    """The address of the fuller book on a plain server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=fuller / "_book")) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@dataclass
class Watched:
    """A page and what went wrong on it."""

    page: Page
    wrong: list[str] = field(default_factory=list)


def left(request: Request) -> bool:
    """Whether the reader went on before the request was answered, which is no failure."""
    return "ERR_ABORTED" in (request.failure or "")


@pytest.fixture
def watched(browser: Browser, site: str) -> Iterator[Watched]:
    context = browser.new_context()
    watched = Watched(context.new_page())
    page, wrong = watched.page, watched.wrong
    page.on(
        "console",
        lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "requestfailed", lambda request: None if left(request) else wrong.append(f"failed: {request.url}")
    )
    page.on(
        "response",
        lambda response: (
            wrong.append(f"{response.status} {response.url}") if response.status >= 400 else None
        ),
    )
    allowed = (site, "file:", "data:", "blob:")
    page.on(
        "request",
        lambda asked: None if asked.url.startswith(allowed) else wrong.append(f"foreign: {asked.url}"),
    )
    yield watched
    context.close()
    assert wrong == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_pages_fit_their_window(watched: Watched, site: str, size: dict[str, int], scheme: str) -> None:
    page = watched.page
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=scheme)
    for address in PAGES:
        page.goto(f"{site}/{address}")
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], address
        cut = page.evaluate(
            """() => [...document.querySelectorAll('main img, main figure, main p, main h1')]
                 .filter(e => e.getBoundingClientRect().right > innerWidth + 1).length"""
        )
        assert cut == 0, address
        unseen = page.evaluate(
            "[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src)"
        )
        assert unseen == [], address
        paper, ink = page.evaluate(
            """() => ['background-color', 'color'].map(k => getComputedStyle(document.body).getPropertyValue(k))
                 .map(c => c.match(/[0-9]+/g).slice(0, 3).map(Number).reduce((a, b) => a + b))"""
        )
        assert (paper > ink) == (scheme == "light"), address
        assert abs(paper - ink) > 400, "text stands out from its paper"


def test_a_reader_gets_from_chapter_to_chapter(watched: Watched, site: str) -> None:
    page = watched.page
    page.set_viewport_size(WIDE)
    page.goto(f"{site}/index.html")
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("1 Parts")
    page.get_by_role("navigation", name="Chapters").get_by_role("link", name="The last one").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Appendix B — The last one")
    page.get_by_role("link", name="Previous").click()
    page.get_by_role("main").get_by_role("link", name="Equation 1.1").click()
    assert page.url.endswith("report/parts.html#eq-pythagoras")
    page.get_by_role("navigation", name="On this page").get_by_role("link", name="Tables").click()
    assert page.url.endswith("#sec-tables")


def test_the_menu_opens_on_a_phone(watched: Watched, site: str) -> None:
    page = watched.page
    page.set_viewport_size(PHONE)
    page.goto(f"{site}/report/parts.html")
    chapters = page.get_by_role("navigation", name="Chapters")
    expect(chapters).to_be_hidden()
    page.get_by_role("button", name="Contents").click()
    expect(chapters).to_be_visible()
    chapters.get_by_role("link", name="More").click()
    assert page.url.endswith("report/more.html")


def test_light_and_dark_are_chosen_and_remembered(watched: Watched, site: str) -> None:
    page = watched.page
    page.emulate_media(color_scheme="light")
    page.goto(f"{site}/index.html")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Switch to dark").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.goto(f"{site}/report/parts.html")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.querySelector('#fig-made img')).backgroundColor") == (
        "rgb(255, 255, 255)"
    ), "figures keep their paper"
    page.get_by_role("button", name="Switch to light").click()
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == before


def test_search_finds_a_word_on_another_page(watched: Watched, site: str) -> None:
    page = watched.page
    page.set_viewport_size(WIDE)
    page.goto(f"{site}/report/more.html")
    page.get_by_role("searchbox").fill("quotation")
    result = page.locator("#results a").first
    expect(result).to_be_visible()
    expect(page.locator("#results mark").first).to_contain_text("quotation")
    result.click()
    assert "/report/parts.html" in page.url
    page.get_by_role("searchbox").fill("zzzunheardof")
    expect(page.locator("#results")).to_have_text("Nothing found")


def test_the_keyboard_reaches_the_text(watched: Watched, site: str) -> None:
    page = watched.page
    page.goto(f"{site}/report/parts.html")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the text")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_pages_open_as_files(watched: Watched, fuller: Path) -> None:
    page = watched.page
    page.set_viewport_size(WIDE)
    page.goto((fuller / "_book" / "report" / "parts.html").as_uri())
    assert page.evaluate("document.querySelector('#fig-made img').naturalWidth") > 0
    expect(page.get_by_role("searchbox")).to_be_hidden()
    page.get_by_role("button", name="Switch to dark").click()
    page.get_by_role("link", name="References", exact=True).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("References")


def test_pages_read_without_scripts(browser: Browser, site: str) -> None:
    context = browser.new_context(java_script_enabled=False, viewport=PHONE)
    page = context.new_page()
    page.goto(f"{site}/report/parts.html")
    expect(page.get_by_role("navigation", name="Chapters")).to_be_visible()
    expect(page.get_by_role("button", name="Contents")).to_be_hidden()
    context.close()
