"""Workers record the environment in which they compute."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from analysis.campaign import worker  # noqa: E402 (needs torch)

ROOT = Path(__file__).parents[2]


def test_the_package_is_the_whole_of_analysis() -> None:
    assert worker.PACKAGE == ROOT / "analysis"


def test_dirty_means_changed_code_anywhere_in_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not changes elsewhere in the checkout: `run_all` itself writes results into cache/."""
    module = tmp_path / "analysis" / "engine" / "run.py"
    module.parent.mkdir(parents=True)
    module.write_text("ENGINE_VERSION = 1\n")
    monkeypatch.setattr(worker, "PACKAGE", tmp_path / "analysis")
    cpu = torch.device("cpu")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert (worker.current_environment(cpu).commit, worker.current_environment(cpu).dirty) == (None, False)

    identity = ["-c", "user.name=Some One", "-c", "user.email=some@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "Add the engine"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "result").write_text("new")
    clean = worker.current_environment(cpu)
    assert (clean.commit, clean.dirty) == (head.stdout.strip(), False)
    module.write_text("ENGINE_VERSION = 2\n")
    assert worker.current_environment(cpu).dirty
