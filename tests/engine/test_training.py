"""The engine against plain PyTorch: nn.Module, torch.optim and autograd in float64."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, one_hot

from analysis.engine import training
from analysis.engine.network import reference_model, sample_order, training_indices, validation_indices
from analysis.engine.run import Measure, Run
from analysis.engine.training import backend_name, estimate_flops, form_stacks, train

CPU = torch.device("cpu")
LOSSES = (Measure(metrics=("train_loss",), every=1),)
RUN = Run(hidden=(50,), learning_rate=0.3, epochs=12, measures=LOSSES, train_examples=80)


def digits_of(run, data):
    """The run's training images and digits, in float64."""
    rows = training_indices(run, len(data.train_labels))
    return data.train_images[rows].double(), data.train_labels[rows]


def loss_of(run, logits, digits):
    """The run's mean loss, as its definition says."""
    labels = torch.tensor(run.labels)[digits]
    if run.loss == "cross_entropy":
        return cross_entropy(logits, labels)
    outputs = logits.softmax(1) if run.output == "softmax" else logits.sigmoid()
    targets = one_hot(labels, 10).double() if run.target == "one_hot" else labels[:, None].double() / 9
    return (outputs - targets).square().sum(1).mean() / 2


def reference(run, data):
    """Yields network, images, digits and the next batch before every update, and at the end."""
    net = reference_model(run, torch.float64)
    if run.optimizer == "sgd":
        optimizer = torch.optim.SGD(net.parameters(), run.learning_rate)
    else:
        optimizer = torch.optim.Adam(net.parameters(), run.learning_rate, (run.beta1, run.beta2), run.epsilon)
    images, digits = digits_of(run, data)
    for epoch in range(run.epochs + 1):
        batches = sample_order(run, epoch, digits).split(run.batch_size or len(digits))
        for number, batch in enumerate(batches):
            yield net, images, digits, batch
            if epoch == run.epochs:
                return
            decayed = run.learning_rate / (1 + run.decay * (epoch + number / len(batches)))
            optimizer.param_groups[0]["lr"] = decayed
            optimizer.zero_grad()
            loss_of(run, net(images[batch]), digits[batch]).backward()
            optimizer.step()


def reference_losses(run, data):
    """Training loss before every update, and at the end."""
    with_losses = reference(run, data)
    return [loss_of(run, net(images), digits).item() for net, images, digits, _ in with_losses]


def values(trained, metric="train_loss"):
    return trained.rows.query("metric == @metric").value.tolist()


@pytest.fixture(params=["numba", "torch"])
def back_end(request, monkeypatch):
    """Each of the back ends that can train one hidden layer on a CPU."""
    if request.param == "torch":
        monkeypatch.setattr(training, "NumbaBackend", None)
    else:
        pytest.importorskip("numba")
    return request.param


@pytest.fixture(params=["float64", "float32"])
def precision(request):
    """A type of numbers, and how near losses must be to the reference, relatively."""
    return {"float64": (torch.float64, 1e-10), "float32": (torch.float32, 1e-5)}[request.param]


LOSS_KINDS = {
    "cross_entropy": {},
    "quadratic_softmax": {"loss": "quadratic"},
    "quadratic_sigmoid": {"loss": "quadratic", "output": "sigmoid"},
    "scaled_label": {"loss": "quadratic", "output": "sigmoid", "target": "scaled_label"},
}
OPTIMIZERS = {
    "sgd": {"learning_rate": 0.1},
    "adam": {"optimizer": "adam", "learning_rate": 0.003, "beta2": 0.99},
}
BATCHES = {
    "full": {"batch_size": None, "epochs": 24},
    "minibatch": {"batch_size": 32, "epochs": 8},
    "online": {"batch_size": 1, "epochs": 1, "train_examples": 40},
}


