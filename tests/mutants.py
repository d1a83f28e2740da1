"""Deliberately wrong engines, and which test catches each: `make mutants`, or python -m tests.mutants

The tests say that the code is right; this says that they would notice if it were not.
A mutant is a copy of the code with one place made wrong, on which a few chosen tests are run: one of them has to
fail, by an assertion of its own. On the code as it is all of them have to pass.
Exit codes: 0 every mutant is caught; 1 some mutant survives; 2 some mutant cannot be judged (why).
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("analysis", "tests", "pyproject.toml")


class UnjudgedError(Exception):
    """Whether a mutant is caught cannot be said; the message says why."""


@dataclass(frozen=True)
class Mutant:
    """One mistake.

    Attributes:
        name: Of the mutant.
        wrong: The mistake in words.
        place: The function or method where it is made, by its dotted name: "analysis.engine.stack.Stack.rates".
        right: The expression or statement there that is right; it is found by its meaning, however it is laid out.
        instead: What is done instead.
        tests: Pytest's names of the tests that have to catch it; a few, as every mutant runs its own.
    """

    name: str
    wrong: str
    place: str
    right: str
    instead: str
    tests: tuple[str, ...]

    @property
    def file(self) -> str:
        """The module's file, relative to the project."""
        parts = self.place.split(".")
        for length in range(len(parts), 0, -1):
            path = Path(*parts[:length]).with_suffix(".py")
            if (ROOT / path).is_file():
                return path.as_posix()
        raise UnjudgedError(f"{self.name}: no module has {self.place}: change the mutant as well")

    def text(self) -> str:
        """Return the module's source with the mistake in it."""
        tree = ast.parse((ROOT / self.file).read_text(encoding="utf-8"))
        node: ast.AST = tree
        for name in self.place.split(".")[len(Path(self.file).parts) :]:
            found = [each for each in ast.walk(node) if isinstance(each, DEFINITIONS) and each.name == name]
            if not found:
                raise UnjudgedError(f"{self.name}: {self.file} has no {name}: change the mutant as well")
            node = found[0]
        replacer = _Replacer(_parsed(self.right), _parsed(self.instead))
        replacer.visit(node)
        if not replacer.count:
            raise UnjudgedError(f"{self.name}: {self.place} has no {self.right!r}: change the mutant as well")
        return ast.unparse(ast.fix_missing_locations(tree))


DEFINITIONS = (ast.FunctionDef, ast.ClassDef)


def _parsed(code: str) -> ast.AST:
    """An expression, or a statement."""
    (statement,) = ast.parse(code).body
    return statement.value if isinstance(statement, ast.Expr) else statement


class _Replacer(ast.NodeTransformer):
    """Replaces what is equal to one piece of code by another."""

    def __init__(self, right: ast.AST, instead: ast.AST) -> None:
        self.right, self.instead, self.count = ast.dump(right), instead, 0

    def visit(self, node: ast.AST) -> ast.AST:
        if ast.dump(node) == self.right:
            self.count += 1
            return self.instead
        return self.generic_visit(node)


def parity(back_end: str, optimizer: str, batch: str) -> tuple[str, ...]:
    """The test that a back end trains as torch.optim does; numba compiles anew for every mutant."""
    case = f"{back_end}-float64-{optimizer}-{batch}"
    return (f"{OPTIMIZERS}::test_one_hidden_layer_trains_as_in_torch_optim[{case}]",)


def metrics(batch_size: int | None) -> tuple[str, ...]:
    """The test that losses and accuracies are those of plain PyTorch's networks."""
    return (f"{EVALUATION}::test_losses_and_accuracies[torch-{batch_size}-cross_entropy]",)


ENGINE = "analysis.engine"
KERNELS = f"{ENGINE}.numba_kernels"
TRAINING = "tests/engine/test_training.py"
OPTIMIZERS = "tests/engine/test_optimizers.py"
EVALUATION = "tests/engine/test_evaluation.py"

