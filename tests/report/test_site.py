"""The report's own site as its readers meet it, whatever program rendered it: `SITE=_book` names a rendered one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.helpers.browsing import PHONE, WIDE, chromium, served

NARROW = {"width": 320, "height": 800}
SHIFTS = """window.shifted = 0; new PerformanceObserver(list => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
}).observe({ type: "layout-shift", buffered: true });"""


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest) -> Path:
    if site := os.environ.get("SITE"):
        return Path(site).resolve()
    rendered: Path = request.getfixturevalue("book")
    return rendered


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[str]:
    with served(folder) as address:
        yield address


@pytest.fixture(scope="module")
def browser(folder: Path) -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=WIDE)
    yield context.new_page()
    context.close()


def addresses(folder: Path) -> list[str]:
    pages = (path.relative_to(folder) for path in folder.rglob("*.html"))
    return sorted(path.as_posix() for path in pages if "site_libs" not in path.parts)


@pytest.mark.parametrize("size", [PHONE, NARROW], ids=["phone", "narrow"])
def test_no_page_is_wider_than_a_phone(page: Page, site: str, folder: Path, size: dict[str, int]) -> None:
    page.set_viewport_size(size)
    for address in addresses(folder):
        page.goto(f"{site}/{address}")
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], address


def test_what_scrolls_is_within_reach_of_the_keyboard_and_shows_that_there_is_more(
    page: Page, site: str, folder: Path
) -> None:
    page.set_viewport_size(PHONE)
    for address in addresses(folder):
        page.goto(f"{site}/{address}")
        unreachable = page.evaluate(
            """() => [...document.querySelectorAll('main *')].filter(e =>
                 e.scrollWidth > e.clientWidth + 1 && ['auto', 'scroll'].includes(getComputedStyle(e).overflowX)
                 && e.checkVisibility() && !(e.tabIndex >= 0 && e.classList.contains('more-right')))
                 .map(e => e.outerHTML.slice(0, 90))"""
        )
        assert unreachable == [], address


def test_a_link_to_a_figure_lands_on_it_on_a_slow_connection(page: Page, site: str) -> None:
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    slow = {"offline": False, "latency": 150, "downloadThroughput": 200_000, "uploadThroughput": 90_000}
    network.send("Network.emulateNetworkConditions", slow)
    page.goto(f"{site}/report/overfitting.html#fig-turn", wait_until="load")
    page.wait_for_timeout(1500)
    top = page.evaluate("document.getElementById('fig-turn').getBoundingClientRect().top")
    assert -10 <= top <= 150


def test_figures_keep_their_place_while_they_load(page: Page, site: str) -> None:
    page.goto(f"{site}/report/overfitting.html")
    sizes = page.eval_on_selector_all(
        "main figure img", "all => all.map(i => [i.getAttribute('width'), i.loading])"
    )
    assert sizes
    assert all(width and loading == "lazy" for width, loading in sizes)


def test_figures_follow_the_page_into_the_dark(page: Page, site: str) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(f"{site}/report/overfitting.html")
    image = page.locator("main figure img").first
    image.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    assert page.evaluate("getComputedStyle(document.querySelector('main figure img')).colorScheme") != "light"
    assert darkness(page, image.screenshot()) > 0.9


def test_dark_pages_are_printed_on_white(page: Page, site: str) -> None:
    page.emulate_media(color_scheme="dark", media="print")
    page.goto(f"{site}/report/overfitting.html")
    assert darkness(page, page.screenshot()) < 0.2


def darkness(page: Page, png: bytes) -> float:
    """The share of dark pixels in a screenshot."""
    import io

    import matplotlib.image
    import numpy as np

    pixels = matplotlib.image.imread(io.BytesIO(png))[..., :3].mean(axis=2)
    return float(np.mean(pixels < 0.5))


def test_numbers_stay_with_their_units(page: Page, site: str, folder: Path) -> None:
    for address in addresses(folder):
        page.goto(f"{site}/{address}")
        apart = page.evaluate(
            r"""() => { const walk = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
                 const found = [];
                 while (walk.nextNode()) { const node = walk.currentNode;
                   if (!node.parentElement.closest('pre, code, script, annotation, style'))
                     found.push(...(node.data.match(/\d (?:%|ms\b|s\b|±).{0,20}/g) ?? [])); }
                 return found; }"""
        )
        assert apart == [], address


def test_the_number_of_a_figure_is_its_address(page: Page, site: str) -> None:
    page.goto(f"{site}/report/overfitting.html")
    page.get_by_role("main").get_by_role("link", name="Table 4.1").last.click()
    assert page.url.endswith("#tbl-overfitting")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, WIDE], ids=["phone", "wide"])
def test_nothing_hinders_people_with_disabilities(
    page: Page, site: str, folder: Path, size: dict[str, int], scheme: Literal["light", "dark"]
) -> None:
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=scheme)
    for address in addresses(folder):
        page.goto(f"{site}/{address}")
        found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        told = [(each["id"], [node["html"][:120] for node in each["nodes"]]) for each in found]
        assert told == [], address


def test_headings_of_tables_say_what_they_head(page: Page, site: str) -> None:
    page.goto(f"{site}/report/overfitting.html")
    assert page.locator("main th").count()
    assert page.locator("main th:not([scope])").count() == 0


def test_pages_say_what_they_are(page: Page, site: str) -> None:
    page.goto(f"{site}/report/overfitting.html")
    for name in ("description", "citation_title", "citation_author", "citation_publication_date"):
        assert page.locator(f'meta[name="{name}"]').get_attribute("content"), name
    for name in ("og:title", "og:description"):
        assert page.locator(f'meta[property="{name}"]').get_attribute("content"), name
    assert page.locator('link[rel="icon"]').get_attribute("href", timeout=1000) != "data:,"


def test_lines_are_of_a_length_to_read(page: Page, site: str) -> None:
    page.goto(f"{site}/report/method.html")
    page.evaluate("() => document.fonts.ready.then(() => true)")
    page.reload()  # fonts that came too late for the first look are at hand; lines of others are of another length
    lines = page.evaluate(
        """() => [...document.querySelectorAll('main p')]
             .filter(p => p.textContent.length > 400 && !p.querySelector('math'))
             .map(p => { const range = document.createRange(); range.selectNodeContents(p);
               const rows = new Set([...range.getClientRects()].map(r => Math.round(r.bottom / 12))).size;
               return p.textContent.length / rows; })"""
    )
    assert lines
    assert 60 <= sum(lines) / len(lines) <= 78


def test_nothing_moves_while_a_page_loads(page: Page, site: str, folder: Path) -> None:
    page.add_init_script(SHIFTS)
    for address in addresses(folder):
        page.goto(f"{site}/{address}")
        page.wait_for_timeout(200)
        assert page.evaluate("window.shifted") < 0.02, address