def assert_parity(run, data, precision):
    """Two runs in a stack, of other rate, seed, decay and labels, have the reference's losses."""
    dtype, tolerance = precision
    other = replace(
        run,
        learning_rate=run.learning_rate / 2,
        seed=3,
        decay=0.5,
        beta1=0.8,
        labels=(3, 1, 4, 0, 5, 9, 2, 6, 8, 7),
    )
    stack = [run, other]
    for each, trained in zip(stack, train(stack, data, CPU, dtype=dtype), strict=True):
        assert values(trained) == pytest.approx(reference_losses(each, data), rel=tolerance)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("loss", LOSS_KINDS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_one_hidden_layer_trains_as_in_plain_pytorch(
    small, back_end, precision, optimizer, loss, batch, activation
):
    run = replace(RUN, activation=activation, **(OPTIMIZERS[optimizer] | LOSS_KINDS[loss] | BATCHES[batch]))
    assert backend_name([run], CPU).startswith(back_end)
    assert_parity(run, small, precision)


@pytest.mark.parametrize(
    "shape",
    [
        {"hidden": (8, 8)},
        {"hidden": (9, 7, 5), "activation": "tanh"},
        {"hidden": (8, 8, 8), "activation": "relu"},
        {"hidden": (8, 8, 8), "skip": True},
        {"hidden": (8, 8, 8), "skip": True, "activation": "relu"},
    ],
    ids=str,
)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("loss", ["cross_entropy", "quadratic_softmax"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_deeper_networks_train_as_in_plain_pytorch(small, precision, optimizer, loss, batch, shape):
    assert_parity(
        replace(RUN, **shape, **OPTIMIZERS[optimizer], **LOSS_KINDS[loss], **BATCHES[batch]), small, precision
    )


@pytest.mark.parametrize("hidden", [(50,), (8, 8)])
@pytest.mark.parametrize("batch_size", [None, 600])
def test_batches_of_several_chunks_train_as_in_plain_pytorch(
    small, back_end, precision, batch_size, hidden, monkeypatch
):
    monkeypatch.setattr(torch_backend, "CACHED", 1)  # torch's chunks are as small as they can be
    run = replace(RUN, hidden=hidden, train_examples=700, batch_size=batch_size, epochs=6)
    assert_parity(run, small, precision)


@pytest.mark.parametrize("hidden", [(50,), (8, 8)])
def test_whole_images_as_on_a_gpu_train_as_in_plain_pytorch(small, precision, hidden, monkeypatch):
    monkeypatch.setattr(training, "NumbaBackend", None)
    monkeypatch.setattr(torch_backend, "crops", lambda _: False)
    monkeypatch.setattr(torch_backend, "CACHED", 1)
    assert_parity(replace(RUN, hidden=hidden, train_examples=700, epochs=6), small, precision)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-9)])
@pytest.mark.parametrize(("number", "activation"), [(0, torch.sigmoid), (1, torch.tanh)])
def test_the_kernels_activations_keep_the_digits_of_small_numbers(number, activation, dtype, tolerance):
    """Which the parity of losses would not show."""
    sparse = pytest.importorskip("analysis.engine.numba_backend")
    z = torch.logspace(-6, 1.3, 200).to(dtype)
    z = torch.cat([z, -z])
    expected = activation(z.double())
    sparse.activate(z.numpy(), number)
    assert z.double().numpy() == pytest.approx(expected.numpy(), rel=tolerance)


def test_sorted_labels_train_as_in_plain_pytorch(small, back_end, precision):
    assert_parity(replace(RUN, order="label_sorted", batch_size=1, epochs=1), small, precision)


def test_disjoint_training_sets_train_as_in_plain_pytorch(small, back_end):
    run = replace(RUN, batch_size=20, epochs=5, validation_examples=100)
    runs = [replace(run, train_subset=subset) for subset in (0, 3)]
    for each, trained in zip(runs, train(runs, small, CPU, dtype=torch.float64), strict=True):
        assert values(trained) == pytest.approx(reference_losses(each, small), rel=1e-10)


def test_explosive_rates_have_the_first_losses_of_plain_pytorch(small, back_end):
    """Only the first: at this rate the loss explodes, and every later step multiplies rounding ten-fold and more."""
    run = replace(RUN, learning_rate=8.0, train_examples=None)
    (trained,) = train([run], small, CPU, dtype=torch.float64)
    assert values(trained)[:3] == pytest.approx(reference_losses(run, small)[:3], rel=1e-10)


@st.composite
def one_shape(draw):
    """Runs of one shape, which differ in whatever runs of a stack may differ."""
    common = Run(
        hidden=(draw(st.integers(1, 60)),),
        activation=draw(st.sampled_from(["sigmoid", "tanh", "relu"])),
        optimizer=draw(st.sampled_from(["sgd", "adam"])),
        batch_size=draw(st.sampled_from([None, 1, 7, 32])),
        learning_rate=1,
        train_examples=draw(st.integers(1, 60)),
        validation_examples=draw(st.sampled_from([0, 100])),
        epochs=draw(st.integers(1, 3)),
        measures=(Measure(metrics=("train_loss", "test_loss"), every=3),),
    )
    own = st.builds(
        replace,
        st.just(common),
        learning_rate=st.floats(1e-3, 0.1),
        decay=st.floats(0, 1),
        beta1=st.floats(0.5, 0.95),
        beta2=st.floats(0.9, 0.9999),
        init=st.sampled_from(["uniform_fan_in", "normal", "constant", "biased_output"]),
        init_scale=st.floats(0.01, 1),
        labels=st.permutations(range(10)).map(tuple),
        order=st.sampled_from(["shuffled", "label_sorted"]),
        train_subset=st.just(0) if common.batch_size is None else st.integers(0, 9),
        seed=st.integers(0, 9),
    )
    return draw(st.lists(own, min_size=2, max_size=5))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=one_shape())
