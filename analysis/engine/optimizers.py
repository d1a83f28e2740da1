"""The optimizers: one row each, from which both back ends, the memory estimate and the tests derive.

An update t = 1, 2, … changes a layer's weights w by its gradient g, with tensors like w (the optimizer's state, 0 at
first) and numbers of each run (factors):

    sgd         w -= η g
    momentum    m = β₁ m + g,   w -= η m
    adam        m += (1 - β₁) (g - m),   s += (1 - β₂) (g² - s),   w -= η / (1 - β₁ᵗ) m / (√s / √(1 - β₂ᵗ) + ε)
                (Kingma & Ba 2015)

To add one: its name and constants in `run.py`, a row here, and a branch in `numba_kernels.update_weights`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from analysis.engine.run import Run

Factors: TypeAlias = tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class UpdateRule:
    """How an optimizer changes weights.

    Attributes:
        states: Number of state tensors per weight.
        constants: Names of its constants, fields of Run.
        factors: Function of η (T, R), update numbers t (T, 1) and the constants (R,) by name, in float64; returns the
            numbers that the updates multiply by, each (T, R) or (R,).
        update: Torch function of weights, gradient, states and factors that makes one update of one layer, in place.
        kernel: Number of the branch of `numba_kernels.update_weights`, which takes the same factors.
        linear: An update is -η g, and η the only factor: back ends may add the terms of g to the weights directly.
        reference: The optimizer of torch.optim for a run's parameters, which the tests compare with.
    """

    states: int
    constants: tuple[str, ...] = ()
    factors: Callable[..., Factors]
    update: Callable[[Tensor, Tensor, Sequence[Tensor], Factors], None]
    kernel: int
    linear: bool = False
    reference: Callable[[Iterable[torch.nn.Parameter], Run], torch.optim.Optimizer]


def _update_sgd(weights: Tensor, gradient: Tensor, states: Sequence[Tensor], factors: Factors) -> None:
    (rate,) = factors
    weights -= rate * gradient


def _update_momentum(weights: Tensor, gradient: Tensor, states: Sequence[Tensor], factors: Factors) -> None:
    (total,) = states
    rate, beta1 = factors
    total *= beta1
    total += gradient
    weights -= rate * total


def _adam_factors(rates: Tensor, times: Tensor, beta1: Tensor, beta2: Tensor, epsilon: Tensor) -> Factors:
    return rates / (1 - beta1**times), 1 / (1 - beta2**times).sqrt(), 1 - beta1, 1 - beta2, epsilon


def _update_adam(weights: Tensor, gradient: Tensor, states: Sequence[Tensor], factors: Factors) -> None:
    mean, square = states
    step, root, rest1, rest2, epsilon = factors
    mean += rest1 * (gradient - mean)
    square += rest2 * (gradient * gradient - square)
    weights -= step * mean / (square.sqrt() * root + epsilon)


OPTIMIZERS = {
    "sgd": UpdateRule(
        states=0,
        factors=lambda rates, times: (rates,),
        update=_update_sgd,
        kernel=0,
        linear=True,
        reference=lambda parameters, run: torch.optim.SGD(parameters, run.learning_rate),
    ),
    "momentum": UpdateRule(
        states=1,
        constants=("beta1",),
        factors=lambda rates, times, beta1: (rates, beta1),
        update=_update_momentum,
        kernel=1,
        reference=lambda parameters, run: torch.optim.SGD(parameters, run.learning_rate, run.beta1),
    ),
    "adam": UpdateRule(
        states=2,
        constants=("beta1", "beta2", "epsilon"),
        factors=_adam_factors,
        update=_update_adam,
        kernel=2,
        reference=lambda parameters, run: torch.optim.Adam(
            parameters, run.learning_rate, (run.beta1, run.beta2), run.epsilon
        ),
    ),
}


def update_rule(optimizer: str) -> UpdateRule:
    """Return the optimizer's row.

    Raises:
        ValueError: No optimizer has that name.
    """
    try:
        return OPTIMIZERS[optimizer]
    except KeyError:
        known = ", ".join(OPTIMIZERS)
        raise ValueError(f"unknown optimizer {optimizer!r}: choose from {known}") from None
