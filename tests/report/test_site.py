"""The report itself in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.helpers.browsing import PHONE, WIDE, assert_pages_fit, chromium, served, watch

pytestmark = pytest.mark.xdist_group("book")  # one worker renders what they share


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_every_page_of_the_report_fits(
    browser: Browser, book: Path, size: dict[str, int], scheme: str
) -> None:
    addresses = [
        path.relative_to(book).as_posix() for path in book.rglob("*.html") if "pagefind" not in path.parts
    ]
    with served(book) as site, watch(browser, site) as watched:
        assert_pages_fit(watched, site, addresses, size, scheme)