LOAD = ("tests/test_data.py::test_load_reads_what_was_verified",)
NETWORK = ("tests/engine/test_network.py",)
KEYS = ("tests/engine/test_run.py::test_every_field_is_part_of_the_key",)
JOBS = "tests/questions/test_questions.py"

MUTANTS = (
    # The learning rate
    Mutant(
        "rate-doubled", "η is twice what the run says", f"{ENGINE}.stack.Stack.rates",
        "self.each('learning_rate')", "2 * self.each('learning_rate')",
        parity("torch", "sgd", "full"),
    ),
    Mutant(
        "rate-doubled-torch", "η is twice what the run says, in torch's minibatches",
        f"{ENGINE}.torch_backend.TorchBackend._descend",
        "rate / -len(split)", "2 * rate / -len(split)",
        parity("torch", "sgd", "minibatch"),
    ),
    Mutant(
        "rate-doubled-numba", "η is twice what the run says, in the sparse kernel", f"{KERNELS}._advance",
        "number(-factors[update, 0] * share)", "number(-2 * factors[update, 0] * share)",
        parity("numba", "sgd", "minibatch"),
    ),
    Mutant(
        "rate-constant", "η does not decay", f"{ENGINE}.stack.Stack.rates",
        "self.each('decay')", "0 * self.each('decay')",
        parity("torch", "sgd", "minibatch"),
    ),
    # The gradient
    Mutant(
        "bias-hidden", "hidden units have no bias", f"{ENGINE}.stack.Stack._with_ones",
        "images.new_ones(len(images), 1)", "images.new_zeros(len(images), 1)",
        parity("torch", "sgd", "full"),
    ),
    Mutant(
        "bias-output-torch", "output biases are not trained, by torch",
        f"{ENGINE}.torch_backend.TorchBackend._backward",
        "total[:, :, -1] += own.sum(2)", "total[:, :, -1] += 0 * own.sum(2)",
        parity("torch", "sgd", "full"),
    ),
    Mutant(
        "bias-output-numba", "output biases are not trained, in the sparse kernel",
        f"{KERNELS}.backpropagate",
        "into.bias[j] += column[i]", "into.bias[j] += 0 * column[i]",
        parity("numba", "sgd", "minibatch"),
    ),
    Mutant(
        "sigmoid-slope-torch", "σ′ = σ, by torch", f"{ENGINE}.torch_backend",
        "torch.addcmul(phi, phi, phi, value=-1)", "phi",
        parity("torch", "sgd", "full"),
    ),
    Mutant(
        "sigmoid-slope-numba", "σ′ = σ, in the sparse kernel", f"{KERNELS}.backpropagate_activation",
        "a[j] - a[j] * a[j]", "a[j]",
        parity("numba", "sgd", "minibatch"),
    ),
    Mutant(
        "skip-slope", "no gradient flows through skip connections",
        f"{ENGINE}.torch_backend.TorchBackend._errors",
        "below += skipped", "below += 0 * skipped",
        (f"{TRAINING}::test_deeper_networks_train_as_in_plain_pytorch[float64-full-cross_entropy-skip]",),
    ),
    Mutant(
        "last-batch-torch", "the last, smaller batch counts less, in torch's descent",
        f"{ENGINE}.torch_backend.TorchBackend._descend",
        "rate / -len(split)", "rate / -self.stack.batch",
        parity("torch", "sgd", "minibatch"),
    ),
    Mutant(
        "last-batch-adam", "the last, smaller batch counts less, in torch's Adam",
        f"{ENGINE}.torch_backend.TorchBackend._gradient",
        "layer /= len(split)", "layer /= self.stack.batch",
        parity("torch", "adam", "minibatch"),
    ),
    Mutant(
        "last-batch-numba", "the last, smaller batch counts less, in the sparse kernel",
        f"{KERNELS}._advance",
        "1 / (stop - start)", "1 / batch",
        parity("numba", "sgd", "minibatch"),
    ),
    # Adam
    Mutant(
        "adam-mean-uncorrected", "no correction of Adam's mean", f"{ENGINE}.optimizers._adam_factors",
        "rates / (1 - beta1**times)", "rates",
        parity("torch", "adam", "minibatch"),
    ),
    Mutant(
        "adam-square-uncorrected", "no correction of Adam's mean square", f"{ENGINE}.optimizers._adam_factors",
        "1 - beta2**times", "1 - 0 * times",
        parity("numba", "adam", "minibatch"),
    ),
    Mutant(
        "adam-swapped-torch", "Adam's β₁ and β₂ are swapped, by torch", f"{ENGINE}.optimizers._update_adam",
        "step, root, rest1, rest2, epsilon = factors", "step, root, rest2, rest1, epsilon = factors",
        parity("torch", "adam", "full"),
    ),
    Mutant(
        "adam-swapped-numba", "Adam's β₁ and β₂ are swapped, in the sparse kernel", f"{KERNELS}.update_weights",
        "(number(factors[2]), number(factors[3]), number(factors[4]))",
        "(number(factors[3]), number(factors[2]), number(factors[4]))",
        parity("numba", "adam", "minibatch"),
    ),
    # Momentum
    Mutant(
        "momentum-undamped-torch", "momentum forgets nothing, by torch", f"{ENGINE}.optimizers._update_momentum",
        "total *= beta1", "total *= 1",
        parity("torch", "momentum", "minibatch"),
    ),
    Mutant(
        "momentum-undamped-numba", "momentum forgets nothing, in the sparse kernel", f"{KERNELS}.update_weights",
        "beta1 * total[i]", "total[i]",
        parity("numba", "momentum", "minibatch"),
    ),
    # Data and labels
    Mutant(
        "test-in-training", "a third of the training examples are the test set's", f"{ENGINE}.stack.Stack.__init__",
        "(data.train_images, data.train_labels)",
        "(torch.cat([data.test_images, data.train_images])[: len(data.train_labels)],"
        " torch.cat([data.test_labels, data.train_labels])[: len(data.train_labels)])",
        parity("torch", "sgd", "full"),
    ),
    Mutant(
        "test-is-training", "the training set is read from the test set's files", "analysis.data.load",
        "('train', 't10k')", "('t10k', 't10k')",
        LOAD,
    ),
    Mutant(
        "labels-shuffled", "images go with other images' labels", f"{ENGINE}.stack.Stack.__init__",
        "classes[:, labels]", "classes[:, labels[torch.randperm(len(labels))]]",
        parity("torch", "sgd", "full"),
    ),
    Mutant(
        "labels-shuffled-on-loading", "images go with other images' labels from the files on", "analysis.data.load",
        "train[1].long()", "train[1].long().flip(0)",
        LOAD,
    ),
    Mutant(
        "labels-as-they-are", "a run's permutation of labels is ignored", f"{ENGINE}.stack.Stack.__init__",
        "classes[:, labels]", "labels.expand(len(runs), -1)",
        parity("torch", "sgd", "full"),
    ),
    Mutant(
        "scaled-by-256", "pixels of the training set are divided by 256", "analysis.data.load",
        "train[0].flatten(1).float() / 255", "train[0].flatten(1).float() / 256",
        LOAD,
    ),
    Mutant(
        "scaled-otherwise", "pixels of the test set are divided by 256", "analysis.data.load",
        "test[0].flatten(1).float() / 255", "test[0].flatten(1).float() / 256",
        LOAD,
    ),
    Mutant(
        "validation-trained-on", "validation examples are trained on as well", f"{ENGINE}.network.training_indices",
        "examples - run.validation_examples", "examples",
        NETWORK,
    ),
    Mutant(
        "validation-of-nothing", "a question holds no validation examples out",
        "analysis.question.Budget.grid",
        "VALIDATION_EXAMPLES", "0",
        (f"{JOBS}::test_validation_examples_are_held_out_where_they_are_measured",),
    ),
    Mutant(
        "subsets-overlap", "disjoint training sets share half of their examples",
        f"{ENGINE}.network.training_indices",
        "size * run.train_subset", "size * run.train_subset // 2",
        NETWORK,
    ),
    Mutant(
        "unsorted", "examples that should come sorted by label come as they lie", f"{ENGINE}.network.sample_order",
        "torch.argsort(digits, stable=True)", "torch.arange(len(digits))",
        NETWORK,
    ),
    Mutant(
        "never-reshuffled", "every epoch takes the examples in the same order", f"{ENGINE}.network.sample_order",
        "(run.seed, _ORDER, drawn)", "(run.seed, _ORDER)",
        NETWORK,
    ),
    # Seeds and initializations
    Mutant(
        "seed-of-start-shared", "all seeds give the same initialization", f"{ENGINE}.network.initial_weights",
        "(run.seed, _INITIALIZATION)", "(0, _INITIALIZATION)",
        NETWORK,
    ),
    Mutant(
        "seed-of-order-shared", "all seeds give the same order of examples", f"{ENGINE}.network.sample_order",
        "(run.seed, _ORDER, drawn)", "(0, _ORDER, drawn)",
        NETWORK,
    ),
    Mutant(
        "start-shared", "all runs of a stack start as its first", f"{ENGINE}.stack.Stack.initial_weights",
        "initial_weights(run, self.dtype)", "initial_weights(self.run, self.dtype)",
        parity("torch", "sgd", "full"),
    ),
    Mutant(
        "order-shared", "all runs of a stack take the first one's order", f"{ENGINE}.stack.Stack.examples",
        "sample_order(run, epoch, digits)", "sample_order(self.run, epoch, digits)",
        parity("torch", "sgd", "minibatch"),
    ),
    Mutant(
        "seeds-shared", "a question trains one seed over and over", "analysis.question.Budget.grid",
        "seed", "0",
        (f"{JOBS}::test_no_job_counts_twice",),
    ),
    Mutant(
        "start-too-narrow", "weights start √fan-in times too small", f"{ENGINE}.network.initial_weights",
        "math.sqrt(inputs)", "inputs",
        NETWORK,
    ),
    # Evaluation
    Mutant(
        "tested-on-training", "the test accuracy is measured on the training set",
        f"{ENGINE}.evaluation.Evaluator.evaluate",
        "('test', stack.test)", "('test', stack.train)",
        metrics(None),
    ),
    Mutant(
        "validated-on-training", "the validation loss is measured on the training set",
        f"{ENGINE}.stack.Stack.__init__",
        "validation_indices(self.run, examples)", "training_indices(self.run, examples)",
        metrics(None),
    ),
    Mutant(
        "measured-late", "a loss is reported one update after its own", f"{ENGINE}.training.train",
        "history.add(update, seconds, {name: values[name] for name in in_forward_pass})",
        "history.add(stop, seconds, {name: values[name] for name in in_forward_pass})",
        metrics(None),
    ),
    Mutant(
        "confusion-transposed", "true and predicted classes are mixed up",
        f"{ENGINE}.torch_backend.TorchBackend.evaluate",
        "chunk.labels * CLASSES + self._predictions(logits)", "chunk.labels + CLASSES * self._predictions(logits)",
        (f"{EVALUATION}::test_confusion_and_class_accuracy[torch]",),
    ),
    Mutant(
        "sums-left-out", "of torch's full batch, the errors that all threads but the first add up are left out",
        f"{ENGINE}.sparse_inputs.SparseInputs.add_outer",
        "sums.sum(0)", "sums[0]",
        (f"{TRAINING}::test_products_that_leave_out_zeros_are_those_of_whole_images[1094-16]",),
    ),
    # What becomes of results
    Mutant(
        "results-swapped", "runs of a stack get each other's results", "analysis.campaign.worker.Worker._train",
        "zip(names, trained, strict=True)", "zip(names, reversed(trained), strict=True)",
        ("tests/test_run_all.py::test_damaged_results_are_computed_again",),
    ),
    Mutant(
        "key-without-seed", "runs of all seeds have one key", "analysis.campaign.keys.canonical_json",
        "name != 'version'", "name not in ('version', 'seed')",
        KEYS,
    ),
    Mutant(
        "key-without-code", "results of older code pass for those of the present one", "analysis.campaign.keys.key",
        "f'{job.version}:{data_digest}'", "f'{data_digest}'",
        ("tests/engine/test_run.py::test_code_and_data_change_the_key_but_not_the_identity",),
    ),
    # The program of exercise 1
    Mutant(
        "exercise-rate-doubled", "exercise 1 takes twice its learning rate", "analysis.exercise1.gradient_descent",
        "optim.SGD(model.parameters(), lr=learning_rate)", "optim.SGD(model.parameters(), lr=2 * learning_rate)",
        ("tests/test_exercise1.py::test_the_engine_follows_the_program",),
    ),
    Mutant(
        "exercise-gradients-pile-up", "exercise 1 never clears its gradients", "analysis.exercise1.gradient_descent",
        "optimizer.zero_grad()", "None",
        ("tests/test_exercise1.py::test_gradient_descent_learns_the_digits",),
    ),
    Mutant(
        "exercise-tested-on-training", "exercise 1 measures its test accuracy on the training set",
        "analysis.exercise1.main",
        "accuracy(model, test_inputs.to(device), test_labels.to(device))", "accuracy(model, inputs, labels.to(device))",
        ("tests/test_exercise1.py::test_the_accuracy_is_that_on_the_test_set",),
    ),
)  # fmt: skip


