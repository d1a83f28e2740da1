"""Takes the metrics of a stack's present weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from analysis.engine.run import CLASSES
from analysis.engine.stack import Part, Stack, accuracy
from analysis.engine.torch_backend import TorchBackend

SHARPNESS_EXAMPLES = 10_000  # at most so many of a run's training examples, a fixed random choice
SHARPNESS_TOLERANCE = 0.01  # residual of the eigenpair over the eigenvalue
SHARPNESS_STEPS = 60  # at most so many Hessian-vector products


class Engine(Protocol):
    """A back end."""

    def dense(self) -> TorchBackend:
        """The present weights for torch."""

    def evaluate(self, part: Part) -> tuple[Tensor, Tensor]:
        """Mean loss (R,) and confusion (R, 100) of a part."""


class Evaluator:
    """Takes the metrics; remembers the Hessian's last eigenvectors, from which the next search starts."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._vectors: list[Tensor] = []

    def state(self) -> dict[str, Any]:
        """What `restore` continues from."""
        return {"vectors": [vector.cpu().clone() for vector in self._vectors]}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes up the eigenvectors."""
        self._vectors = [vector.to(self.stack.device, copy=True) for vector in state["vectors"]]

    def take(self, metrics: set[str], update: int, engine: Engine) -> dict[str, Tensor]:
        """The metrics, each (R,) or (R, index).

        Args:
            metrics: Names, as in METRICS.
            update: Number of the next update.
            engine: Has the present weights.
        """
        stack = self.stack
        taken: dict[str, Tensor] = {}
        for name, part in (("train", stack.train), ("validation", stack.validation), ("test", stack.test)):
            wanted = {f"{name}_loss", f"{name}_accuracy"}
            wanted |= {"class_accuracy", "confusion"} if name == "test" else set()
            if wanted & metrics:
                loss, confusion = engine.evaluate(part)
                taken |= {f"{name}_loss": loss, f"{name}_accuracy": accuracy(confusion)}
        if {"class_accuracy", "confusion"} & metrics:  # the test set came last
            taken["confusion"] = confusion
            taken["class_accuracy"] = confusion[:, :: CLASSES + 1] / confusion.reshape(
                -1, CLASSES, CLASSES
            ).sum(2)
        if {"gradient_norm", "gradient_cosine"} & metrics:
            full = engine.dense().gradient(stack.train)
            taken["gradient_norm"] = torch.stack([layer.flatten(1).norm(dim=1) for layer in full], 1)
        if "gradient_cosine" in metrics:
            batch = engine.dense().gradient(replace(stack.train, rows=stack.examples(update, update + 1)))
            taken["gradient_cosine"] = _dot(batch, full) / (_dot(batch, batch) * _dot(full, full)).sqrt()
        if "unit_distance" in metrics:
            taken["unit_distance"] = self._unit_distance(engine.dense().weights)
        if "sharpness" in metrics:
            taken["sharpness"] = self._sharpness(engine.dense())
        return {metric: taken[metric] for metric in metrics}

    def _unit_distance(self, weights: list[Tensor]) -> Tensor:
        """Largest distance between two units' rows, (R, L - 1)."""
        # differences and not products of rows: units that are alike are at distance 0 exactly
        exact = "donot_use_mm_for_euclid_dist"
        layers = self.stack.with_all_inputs(weights)[:-1]
        return torch.stack(
            [torch.cdist(layer, layer, compute_mode=exact).amax((1, 2)) for layer in layers], 1
        )

    def _sharpness(self, dense: TorchBackend) -> Tensor:
        """Largest eigenvalue of the Hessian of the training loss, (R,), by the Lanczos iteration.

        The Hessian H is that of the loss on `SHARPNESS_EXAMPLES` training examples.
        Starting from the last eigenvector found, each step adds H times the newest vector, made orthonormal to all
        before, to a basis; in that basis H is the small matrix T, whose largest eigenvalue θ is a lower bound.
        A run is done when its residual ‖H x - θ x‖ is below `SHARPNESS_TOLERANCE` θ: some eigenvalue of H is that
        near, and as the error of θ is quadratic in that of x, θ itself is nearer.
        """
        runs = len(self.stack.runs)
        hessian = _hessian(dense, self._sharpness_part())
        if not self._vectors:
            random = np.random.default_rng(0)
            self._vectors = [
                torch.from_numpy(random.standard_normal(layer.shape[1:])).to(layer).expand(runs, -1, -1)
                for layer in dense.weights
            ]
        basis = [_scaled(self._vectors, 1 / _norm(self._vectors))]
        products: list[list[Tensor]] = []
        value = torch.full((runs,), torch.nan, dtype=basis[0][0].dtype, device=self.stack.device)
        vectors = [torch.zeros_like(layer) for layer in dense.weights]
        open_runs = torch.ones(runs, dtype=torch.bool, device=self.stack.device)
        for step in range(SHARPNESS_STEPS):
            products.append(hessian(basis[-1]))
            matrix = torch.stack([torch.stack([_dot(v, h) for h in products], 1) for v in basis], 1)
            finite = matrix.isfinite().all((1, 2))
            eigenvalues, eigenvectors = torch.linalg.eigh(
                matrix.where(finite[:, None, None], 0).cpu().double()
            )
            top = eigenvalues[:, -1].to(value)
            weights = eigenvectors[:, :, -1].to(value)
            found = _combine(basis, weights)
            residual = _norm(_sum(_combine(products, weights), _scaled(found, -top)))
            done = (residual <= SHARPNESS_TOLERANCE * top.abs()) | ~finite | (step == SHARPNESS_STEPS - 1)
            news = open_runs & done
            value = torch.where(news, top.where(finite, torch.nan), value)
            vectors = [
                torch.where(news[:, None, None], new, old) for new, old in zip(found, vectors, strict=True)
            ]
            open_runs &= ~done
            if not open_runs.any():
                break
            following = products[-1]
            for _ in range(2):  # twice is enough for orthogonality to rounding
                for vector in basis:
                    following = _sum(following, _scaled(vector, -_dot(vector, following)))
            basis.append(_scaled(following, 1 / _norm(following)))
        self._vectors = vectors
        return value

    def _sharpness_part(self) -> Part:
        train = self.stack.train
        random = np.random.default_rng(0).permutation(len(train))[:SHARPNESS_EXAMPLES]
        chosen = torch.from_numpy(np.sort(random)).to(self.stack.device)
        return train.take(chosen) if train.rows is None else replace(train, rows=train.rows[:, chosen])


