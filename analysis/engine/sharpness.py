"""Sharpness: the largest eigenvalue of the Hessian of the training loss, of every run of a stack at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from analysis.engine.run import SHARPNESS_EXAMPLES
from analysis.engine.stack import Split
from analysis.engine.torch_backend import TorchBackend

TOLERANCE = 0.01  # residual of the eigenpair over the eigenvalue
ITERATIONS = 60  # at most so many Hessian-vector products

Vector: TypeAlias = list[Tensor]  # of every run, like the weights: one (R, h_l, h_{l-1} + 1) per layer


def sharpness(backend: TorchBackend, start: Vector | None) -> tuple[Tensor, Vector]:
    """Return the sharpness of every run, (R,), NaN where it is not finite, and its eigenvectors.

    Args:
        backend: Has the weights.
        start: The eigenvectors that the iteration starts from, those of earlier weights; None for random ones.
    """
    hessian = hessian_product(backend, _subsample(backend.stack.train))
    return largest_eigenvalue(hessian, start or _random_vector(backend.weights))


def largest_eigenvalue(product: Callable[[Vector], Vector], start: Vector) -> tuple[Tensor, Vector]:
    """Return the largest eigenvalue of a symmetric matrix per run, (R,), and its eigenvectors, by Lanczos iteration.

    Each iteration adds H times the newest vector, made orthonormal to all before, to a basis; in that basis H is the
    small matrix T, whose largest eigenvalue θ is a lower bound.
    A run is done when its residual ‖H x - θ x‖ is below `TOLERANCE` θ: some eigenvalue of H is that near, and as the
    error of θ is quadratic in that of x, θ itself is nearer.
    (Parlett 1998, The Symmetric Eigenvalue Problem, chapters 4 and 13.)

    Args:
        product: Multiplies vectors by the runs' matrices H.
        start: First vectors, not 0.
    """
    basis = [_scale(start, 1 / _norm(start))]
    products: list[Vector] = []
    value = torch.full_like(_norm(start), torch.nan)
    vectors = [torch.zeros_like(layer) for layer in start]
    open_runs = torch.ones_like(value, dtype=torch.bool)
    for iteration in range(ITERATIONS):
        products.append(product(basis[-1]))
        matrix = torch.stack([torch.stack([dot(v, h) for h in products], 1) for v in basis], 1)
        finite = matrix.isfinite().all((1, 2))
        eigenvalues, eigenvectors = torch.linalg.eigh(matrix.where(finite[:, None, None], 0).cpu().double())
        top = eigenvalues[:, -1].to(value)
        weights = eigenvectors[:, :, -1].to(value)
        found = _combine(basis, weights)
        residual = _norm(_add(_combine(products, weights), _scale(found, -top)))
        done = (residual <= TOLERANCE * top.abs()) | ~finite | (iteration == ITERATIONS - 1)
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
                following = _add(following, _scale(vector, -dot(vector, following)))
        basis.append(_scale(following, 1 / _norm(following)))
    return value, vectors


def hessian_product(backend: TorchBackend, split: Split) -> Callable[[Vector], Vector]:
    """Return the function that multiplies vectors by the Hessian of the mean loss on a split."""

    @torch.enable_grad()
    def product(vectors: Vector) -> Vector:
        weights = [layer.detach().requires_grad_() for layer in backend.weights]
        result = [torch.zeros_like(layer) for layer in weights]
        for chunk in backend.chunks(split, differentiable=True):
            logits, _ = backend.forward(weights, chunk)
            # runs are independent: the Hessian of their sum has no cross terms
            loss = backend.losses(logits, chunk.labels).sum() / len(split)
            gradient = torch.autograd.grad(loss, weights, create_graph=True)
            along = dot(list(gradient), vectors).sum()
            for total, term in zip(result, torch.autograd.grad(along, weights), strict=True):
                total += term
        return result

    return product


def _subsample(train: Split) -> Split:
    random = np.random.default_rng(0).permutation(len(train))[:SHARPNESS_EXAMPLES]
    chosen = torch.from_numpy(np.sort(random)).to(train.images.device)
    return train.select(chosen) if train.indices is None else replace(train, indices=train.indices[:, chosen])


def _random_vector(weights: Vector) -> Vector:
    random = np.random.default_rng(0)
    return [
        torch.from_numpy(random.standard_normal(layer.shape[1:])).to(layer).expand_as(layer)
        for layer in weights
    ]


def dot(a: Vector, b: Vector) -> Tensor:
    """Return the scalar product of every run, (R,)."""
    return torch.stack([(x * y).flatten(1).sum(1) for x, y in zip(a, b, strict=True)]).sum(0)


def _norm(a: Vector) -> Tensor:
    return dot(a, a).sqrt()


def _scale(a: Vector, factor: Tensor) -> Vector:
    return [layer * factor[:, None, None] for layer in a]


def _add(a: Vector, b: Vector) -> Vector:
    return [x + y for x, y in zip(a, b, strict=True)]


def _combine(vectors: list[Vector], factors: Tensor) -> Vector:
    """Return Σ_i factors[:, i] vectors[i]."""
    total = _scale(vectors[0], factors[:, 0])
    for vector, factor in zip(vectors[1:], factors.T[1:], strict=True):
        total = _add(total, _scale(vector, factor))
    return total
