"""The values measured while a stack is trained."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from analysis.engine.run import METRICS, PER_LAYER


class History:
    """Measured values of all runs; they stay on the device until they are fetched in bulk."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._updates: dict[str, list[int]] = {}
        self._seconds: dict[str, list[float]] = {}
        self._values: dict[str, list[Tensor]] = {}

    def add(self, update: int, seconds: float, values: dict[str, Tensor]) -> None:
        """Record values (R,) or (R, index) by metric, after `seconds` of training."""
        for metric, value in values.items():
            self._updates.setdefault(metric, []).append(update)
            self._seconds.setdefault(metric, []).append(seconds)
            self._values.setdefault(metric, []).append(value.reshape(len(value), -1))

    def state(self) -> dict[str, Any]:
        """Return all values on the CPU, for `restore`."""
        return {
            metric: (self._updates[metric], self._seconds[metric], torch.stack(values).cpu())
            for metric, values in self._values.items()
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        for metric, (updates, seconds, values) in state.items():
            self._updates[metric], self._seconds[metric] = list(updates), list(seconds)
            self._values[metric] = list(values.to(self._device))

    def frames(self, runs: int, updates_per_epoch: int) -> list[pd.DataFrame]:
        """Return one frame per run, its rows ordered by update and then as in METRICS; see `TrainingResult.rows`."""
        metrics = [metric for metric in METRICS if metric in self._values]
        values = {metric: torch.stack(self._values[metric]).cpu().double().numpy() for metric in metrics}
        frames = []
        for run in range(runs):
            parts = []
            for metric in metrics:
                times, _, indices = values[metric].shape
                first = 1 if metric in PER_LAYER else 0
                parts.append(
                    pd.DataFrame(
                        {
                            "update": pd.Series(self._updates[metric]).repeat(indices),
                            "seconds": pd.Series(self._seconds[metric]).repeat(indices),
                            "metric": metric,
                            "index": list(range(first, first + indices)) * times,
                            "value": values[metric][:, run].flatten(),
                        }
                    )
                )
            frame = pd.concat(parts).sort_values("update", kind="stable", ignore_index=True)
            frame.insert(0, "epoch", frame["update"] / updates_per_epoch)
            frames.append(frame)
        return frames
