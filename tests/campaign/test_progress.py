"""Progress is a bar on a terminal, and an occasional line elsewhere."""

from __future__ import annotations

import sys

import pytest

from analysis.campaign import progress
from analysis.campaign.progress import Progress, duration

pytest.importorskip("tqdm")


def percentages(printed: str) -> list[str]:
    """Return the first word of each line."""
    return [line.split()[0] for line in printed.splitlines()]


def test_durations_have_readable_units() -> None:
    assert [duration(seconds) for seconds in (0.4, 40, 720, 11_160)] == ["0 s", "40 s", "12 min", "3.1 h"]


def test_lines_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", -1.0)  # one at every update
    shown = Progress(40.0)
    for key, weight in (("one", 10.0), ("other", 30.0)):
        for done in range(3):
            shown.update(key, "label", weight, done, 2)
    shown.close()
    printed = capsys.readouterr().err
    assert percentages(printed) == ["0%", "12%", "25%", "25%", "62%", "100%"]
    first, *others = printed.splitlines()
    assert first.endswith(", time left unknown")
    assert all(line.endswith(" left") for line in others)


def test_concurrent_tasks_and_one_that_restarts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", -1.0)
    shown = Progress(40.0)
    weights = {"one": 10.0, "other": 30.0}
    for key, done in (("one", 1), ("other", 1), ("other", 0), ("one", 2), ("other", 2)):
        shown.update(key, "label", weights[key], done, 2)
    shown.close()
    assert percentages(capsys.readouterr().err) == ["12%", "50%", "12%", "25%", "100%"]


def test_lines_are_occasional(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Progress(1.0)
    for done in range(1_000):
        shown.update("key", "label", 1.0, done, 1_000)
    shown.close()
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    shown = Progress(1.0)
    for done in range(3):
        shown.update("key", "784-300-10 sgd", 1.0, done, 2)
    shown.close()
    written = capsys.readouterr().err
    assert "100%" in written
    assert "784-300-10 sgd" in written
    assert "left" in written
