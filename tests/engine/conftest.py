"""Fixtures of the engine's tests."""

from __future__ import annotations

import pytest
import torch

from analysis.engine import training


@pytest.fixture(params=["numba", "torch"])
def back_end(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the back ends that can train one hidden layer on a CPU."""
    if request.param == "torch":
        monkeypatch.setattr(training, "NumbaBackend", None)
    else:
        pytest.importorskip("numba")
    return str(request.param)


@pytest.fixture(params=["float64", "float32"])
def precision(request: pytest.FixtureRequest) -> tuple[torch.dtype, float]:
    """A type, and the relative tolerance of losses."""
    return {"float64": (torch.float64, 1e-10), "float32": (torch.float32, 1e-5)}[request.param]