def test_a_run_does_not_depend_on_its_stack(small, back_end, runs):
    """But for rounding, which training amplifies: from 1e-16 by some powers of ten within these updates."""
    for run, among in zip(runs, train(runs, small, CPU, dtype=torch.float64), strict=True):
        (alone,) = train([run], small, CPU, dtype=torch.float64)
        assert among.rows.value.to_numpy() == pytest.approx(alone.rows.value.to_numpy(), rel=1e-6)


# --------------------------------------------------------------------------------------------------- metrics


def measured(run, data, *metrics, every=1):
    """The run in float64 with these metrics, and its reference's networks as they were."""
    run = replace(run, measures=(Measure(metrics=metrics, every=every),))
    (trained,) = train([run], data, CPU, dtype=torch.float64)
    return run, trained.rows


def gradients(run, net, images, digits):
    """∂loss/∂(W_l, b_l) of every layer, flat, by autograd."""
    flat = torch.autograd.grad(loss_of(run, net(images), digits), list(net.parameters()))
    return [torch.cat([w.flatten(), b]) for w, b in zip(flat[::2], flat[1::2], strict=True)]


@pytest.mark.parametrize("kind", LOSS_KINDS)
@pytest.mark.parametrize("batch_size", [None, 32])
def test_losses_and_accuracies(small, back_end, kind, batch_size):
    names = [f"{part}_{what}" for part in ("train", "validation", "test") for what in ("loss", "accuracy")]
    run = replace(
        RUN, batch_size=batch_size, epochs=3, validation_examples=100, labels=(1, 2, 3, 4, 5, 6, 7, 8, 9, 0)
    )
    run, rows = measured(replace(run, **LOSS_KINDS[kind]), small, *names)
    held_out = validation_indices(run, len(small.train_labels))
    parts = {
        "train": digits_of(run, small),
        "validation": (small.train_images[held_out].double(), small.train_labels[held_out]),
        "test": (small.test_images.double(), small.test_labels),
    }
    for update, (net, *_) in enumerate(reference(run, small)):
        now = rows[rows["update"] == update].set_index("metric").value
        assert list(now.index) == names
        for part, (images, digits) in parts.items():
            logits = net(images)
            answers = (9 * logits[:, 0].sigmoid()).round() if logits.shape[1] == 1 else logits.argmax(1)
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


def test_unit_distance(small):
    run, rows = measured(replace(RUN, hidden=(6, 5), epochs=2), small, "unit_distance")
    for update, (net, *_) in enumerate(reference(run, small)):
        now = rows[rows["update"] == update]
        assert now["index"].tolist() == [1, 2]
        units = [torch.cat([net[i].weight, net[i].bias[:, None]], 1) for i in (0, 2)]
        largest = [max((a - b).norm().item() for a in layer for b in layer) for layer in units]
        assert now.value.tolist() == pytest.approx(largest, rel=1e-10)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [None, 32])
def test_units_that_start_alike_stay_alike(small, back_end, batch_size, optimizer):
    kind = OPTIMIZERS[optimizer] | {"batch_size": batch_size, "init": "constant", "init_scale": 0.1}
    _, rows = measured(replace(RUN, **kind), small, "unit_distance")
    assert rows.value.max() < 1e-12


@pytest.mark.parametrize("shape", [{"hidden": (2,)}, {"hidden": (2, 2), "activation": "tanh"}], ids=str)
@pytest.mark.parametrize("kind", ["cross_entropy", "quadratic_softmax"])
def test_sharpness_is_the_largest_eigenvalue_of_the_hessian(small, shape, kind):
    run = replace(RUN, **shape, **LOSS_KINDS[kind], train_examples=50, learning_rate=0.5, epochs=20)
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


# ------------------------------------------------------------------------------------- interruption, divergence


