"""Progress is a bar on a terminal and lines now and then elsewhere."""

from __future__ import annotations

import sys

import pytest

from analysis.campaign import progress
from analysis.campaign.keys import Program
from analysis.campaign.progress import Progress, duration

pytest.importorskip("torch")

from analysis.campaign.scheduler import Task


def task(seconds: float) -> Task:
    """Something to do that takes so long."""
    return Task({"0" * 16: Program(function="somewhere:something")}, seconds)


def test_lengths_of_time_are_for_people() -> None:
    assert [duration(seconds) for seconds in (0.4, 40, 720, 11_160)] == ["0 s", "40 s", "12 min", "3.1 h"]


def test_lines_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", -1.0)  # one at every update
    shown = Progress(40.0)
    for at_work in (task(10.0), task(30.0)):
        for done in range(3):
            shown.update(at_work, done, 2)
    shown.close()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["0%", "12%", "25%", "25%", "62%", "100%"]
    assert "about unknown time left" in lines[0]
    assert all("left" in line for line in lines)


def test_tasks_at_once_and_one_that_starts_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", -1.0)
    shown = Progress(40.0)
    one, other = task(10.0), task(30.0)
    for at_work, done in ((one, 1), (other, 1), (other, 0), (one, 2), (other, 2)):
        shown.update(at_work, done, 2)
    shown.close()
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == [
        "12%",
        "50%",
        "12%",
        "25%",
        "100%",
    ]


def test_lines_only_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Progress(1.0)
    stack = task(1.0)
    for done in range(1_000):
        shown.update(stack, done, 1_000)
    shown.close()
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    shown = Progress(1.0)
    stack = task(1.0)
    for done in range(3):
        shown.update(stack, done, 2)
    shown.close()
    written = capsys.readouterr().err
    assert "100%" in written
    assert "somewhere:something()" in written
    assert "left" in written