def caught_by(mutant: Mutant) -> str:
    """The first of its tests that notices the mutant; empty if it survives."""
    text = mutant.text()
    with copied() as tree:
        (tree / mutant.file).write_text(text, encoding="utf-8")
        return first_failure(tree, mutant.tests)


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of the code and its tests, for a moment."""
    with tempfile.TemporaryDirectory() as place:
        for name in NEEDED:
            source, target = ROOT / name, Path(place) / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        yield Path(place)


def first_failure(tree: Path, tests: Iterable[str]) -> str:
    """The first of the tests to fail on this copy of the code, empty if all pass.

    Raises:
        UnjudgedError: It fails otherwise than by an assertion: code that only crashes is no wrong engine.
    """
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-n", "0", "-p", "no:cacheprovider", *tests],
        cwd=tree,
        env=os.environ | {"COLUMNS": "1000"},  # so that pytest cuts no name short
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return ""
    asserted = re.search(
        r"^FAILED (.+?) - (?:assert |AssertionError|Failed: DID NOT RAISE)", done.stdout, re.M
    )
    if done.returncode != 1 or not asserted:
        raise UnjudgedError(done.stdout[-3000:] + done.stderr)
    return asserted[1]


def main() -> int:
    """Judges all mutants and prints the table."""
    try:
        with copied() as tree:
            failed = first_failure(tree, sorted({test for mutant in MUTANTS for test in mutant.tests}))
        if failed:
            raise UnjudgedError(f"{failed} fails on the code as it is")
        names, words = (max(len(getattr(mutant, field)) for mutant in MUTANTS) for field in ("name", "wrong"))
        survivors = []
        for mutant in MUTANTS:
            caught = caught_by(mutant)
            print(f"{mutant.name:{names}}  {mutant.wrong:{words}}  {caught or 'SURVIVES'}", flush=True)
            if not caught:
                survivors.append(mutant.name)
    except UnjudgedError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{len(MUTANTS) - len(survivors)} of {len(MUTANTS)} mutants are caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
