"""Progress is a bar on a terminal and lines now and then elsewhere."""

from __future__ import annotations

import sys

import pytest

from analysis import progress
from analysis.progress import Progress, duration


def test_lengths_of_time_are_for_people() -> None:
    assert [duration(seconds) for seconds in (0.4, 40, 720, 11_160)] == ["0 s", "40 s", "12 min", "3.1 h"]


def test_lines_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", -1.0)  # one at every update
    shown = Progress(40.0)
    for label, seconds in (("a stack", 10.0), ("another", 30.0)):
        shown.begin(label, seconds)
        shown.update(1, 2)
        shown.end()
    shown.close()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["0%", "12%", "25%", "25%", "62%", "100%"]
    assert "about unknown time left" in lines[0]
    assert all("left" in line for line in lines)


def test_lines_only_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Progress(1.0)
    shown.begin("a stack", 1.0)
    for done in range(1_000):
        shown.update(done, 1_000)
    shown.close()
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    shown = Progress(1.0)
    shown.begin("a stack", 1.0)
    shown.update(1, 2)
    shown.end()
    shown.close()
    written = capsys.readouterr().err
    assert "100%" in written
    assert "a stack" in written
    assert "left" in written
