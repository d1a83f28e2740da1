"""The local look renders again when what makes the book changes, and only then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from report.serve import changes

WriteBook = Callable[..., Path]
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("file", ["_quarto.yml", "one.qmd", "report/styles/book.css"])
def test_a_change_is_seen(write_book: WriteBook, file: str) -> None:
    project = write_book({"report/styles/book.css": ""})
    before = changes(project)
    os.utime(project / file, (1, 1))
    assert changes(project) != before


def test_what_a_render_writes_is_no_change(write_book: WriteBook) -> None:
    project = write_book({})
    before = changes(project)
    for file in ("_book/index.html", "report/generated/fig-a.svg"):
        (project / file).parent.mkdir(parents=True, exist_ok=True)
        (project / file).touch()
    assert changes(project) == before


def test_a_changed_chapter_is_rendered_again(write_book: WriteBook) -> None:
    project = write_book({})
    command = [sys.executable, "-m", "report.serve", "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command,
        cwd=project,
        env=environment,
        stdout=subprocess.DEVNULL,
        preexec_fn=heed_interrupts,
    ) as serving:
        try:
            page = project / "_book/one.html"
            wait_until(page.is_file)
            (project / "one.qmd").write_text("# Two {#sec-one}\n", encoding="utf-8")
            wait_until(lambda: page.is_file() and "Two" in page.read_text(encoding="utf-8"))
        finally:
            serving.send_signal(signal.SIGINT)
    assert serving.returncode == 0


def heed_interrupts() -> None:
    """Undo what a shell does to a job in the background, which then hands it on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.2)
