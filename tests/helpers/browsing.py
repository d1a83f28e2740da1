"""Chromium for tests of rendered sites: a server, a page that is watched, and what every page must satisfy.

Where Chromium is missing, the modules that import this are skipped; in CI they fail.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

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
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@contextmanager
def chromium() -> Iterator[Browser]:
    assert CHROMIUM, "Chromium is not installed, and in CI the browser tests have to run"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Requests are looked at in the browser."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder on a plain server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as server:
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


@contextmanager
def watch(browser: Browser, site: str) -> Iterator[Watched]:
    """A page of the site; anything that went wrong on it fails the test at the end."""
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


def assert_pages_fit(
    watched: Watched, site: str, addresses: Sequence[str], size: dict[str, int], scheme: str
) -> None:
    """No page is wider than its window, cut off, without its images, or hard to read in the colour scheme."""
    page = watched.page
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=scheme)
    for address in addresses:
        page.goto(f"{site}/{address}")
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], address
        cut = page.evaluate(
            """() => [...document.querySelectorAll('main img, main figure, main p, main h1')]
                 .filter(e => !e.closest('.scrolls') && e.getBoundingClientRect().right > innerWidth + 1).length"""
        )
        assert cut == 0, address
        unseen = page.evaluate(
            """async () => {
                 const images = [...document.images];
                 for (const image of images) image.loading = 'eager';
                 const loaded = await Promise.allSettled(images.map(image => image.decode()));
                 return images.filter((_, i) => loaded[i].status === 'rejected').map(image => image.src);
               }"""
        )
        assert unseen == [], address
        paper, ink = page.evaluate(
            """() => ['background-color', 'color'].map(k => getComputedStyle(document.body).getPropertyValue(k))
                 .map(c => c.match(/[0-9]+/g).slice(0, 3).map(Number).reduce((a, b) => a + b))"""
        )
        assert (paper > ink) == (scheme == "light"), address
        assert abs(paper - ink) > 400, "text stands out from its paper"
