"""Training against plain PyTorch, and what becomes of interrupted and of diverging runs."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch

from analysis.engine import torch_backend, training
from analysis.engine.numba_kernels import CHUNK
from analysis.engine.run import Measure, Run
from analysis.engine.sparse_inputs import SparseInputs
from analysis.engine.training import estimate_flops, train
from tests.engine.reference import (
    CPU,
    LOSSES,
    MEASURES,
    REGIMES,
    RUN,
    assert_parity,
    reference,
    reference_losses,
    run_with,
    values,
)

DEEPER = {
    "tanh": {"hidden": (9, 7, 5), "activation": "tanh"},
    "relu": {"hidden": (8, 8, 8), "activation": "relu"},
    "skip": {"hidden": (8, 8, 8), "skip": True},
    "skip-relu": {"hidden": (8, 8, 8), "skip": True, "activation": "relu"},
}


@pytest.mark.parametrize(
    ("loss", "batch", "activation"),
    [(loss, "minibatch", activation) for loss in LOSSES for activation in ("sigmoid", "tanh", "relu")]
    + [(loss, "full", "sigmoid") for loss in LOSSES],
)
def test_one_hidden_layer_trains_as_in_plain_pytorch(small, back_end, precision, loss, batch, activation):
    """By gradient descent; test_optimizers has the other optimizers."""
    assert_parity(run_with("sgd", loss, batch, activation), small, precision)


@pytest.mark.parametrize("shape", DEEPER)
@pytest.mark.parametrize("loss", ["cross_entropy", "quadratic_softmax"])
@pytest.mark.parametrize("batch", ["full", "minibatch"])
def test_deeper_networks_train_as_in_plain_pytorch(small, precision, batch, loss, shape):
    assert_parity(run_with("sgd", loss, batch, **DEEPER[shape]), small, precision)


@pytest.mark.parametrize("hidden", [(50,), (8, 8)])
@pytest.mark.parametrize("batch_size", [None, 600])
def test_batches_of_several_chunks_train_as_in_plain_pytorch(
    small, back_end, precision, batch_size, hidden, monkeypatch
):
    monkeypatch.setattr(torch_backend, "CACHED", 1)  # torch's chunks are as small as they can be
    run = replace(RUN, hidden=hidden, train_examples=700, batch_size=batch_size, epochs=6)
    assert_parity(run, small, precision)


@pytest.mark.parametrize("units", [5, 16, 300, 350])
@pytest.mark.parametrize("examples", [3, CHUNK, 2 * CHUNK + 70])
def test_products_that_leave_out_zeros_are_those_of_whole_images(units, examples):
    """Units of several runs, in one tile or in two, and chunks that are whole or not."""
    random = torch.Generator().manual_seed(0)
    draw = partial(torch.randn, generator=random, dtype=torch.float64)
    images = draw(examples, 40) * (draw(examples, 40) > 1)
    weights, error, into = draw(3, units, 40), draw(3, units, examples), draw(3, units, 40)
    inputs, added = SparseInputs(images), into.clone()
    inputs.add_outer(error, added)
    torch.testing.assert_close(inputs.product(weights), weights @ images.T)
    torch.testing.assert_close(added, into + error @ images)


def test_label_sorted_examples_train_as_in_plain_pytorch(small, back_end, precision):
    assert_parity(replace(RUN, order="label_sorted", batch_size=1, epochs=1), small, precision)


def test_disjoint_training_sets_train_as_in_plain_pytorch(small, back_end):
    run = replace(RUN, batch_size=20, epochs=5, validation_examples=100)
    runs = [replace(run, train_subset=subset) for subset in (0, 3)]
    for each, result in zip(runs, train(runs, small, CPU, dtype=torch.float64), strict=True):
        assert values(result) == pytest.approx(reference_losses(each), rel=1e-10)


def test_explosive_rates_have_the_first_losses_of_plain_pytorch(small, back_end):
    """Only the first: at this rate the loss explodes, and every later step multiplies rounding ten-fold and more."""
    run = replace(RUN, learning_rate=8.0, train_examples=None)
    (result,) = train([run], small, CPU, dtype=torch.float64)
    assert values(result)[:3] == pytest.approx(reference_losses(run)[:3], rel=1e-10)


EVERYTHING = (
    Measure(metrics=("train_loss", "train_accuracy", "test_loss", "gradient_norm"), every=2, dense_until=3),
    Measure(metrics=("sharpness", "unit_distance", "confusion", "gradient_cosine"), every=5),
)


@pytest.mark.parametrize(("optimizer", "batch"), [regime for regime in REGIMES if regime[1] != "online"])
def test_a_resumed_stack_is_bitwise_the_same(small, back_end, monkeypatch, optimizer, batch):
    run = run_with(optimizer, "cross_entropy", batch, epochs=4, measures=EVERYTHING)
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
    (result,) = train([run], small, CPU, dtype=torch.float64)
    *_, (net, _, _, _) = reference(run, small)
    for layer, linear in zip(result.weights, (net[0], net[2]), strict=True):
        assert torch.allclose(layer[:, :-1], linear.weight, rtol=1e-10)
        assert torch.allclose(layer[:, -1], linear.bias, rtol=1e-10)


def test_rows_are_tidy(small):
    run = replace(
        RUN, batch_size=32, epochs=2, measures=(Measure(metrics=("train_loss", "test_loss"), every=4),)
    )
    (result,) = train([run], small, CPU)
    assert list(result.rows.columns) == ["epoch", "update", "seconds", "metric", "index", "value"]
    assert result.rows["update"].tolist() == [0, 0, 4, 4, 6, 6]
    assert result.rows.epoch.tolist() == pytest.approx([0, 0, 4 / 3, 4 / 3, 2, 2])
    assert result.rows.metric.tolist() == ["train_loss", "test_loss"] * 3
    assert result.rows.seconds.is_monotonic_increasing


def test_work_counts_three_products_per_weight():
    run = Run(hidden=(300,), learning_rate=1, epochs=2, measures=MEASURES)
    assert estimate_flops(run) == pytest.approx(2 * 60_000 * 3 * 2 * 235_200, rel=0.35)


@pytest.fixture
def no_compiler(monkeypatch):
    """numba that fails when it is used."""

    def fail(stack):
        raise OSError(28, "No space left on device\nwhile writing the cache")

    monkeypatch.setattr(training, "NumbaBackend", fail)
    monkeypatch.setattr(training.SparseInputs, "compile", fail)


@pytest.mark.parametrize("hidden", [RUN.hidden, (8, 8)])
def test_where_numba_fails_torch_does_the_work(small, no_compiler, caplog, hidden):
    run = replace(RUN, hidden=hidden)
    (result,) = train([run], small, CPU, dtype=torch.float64)
    assert values(result) == pytest.approx(reference_losses(run), rel=1e-10)
    train([run], small, CPU)
    (line,) = caplog.messages
    assert line.startswith("numba cannot be used (OSError: [Errno 28] No space left on device")
    assert "\n" not in line


def test_the_back_end_is_named_that_did_the_work(small, no_compiler):
    run = replace(RUN, batch_size=32)
    assert training.backend_name([run], CPU) == "numba on cpu"
    train([run], small, CPU)
    assert training.backend_name([run], CPU) == "torch on cpu"


def test_too_little_memory_is_not_numbas_fault(small, monkeypatch):
    def fail(stack):
        raise MemoryError

    monkeypatch.setattr(training, "NumbaBackend", fail)
    with pytest.raises(MemoryError):
        train([replace(RUN, batch_size=32)], small, CPU)
    assert training.NumbaBackend is fail


BROKEN = {
    "not installed": "raise ModuleNotFoundError('no', name='numba')",
    "too old for its numpy": "raise ImportError('Numba needs NumPy 2.0 or less')",
    "without its compiler": "raise ModuleNotFoundError('no llvmlite', name='llvmlite')",
    "crashing": "raise SystemError('initialization failed')",
    "another package": "",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_numba_costs_a_line(tmp_path, name):
    (tmp_path / "numba.py").write_text(BROKEN[name])
    printed = train_elsewhere(PYTHONPATH=f"{tmp_path}{os.pathsep}{os.getcwd()}")
    assert len(printed.splitlines()) == (0 if name == "not installed" else 1)
    assert name == "not installed" or "training by torch alone" in printed


@pytest.mark.parametrize("setting", [{"NUMBA_DISABLE_JIT": "1"}, {"NUMBA_THREADING_LAYER": "unheard of"}])
def test_a_numba_that_cannot_compile_or_start_threads_costs_a_line(setting):
    pytest.importorskip("numba")
    (line,) = train_elsewhere(**setting).splitlines()
    assert "training by torch alone" in line


def train_elsewhere(**environment):
    """Train a run in another process; return what it prints."""
    code = """
from dataclasses import replace
from analysis.engine import training
from tests.engine.reference import CPU, RUN
from tests.helpers import digits
run = replace(RUN, batch_size=32)
training.train([run], digits.load(), CPU)
assert training.backend_name([run], CPU) == "torch on cpu"
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_importing_and_training_leave_torchs_threads_alone():
    code = """
import torch
threads = torch.get_num_threads()
from analysis.engine.training import train
assert torch.get_num_threads() == threads, "import"
from tests.engine.reference import CPU, RUN
from tests.helpers import digits
train([RUN], digits.load(), CPU)
assert torch.get_num_threads() == threads, "training"
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
