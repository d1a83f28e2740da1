"""What one would write in JAX: `vmap` over a stack's runs, `scan` over an epoch's updates, compiled by `jit`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array

from analysis.engine.network import reference_model

if TYPE_CHECKING:
    from analysis.data import Data
    from analysis.engine.run import Run
    from tests.benchmarks.engine import Work

Weights: TypeAlias = list[tuple[Array, Array]]  # of every layer, matrix and bias
Examples: TypeAlias = tuple[Array, Array]  # images and one-hot targets
State: TypeAlias = tuple[Weights, Any]  # with the optimizer's state


def jax_step(work: Work, data: Data) -> float:
    """Return seconds per model-step of a stack, the test loss after each update of full batches included."""
    run, count = work.run, work.run.train_examples
    train, test = (
        (jnp.asarray(images.numpy()), jax.nn.one_hot(labels.numpy(), run.outputs))
        for images, labels in (
            (data.train_images[:count], data.train_labels[:count]),
            (data.test_images, data.test_labels),
        )
    )

    def epoch(state: State, key: Array, rate: Array, train: Examples, test: Examples) -> tuple[State, Array]:
        images, targets = train
        if run.batch_size is None:
            state = update(run, state, rate, images, targets)
            return state, loss(state[0], *test)
        order = jax.random.permutation(key, len(images)).reshape(-1, run.batch_size)

        def step(state: State, indices: Array) -> tuple[State, None]:
            return update(run, state, rate, images[indices], targets[indices]), None

        return jax.lax.scan(step, state, order)[0], jnp.nan

    epochs = jax.jit(jax.vmap(epoch, in_axes=(0, 0, 0, None, None)), donate_argnums=0)
    starts = [initial_state(each) for each in work.stack]
    state = jax.tree.map(lambda *each: jnp.stack(each), *starts)
    keys = jax.random.split(jax.random.key(0), work.runs)
    rates = jnp.array([each.learning_rate for each in work.stack])
    state, _ = jax.block_until_ready(epochs(state, keys, rates, train, test))  # compiles
    updates = 1 if run.batch_size is None else len(train[0]) // run.batch_size
    turns = -(-work.peer_steps // updates)
    begin = time.perf_counter()
    for _ in range(turns):
        state, _ = epochs(state, keys, rates, train, test)
    jax.block_until_ready(state)
    return (time.perf_counter() - begin) / (turns * updates) / work.runs


def initial_state(run: Run) -> State:
    """Return a run's initial weights, and Adam's moments and number of updates."""
    parameters = [jnp.asarray(each.detach().numpy()) for each in reference_model(run).parameters()]
    weights = [(matrix.T, bias) for matrix, bias in zip(parameters[::2], parameters[1::2], strict=True)]
    zeros = jax.tree.map(jnp.zeros_like, weights)
    return weights, () if run.optimizer == "sgd" else (zeros, zeros, jnp.zeros(()))


def loss(weights: Weights, images: Array, targets: Array) -> Array:
    """Return the mean cross entropy of a network with sigmoid units."""
    *hidden, (matrix, bias) = weights
    for below, offset in hidden:
        images = jax.nn.sigmoid(images @ below + offset)
    return -(targets * jax.nn.log_softmax(images @ matrix + bias)).sum(1).mean()


def update(run: Run, state: State, rate: Array, images: Array, targets: Array) -> State:
    """Return the state after an update of the run's optimizer on a batch."""
    weights, moments = state
    gradient = jax.grad(loss)(weights, images, targets)
    if run.optimizer == "sgd":
        return jax.tree.map(lambda w, g: w - rate * g, weights, gradient), moments
    mean, square, time = moments
    time += 1
    mean = jax.tree.map(lambda m, g: run.beta1 * m + (1 - run.beta1) * g, mean, gradient)
    square = jax.tree.map(lambda s, g: run.beta2 * s + (1 - run.beta2) * g * g, square, gradient)
    step, root = rate / (1 - run.beta1**time), jnp.sqrt(1 - run.beta2**time)

    def moved(w: Array, m: Array, s: Array) -> Array:
        return w - step * m / (jnp.sqrt(s) / root + run.epsilon)

    return jax.tree.map(moved, weights, mean, square), (mean, square, time)