EVERYTHING = (
    Measure(metrics=("train_loss", "train_accuracy", "test_loss", "gradient_norm"), every=2, dense_until=3),
    Measure(metrics=("sharpness", "unit_distance", "confusion", "gradient_cosine"), every=5),
)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [None, 32])
def test_a_resumed_stack_is_bitwise_the_same(small, back_end, monkeypatch, optimizer, batch_size):
    run = replace(RUN, **OPTIMIZERS[optimizer], batch_size=batch_size, epochs=4, measures=EVERYTHING)
    runs = [run, replace(run, seed=1, learning_rate=0.01)]
    monkeypatch.setattr(training, "SAVE_SECONDS", 0)
    states, steps = [], []

    def save(state):
        file = io.BytesIO()
        torch.save(state, file)
        states.append(file)

    whole = train(runs, small, CPU, save=save, progress=lambda *done: steps.append(done))
    assert steps[-1] == (steps[-1][1], steps[-1][1])
    for file in states[:: max(1, len(states) // 4)]:
        file.seek(0)
        state = torch.load(file, weights_only=True)
        for a, b in zip(whole, train(runs, small, CPU, state=state), strict=True):
            assert a.rows.drop(columns="seconds").equals(b.rows.drop(columns="seconds"))
            assert all(torch.equal(x, y) for x, y in zip(a.weights, b.weights, strict=True))


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("batch_size", [None, 32])
def test_a_diverged_run_is_a_result_and_spoils_no_other(small, back_end, activation, batch_size):
    run = replace(RUN, activation=activation, batch_size=batch_size, measures=EVERYTHING)
    good, bad = train([run, replace(run, learning_rate=1e38)], small, CPU)
    (alone,) = train([run], small, CPU)
    assert good.rows.value.to_numpy() == pytest.approx(alone.rows.value.to_numpy(), rel=1e-3)
    assert not values(bad)[-1] < 1e30  # which NaN is not, either


@pytest.mark.parametrize("batch_size", [None, 32])
def test_without_a_loss_there_is_no_accuracy(small, back_end, batch_size):
    run = replace(RUN, activation="relu", learning_rate=1e38, batch_size=batch_size)
    (bad,) = train([replace(run, measures=EVERYTHING)], small, CPU)
    final = bad.rows[bad.rows["update"] == bad.rows["update"].max()]
    assert (
        final.query("metric in ('train_loss', 'train_accuracy', 'sharpness', 'confusion')").value.isna().all()
    )


def test_final_weights_have_all_inputs(small, back_end):
    run = replace(RUN, batch_size=32, epochs=2)
    (trained,) = train([run], small, CPU, dtype=torch.float64)
    *_, (net, _, _, _) = reference(run, small)
    for layer, linear in zip(trained.weights, (net[0], net[2]), strict=True):
        assert torch.allclose(layer[:, :-1], linear.weight, rtol=1e-10)
        assert torch.allclose(layer[:, -1], linear.bias, rtol=1e-10)


def test_rows_are_tidy(small):
    run = replace(
        RUN, batch_size=32, epochs=2, measures=(Measure(metrics=("train_loss", "test_loss"), every=4),)
    )
    (trained,) = train([run], small, CPU)
    assert list(trained.rows.columns) == ["epoch", "update", "seconds", "metric", "index", "value"]
    assert trained.rows["update"].tolist() == [0, 0, 4, 4, 6, 6]
    assert trained.rows.epoch.tolist() == pytest.approx([0, 0, 4 / 3, 4 / 3, 2, 2])
    assert trained.rows.metric.tolist() == ["train_loss", "test_loss"] * 3
    assert trained.rows.seconds.is_monotonic_increasing


# --------------------------------------------------------------------------------------------------- stacks


def test_stacks_hold_runs_of_one_shape(small):
    runs = [
        replace(RUN, learning_rate=rate, seed=seed, hidden=hidden, labels=labels)
        for rate in (0.1, 0.2)
        for seed in (0, 1)
        for hidden in ((50,), (8, 8))
        for labels in (tuple(range(10)), tuple(reversed(range(10))))
    ]
    grouped = form_stacks(runs, small, CPU)
    assert sorted(map(hash, (run for stack in grouped for run in stack))) == sorted(map(hash, runs))
    assert {len({run.hidden for run in stack}) for stack in grouped} == {1}
    assert len(grouped) == 2


def test_long_runs_make_small_stacks(small):
    runs = [replace(RUN, hidden=(300,), train_examples=None, epochs=4_000, seed=seed) for seed in range(8)]
    assert {len(stack) for stack in form_stacks(runs, small, CPU)} == {torch.get_num_threads()}


def test_unlike_runs_are_refused(small):
    with pytest.raises(ValueError, match="one shape"):
        train([RUN, replace(RUN, hidden=(10,))], small, CPU)


def test_work_counts_three_products_per_weight():
    run = Run(hidden=(300,), learning_rate=1, epochs=2, measures=LOSSES)
    assert estimate_flops(run) == pytest.approx(2 * 60_000 * 3 * 2 * 235_200, rel=0.35)