def _hessian(dense: TorchBackend, part: Part) -> Callable[[list[Tensor]], list[Tensor]]:
    """The product of the Hessian of a part's mean loss, at the present weights, with vectors like the weights."""

    @torch.enable_grad()
    def product(vectors: list[Tensor]) -> list[Tensor]:
        weights = [layer.detach().requires_grad_() for layer in dense.weights]
        result = [torch.zeros_like(layer) for layer in weights]
        for chunk in dense.chunks(part):
            logits, _ = dense.forward(weights, chunk)
            loss = dense.losses(logits, chunk.labels).sum() / len(
                part
            )  # runs are independent: their sum has no cross terms
            slope = torch.autograd.grad(loss, weights, create_graph=True)
            along = _dot(list(slope), vectors).sum()
            for total, part_result in zip(result, torch.autograd.grad(along, weights), strict=True):
                total += part_result
        return result

    return product


# Vectors of a stack are lists like its weights; these are linear algebra on them, a number per run.


def _dot(a: list[Tensor], b: list[Tensor]) -> Tensor:
    return torch.stack([(x * y).flatten(1).sum(1) for x, y in zip(a, b, strict=True)]).sum(0)


def _norm(a: list[Tensor]) -> Tensor:
    return _dot(a, a).sqrt()


def _scaled(a: list[Tensor], factor: Tensor) -> list[Tensor]:
    return [layer * factor[:, None, None] for layer in a]


def _sum(a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
    return [x + y for x, y in zip(a, b, strict=True)]


def _combine(vectors: list[list[Tensor]], factors: Tensor) -> list[Tensor]:
    """Σ_i factors[:, i] vectors[i]."""
    total = _scaled(vectors[0], factors[:, 0])
    for vector, factor in zip(vectors[1:], factors.T[1:], strict=True):
        total = _sum(total, _scaled(vector, factor))
    return total
