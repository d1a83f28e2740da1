"""Sharpness against the eigenvalues of the whole Hessian, and of matrices that are known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from analysis.engine.sharpness import largest_eigenvalue
from tests.engine.reference import LOSSES, RUN, loss_of, measured, reference


@pytest.mark.parametrize("shape", [{"hidden": (2,)}, {"hidden": (2, 2), "activation": "tanh"}], ids=str)
@pytest.mark.parametrize("kind", ["cross_entropy", "quadratic_softmax"])
def test_sharpness_is_the_largest_eigenvalue_of_the_hessian(small, shape, kind):
    run = replace(RUN, **shape, **LOSSES[kind], train_examples=50, learning_rate=0.5, epochs=20)
    run, rows = measured(run, small, "sharpness", every=10)
    for update, (net, images, digits, _) in enumerate(reference(run, small)):
        if update % 10 == 0:
            used = images.any(0)  # the other pixels' rows of the Hessian are zero
            layers = [tensor.detach() for tensor in net.parameters()]
            layers[0] = layers[0][:, used]
            sizes = [layer.numel() for layer in layers]

            def loss(flat, layers=layers, sizes=sizes, used=used, net=net, images=images, digits=digits):
                parts = [part.view_as(layer) for part, layer in zip(flat.split(sizes), layers, strict=True)]
                a = images[:, used]
                for weight, bias in zip(parts[::2], parts[1::2], strict=True):
                    z = a @ weight.T + bias
                    a = torch.tanh(z) if run.activation == "tanh" else torch.sigmoid(z)
                return loss_of(run, z, digits)

            flat = torch.cat([layer.flatten() for layer in layers])
            hessian = torch.autograd.functional.hessian(loss, flat)
            largest = torch.linalg.eigvalsh(hessian)[-1].item()
            assert rows[rows["update"] == update].value.item() == pytest.approx(largest, rel=0.01)


def test_the_largest_eigenvalue_of_known_matrices():
    """The largest, not the largest in absolute value."""
    eigenvalues = torch.tensor([[-5.0, 1, 2, 3], [0.5, 0.1, 0, -0.2]], dtype=torch.float64)
    start = [torch.ones(2, 1, 4, dtype=torch.float64)]
    found, vectors = largest_eigenvalue(lambda v: [v[0] * eigenvalues[:, None]], start)
    assert found.tolist() == pytest.approx([3, 0.5], rel=1e-6)
    assert vectors[0].abs().argmax(2).flatten().tolist() == [3, 0]


def test_the_largest_eigenvalue_of_a_matrix_that_is_not_finite_is_nan():
    found, _ = largest_eigenvalue(lambda v: [v[0] * torch.inf], [torch.ones(1, 1, 3)])
    assert found.isnan().all()
