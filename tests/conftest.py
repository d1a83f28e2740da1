"""Fixtures shared by several test files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is loaded, as in `run_all.load_torch`
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import pandas as pd
import pytest

from analysis.campaign.store import Provenance, Store
from analysis.data import Data
from tests.helpers import digits


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    """Close what a test has drawn: matplotlib warns of many open figures."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


@pytest.fixture(scope="session")
def small() -> Data:
    """1,000 training and 300 test examples of real digits, balanced."""
    return digits.load()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "cache")


@pytest.fixture
def provenance() -> Provenance:
    """The provenance of some result."""
    return Provenance(
        date="2026-01-31T12:00:00+00:00",
        commit="0123456789abcdef0123456789abcdef01234567",
        dirty=False,
        torch="2.9.0",
        numba=None,
        device="cpu",
        device_name="some processor",
        threads=2,
        backend="torch on cpu",
        stack=1,
        seconds=60.0,
    )


@pytest.fixture
def rows() -> pd.DataFrame:
    """Rows of a run of two updates that diverges."""
    return pd.DataFrame(
        {
            "epoch": [0.0, 1.0, 2.0],
            "update": [0, 1, 2],
            "seconds": [0.0, 0.25, 0.5],
            "metric": ["train_loss"] * 3,
            "index": [0, 0, 0],
            "value": [2.5, 1e30, float("inf")],
        }
    )


ROOT = Path(__file__).parents[1]
NEEDED = (
    *("_quarto.yml", "index.qmd", "404.html", "report", "analysis", "cache", "_extensions"),
    *("CITATION.cff", "LICENSE"),
)
HEAVY = ("torch", "torchvision", "numba")


@pytest.fixture(scope="session")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rendered report, made where torch, torchvision and numba cannot be imported; or the one in SITE."""
    if site := os.environ.get("SITE"):
        return Path(site).resolve()
    project = tmp_path_factory.mktemp("report")
    for name in NEEDED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "generated", "checkpoints")
            shutil.copytree(source, project / name, ignore=ignored)
        else:
            shutil.copy(source, project)
    bare = project / "bare"
    bare.mkdir()
    for name in HEAVY:
        (bare / f"{name}.py").write_text(f"raise ImportError('{name} is not needed for the report')\n")
    done = subprocess.run(
        [sys.executable, "-m", "report", "--engine", "press"],
        cwd=project,
        env=os.environ | {"PYTHONPATH": f"{bare}{os.pathsep}{project}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return project / "_book"
