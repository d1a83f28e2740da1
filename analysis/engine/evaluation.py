"""The metrics of a stack's present weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from analysis.engine.run import CLASSES
from analysis.engine.sharpness import dot, sharpness
from analysis.engine.stack import Split, Stack, accuracy
from analysis.engine.torch_backend import TorchBackend


class Backend(Protocol):
    """A back end, as far as it is measured."""

    def as_torch(self) -> TorchBackend:
        """Return the present weights for torch."""

    def evaluate(self, split: Split) -> tuple[Tensor, Tensor]:
        """Return mean loss (R,) and confusion (R, 100) on a split."""


class Evaluator:
    """Measures metrics; keeps the Hessian's last eigenvectors, from which the next search starts."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._eigenvectors: list[Tensor] | None = None

    def state(self) -> dict[str, Any]:
        """Return the eigenvectors on the CPU, for `restore`."""
        return {"eigenvectors": [vector.cpu().clone() for vector in self._eigenvectors or []]}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self._eigenvectors = [
            vector.to(self.stack.device, copy=True) for vector in state["eigenvectors"]
        ] or None

    def evaluate(self, metrics: set[str], update: int, backend: Backend) -> dict[str, Tensor]:
        """Return the metrics by name, each (R,) or (R, index).

        Args:
            metrics: Names, as in METRICS.
            update: Number of the next update.
            backend: Has the present weights.
        """
        stack = self.stack
        values: dict[str, Tensor] = {}
        for name, split in (("train", stack.train), ("validation", stack.validation), ("test", stack.test)):
            wanted = {f"{name}_loss", f"{name}_accuracy"}
            wanted |= {"class_accuracy", "confusion"} if name == "test" else set()
            if wanted & metrics:
                loss, confusion = backend.evaluate(split)
                values |= {f"{name}_loss": loss, f"{name}_accuracy": accuracy(confusion)}
        if {"class_accuracy", "confusion"} & metrics:  # the test set came last
            values["confusion"] = confusion
            per_class = confusion.reshape(-1, CLASSES, CLASSES).sum(2)
            values["class_accuracy"] = confusion[:, :: CLASSES + 1] / per_class
        if "misread_loss" in metrics:
            values["misread_loss"] = backend.as_torch().misread_loss(stack.test)
        if {"gradient_norm", "gradient_cosine"} & metrics:
            full = backend.as_torch().gradient(stack.train)
            values["gradient_norm"] = torch.stack([layer.flatten(1).norm(dim=1) for layer in full], 1)
        if "weight_norm" in metrics:
            layers = stack.with_all_inputs(backend.as_torch().weights)
            values["weight_norm"] = torch.stack([layer.flatten(1).norm(dim=1) for layer in layers], 1)
        if "error_norm" in metrics:
            values["error_norm"] = backend.as_torch().error_norms(stack.train)
        if "mean_slope" in metrics:
            values["mean_slope"] = backend.as_torch().mean_slopes(stack.train)
        if "gradient_cosine" in metrics:
            batch = replace(stack.train, indices=stack.examples(update, update + 1))
            values["gradient_cosine"] = _cosine(backend.as_torch().gradient(batch), full)
        if "unit_distance" in metrics:
            values["unit_distance"] = self._unit_distance(backend.as_torch().weights)
        if "sharpness" in metrics:
            values["sharpness"], self._eigenvectors = sharpness(backend.as_torch(), self._eigenvectors)
        return {metric: values[metric] for metric in metrics}

    def _unit_distance(self, weights: list[Tensor]) -> Tensor:
        """Return the largest distance between two units' rows, (R, L - 1)."""
        # differences and not products of rows: equal units are at distance 0 exactly
        exact = "donot_use_mm_for_euclid_dist"
        layers = self.stack.with_all_inputs(weights)[:-1]
        return torch.stack(
            [torch.cdist(layer, layer, compute_mode=exact).amax((1, 2)) for layer in layers], 1
        )


def _cosine(a: list[Tensor], b: list[Tensor]) -> Tensor:
    """Return the cosine of the angle between vectors like the weights, (R,)."""
    return dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
