"""The rendered site in a real browser: wide and narrow, light and dark, served and opened as files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.helpers.browsing import PHONE, WIDE, Watched, assert_pages_fit, chromium, served, watch

PAGES = ("index.html", "report/parts.html", "report/references.html", "report/more.html", "report/last.html")


@pytest.fixture(scope="module")
def browser(fuller: Path, parts: Path) -> Iterator[Browser]:
    """Chromium, once the books are rendered: Playwright keeps an event loop of its own in this thread."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def site(fuller: Path) -> Iterator[str]:
    """The address of the fuller book on a plain server."""
    with served(fuller / "_book") as address:
        yield address


@pytest.fixture
def watched(browser: Browser, site: str) -> Iterator[Watched]:
    with watch(browser, site) as watched:
        yield watched


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_pages_fit_their_window(watched: Watched, site: str, size: dict[str, int], scheme: str) -> None:
    assert_pages_fit(watched, site, PAGES, size, scheme)


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
    page.keyboard.press("Escape")
    expect(chapters).to_be_hidden()
    page.mouse.wheel(0, 900)
    page.get_by_role("button", name="Contents").click()
    expect(chapters.get_by_role("link", name="More")).to_be_in_viewport()
    chapters.get_by_role("link", name="More").click()
    assert page.url.endswith("report/more.html")


def test_a_phone_has_the_contents_of_the_page(watched: Watched, site: str) -> None:
    page = watched.page
    page.set_viewport_size(PHONE)
    page.goto(f"{site}/report/parts.html")
    contents = page.get_by_role("navigation", name="On this page")
    expect(contents.get_by_role("link", name="Tables")).to_be_hidden()
    contents.get_by_text("On this page").click()
    contents.get_by_role("link", name="Tables").click()
    assert page.url.endswith("#sec-tables")


def test_a_reference_shows_what_it_means(watched: Watched, site: str) -> None:
    page = watched.page
    page.set_viewport_size(WIDE)
    page.goto(f"{site}/report/more.html")
    page.get_by_role("main").get_by_role("link", name="Equation 1.1").hover()
    expect(page.get_by_role("tooltip").locator("math")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("tooltip")).to_be_hidden()


def test_code_is_copied(browser: Browser, site: str) -> None:
    context = browser.new_context(viewport=WIDE, permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(f"{site}/report/parts.html")
    page.locator("details.code-fold summary").first.click()
    box = page.locator(".listing:visible").first
    box.get_by_role("button", name="Copy").click()
    expect(box.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == box.locator("pre").text_content()
    context.close()


def test_light_and_dark_are_chosen_and_remembered(watched: Watched, site: str) -> None:
    page = watched.page
    page.emulate_media(color_scheme="light")
    page.goto(f"{site}/index.html")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Switch to dark").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.goto(f"{site}/report/parts.html")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.get_by_role("button", name="Switch to light").click()
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == before


def test_search_finds_a_word_on_another_page(watched: Watched, site: str) -> None:
    page = watched.page
    page.set_viewport_size(WIDE)
    page.goto(f"{site}/report/more.html")
    page.get_by_role("combobox", name="Search").fill("quotation")
    result = page.locator("#results a").first
    expect(result).to_be_visible()
    expect(page.locator("#results mark").first).to_contain_text("quotation")
    result.click()
    assert "/report/parts.html" in page.url
    page.get_by_role("combobox", name="Search").fill("zzzunheardof")
    expect(page.locator("#results")).to_have_text("Nothing found")


def test_search_works_by_keyboard_and_puts_titles_first(watched: Watched, site: str) -> None:
    page = watched.page
    page.set_viewport_size(WIDE)
    page.goto(f"{site}/report/more.html")
    page.keyboard.press("/")
    expect(page.get_by_role("combobox", name="Search")).to_be_focused()
    page.keyboard.type("tables")
    first = page.get_by_role("option").first
    expect(first.get_by_role("link", name="Tables", include_hidden=True)).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    page.wait_for_url("**/report/parts.html#sec-tables")


def test_search_finds_figures_by_their_captions(watched: Watched, site: str) -> None:
    page = watched.page
    page.set_viewport_size(WIDE)
    page.goto(f"{site}/report/parts.html")
    caption = page.locator("#fig-made figcaption").inner_text()
    page.get_by_role("combobox", name="Search").fill(caption)
    page.get_by_role("option").first.click()
    assert page.url.endswith("#fig-made")


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
    page.get_by_role("combobox", name="Search").fill("quotation")
    expect(page.get_by_role("option").first).to_be_visible()
    page.get_by_role("button", name="Switch to dark").click()
    page.get_by_role("link", name="References", exact=True).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("References")


def test_a_part_folds_without_scripts(browser: Browser, parts: Path) -> None:
    context = browser.new_context(java_script_enabled=False, viewport=WIDE)
    page = context.new_page()
    page.goto((parts / "_book" / "report" / "rates.html").as_uri())
    chapters = page.get_by_role("navigation", name="Chapters")
    expect(chapters.get_by_role("link", name="Widths")).to_be_visible()
    chapters.get_by_text("Assignment 1").click()
    expect(chapters.get_by_role("link", name="Widths")).to_be_hidden()
    expect(chapters.get_by_role("link", name="Batches")).to_be_visible()
    context.close()


def test_pages_read_without_scripts(browser: Browser, site: str) -> None:
    context = browser.new_context(java_script_enabled=False, viewport=PHONE)
    page = context.new_page()
    page.goto(f"{site}/report/parts.html")
    expect(page.get_by_role("navigation", name="Chapters")).to_be_visible()
    expect(page.get_by_role("button", name="Contents")).to_be_hidden()
    context.close()
