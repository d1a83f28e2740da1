"""The compiled functions one by one, where the parity of whole runs would not show an error."""

from __future__ import annotations

from typing import get_args

import numpy as np
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


def test_every_thread_flushes_denormals_where_the_caller_does() -> None:
    """Denormal weights and errors, which only slow the others down, take a saturated run a hundred times as long."""
    runs, hidden = 2 * torch.get_num_threads(), 32
    layers = kernels.Layers(
        np.zeros((runs, 1, hidden), np.float32), np.full((runs, 10, hidden), 1e-39, np.float32),
        np.zeros((runs, 10), np.float32),
    )  # fmt: skip
    image = kernels.SparseRows(
        np.zeros(1, np.int64), np.ones(1, np.int64), np.zeros(1, np.uint16), np.ones(1, np.float32)
    )
    indices, labels = np.zeros((runs, 1), np.int64), np.zeros((runs, 1), np.int64)
    states = kernels.Layers(*(array[:, None][:, :0] for array in layers))
    empty = kernels.SparseRows(*(part[:0] for part in image))
    kind = kernels.Kind(kernels.TANH, kernels.QUADRATIC, kernels.IDENTITY, kernels.SGD, linear=True)
    totals = np.zeros((runs, 1, 2))
    rates = np.full((runs, 1, 1), 1e-39)
    torch.set_flush_denormal(True)
    try:
        kernels.advance(layers, states, image, empty, indices, labels, 1, rates, kind, totals)
    finally:
        torch.set_flush_denormal(False)
    # the bias of class 0 moves by 1e-39, which is 0 where denormals are flushed
    assert (layers.bias == 0).all()
