"""The metrics against their definitions, computed by autograd from the reference's networks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from analysis.engine.network import validation_indices
from analysis.engine.optimizers import OPTIMIZERS
from tests.engine.reference import LOSSES, RUN, loss_of, measured, reference, run_with, training_set


def gradients(run, net, images, digits):
    """∂loss/∂(W_l, b_l) of every layer, flat, by autograd."""
    flat = torch.autograd.grad(loss_of(run, net(images), digits), list(net.parameters()))
    return [torch.cat([w.flatten(), b]) for w, b in zip(flat[::2], flat[1::2], strict=True)]


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("batch_size", [None, 32])
def test_losses_and_accuracies(small, back_end, kind, batch_size):
    names = [f"{part}_{what}" for part in ("train", "validation", "test") for what in ("loss", "accuracy")]
    run = replace(
        RUN, batch_size=batch_size, epochs=3, validation_examples=100, labels=(1, 2, 3, 4, 5, 6, 7, 8, 9, 0)
    )
    run, rows = measured(replace(run, **LOSSES[kind]), small, *names)
    held_out = validation_indices(run, len(small.train_labels))
    parts = {
        "train": training_set(run, small),
        "validation": (small.train_images[held_out].double(), small.train_labels[held_out]),
        "test": (small.test_images.double(), small.test_labels),
    }
    for update, (net, *_) in enumerate(reference(run, small)):
        now = rows[rows["update"] == update].set_index("metric").value
        assert list(now.index) == names
        for part, (images, digits) in parts.items():
            logits = net(images)
            outputs = logits if run.output == "identity" else logits.sigmoid()
            single = (9 * outputs[:, 0]).round().clamp(0, 9)
            answers = single if logits.shape[1] == 1 else logits.argmax(1)
            right = (answers == (digits + 1) % 10).double().mean()
            assert now[f"{part}_loss"] == pytest.approx(loss_of(run, logits, digits).item(), rel=1e-10)
            assert now[f"{part}_accuracy"] == pytest.approx(right.item(), rel=1e-12)


def test_confusion_and_class_accuracy(small, back_end):
    run, rows = measured(
        replace(RUN, epochs=30, learning_rate=1.0), small, "confusion", "class_accuracy", every=30
    )
    *_, (net, _, _, _) = reference(run, small)
    answers = net(small.test_images.double()).argmax(1)
    counts = torch.stack(
        [torch.bincount(answers[small.test_labels == digit], minlength=10) for digit in range(10)]
    )
    final = rows[rows["update"] == 30]
    assert final.query("metric == 'confusion'").value.tolist() == counts.flatten().tolist()
    assert final.query("metric == 'confusion'")["index"].tolist() == list(range(100))
    shares = (counts.diagonal() / counts.sum(1)).tolist()
    assert final.query("metric == 'class_accuracy'").value.tolist() == pytest.approx(shares)


@pytest.mark.parametrize("kind", LOSSES)
def test_misread_loss(small, back_end, kind):
    run, rows = measured(replace(RUN, epochs=3, **LOSSES[kind]), small, "misread_loss")
    for update, (net, *_) in enumerate(reference(run, small)):
        logits = net(small.test_images.double())
        outputs = logits if run.output == "identity" else logits.sigmoid()
        single = (9 * outputs[:, 0]).round().clamp(0, 9)
        misread = (single if logits.shape[1] == 1 else logits.argmax(1)) != small.test_labels
        expected = loss_of(run, logits[misread], small.test_labels[misread]).item()
        assert rows[rows["update"] == update].value.item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("batch_size", [None, 32])
@pytest.mark.parametrize("hidden", [(20,), (8, 8)])
def test_gradient_norm_and_cosine(small, hidden, batch_size):
    run = replace(RUN, hidden=hidden, batch_size=batch_size, epochs=2)
    run, rows = measured(run, small, "gradient_norm", "gradient_cosine")
    for update, (net, images, digits, batch) in enumerate(reference(run, small)):
        now = rows[rows["update"] == update]
        full, part = gradients(run, net, images, digits), gradients(run, net, images[batch], digits[batch])
        norms = now.query("metric == 'gradient_norm'")
        assert norms["index"].tolist() == list(range(1, len(full) + 1))
        assert norms.value.tolist() == pytest.approx([layer.norm().item() for layer in full], rel=1e-10)
        cosine = torch.cosine_similarity(torch.cat(full), torch.cat(part), dim=0).item()
        assert now.query("metric == 'gradient_cosine'").value.item() == pytest.approx(cosine, rel=1e-10)


@pytest.mark.parametrize("skip", [False, True])
def test_weight_and_error_norms(small, skip):
    run, rows = measured(
        replace(RUN, hidden=(8, 8, 8), epochs=2, skip=skip, activation="tanh"),
        small,
        "weight_norm",
        "error_norm",
        "mean_slope",
    )
    for update, (net, images, digits, _) in enumerate(reference(run, small)):
        now = rows[rows["update"] == update]
        linear = [module for module in net.modules() if isinstance(module, torch.nn.Linear)]
        norms = [torch.cat([each.weight, each.bias[:, None]], 1).norm().item() for each in linear]
        assert now.query("metric == 'weight_norm'").value.tolist() == pytest.approx(norms, rel=1e-10)
        z: list[torch.Tensor] = []
        hooks = [each.register_forward_hook(lambda _, __, out, into=z: into.append(out)) for each in linear]
        loss = loss_of(run, net(images), digits) * len(digits)
        errors = torch.autograd.grad(loss, z)
        for hook in hooks:
            hook.remove()
        expected = [each.square().sum(1).mean().sqrt().item() for each in errors]
        slopes = [(1 - each.tanh().square()).mean().item() for each in z[:-1]]
        assert now.query("metric == 'mean_slope'").value.tolist() == pytest.approx(slopes, rel=1e-10)
        found = now.query("metric == 'error_norm'")
        assert found["index"].tolist() == [1, 2, 3, 4]
        assert found.value.tolist() == pytest.approx(expected, rel=1e-10)


def test_unit_distance(small):
    run, rows = measured(replace(RUN, hidden=(6, 5), epochs=2), small, "unit_distance")
    for update, (net, *_) in enumerate(reference(run, small)):
        now = rows[rows["update"] == update]
        assert now["index"].tolist() == [1, 2]
        units = [torch.cat([net[i].weight, net[i].bias[:, None]], 1) for i in (0, 2)]
        largest = [max((a - b).norm().item() for a in layer for b in layer) for layer in units]
        assert now.value.tolist() == pytest.approx(largest, rel=1e-10)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("batch", ["full", "minibatch"])
def test_equal_units_stay_equal(small, back_end, batch, optimizer):
    run = run_with(optimizer, "cross_entropy", batch, init="constant", init_scale=0.1)
    _, rows = measured(run, small, "unit_distance")
    assert rows.value.max() < 1e-12
