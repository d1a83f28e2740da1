"""The compiled functions one by one, where the parity of whole runs would not show an error."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from analysis.engine.run import Activation, Loss, Output

kernels = pytest.importorskip("analysis.engine.numba_kernels")


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-9)])
@pytest.mark.parametrize(
    ("number", "activation"), [(kernels.SIGMOID, torch.sigmoid), (kernels.TANH, torch.tanh)]
)
def test_activations_keep_the_digits_of_small_numbers(number, activation, dtype, tolerance) -> None:
    z = torch.logspace(-6, 1.3, 200).to(dtype)
    z = torch.cat([z, -z])
    expected = activation(z.double())
    kernels.activate(z.numpy(), number)
    assert z.double().numpy() == pytest.approx(expected.numpy(), rel=tolerance)


def test_every_name_has_a_number_of_its_own() -> None:
    for names, numbers in (
        (Activation, kernels.ACTIVATIONS),
        (Loss, kernels.LOSSES),
        (Output, kernels.OUTPUTS),
    ):
        assert set(numbers) == set(get_args(names))
        assert len(set(numbers.values())) == len(numbers)
