"""The walls between the layers of the project, from the imports in its source.

MNIST → runs → engine → store → results → answers → report: code imports from its left, and nothing right of the
store needs torch.
"""

from __future__ import annotations

import ast
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "torchvision", "numba"}


@dataclass(frozen=True)
class Import:
    """An import statement's target.

    Attributes:
        name: The module, or a name in it, that is imported: "analysis.engine.run.Run".
        typing: It is for type checkers only.
        deferred: It is inside a function, and executed by a call.
    """

    name: str
    typing: bool
    deferred: bool


def imports_in(source: str, package: str) -> Iterator[Import]:
    """Yield the imports of a module's source; `package` resolves relative ones."""

    def visit(node: ast.AST, typing: bool, deferred: bool) -> Iterator[Import]:
        match node:
            case ast.Import(names=names):
                yield from (Import(each.name, typing, deferred) for each in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                parts = package.split(".")[: len(package.split(".")) - level + 1] if level else []
                base = ".".join([*parts, *([module] if module else [])])
                yield from (Import(f"{base}.{each.name}", typing, deferred) for each in names)
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                for each in node.body:
                    yield from visit(each, True, deferred)
                for each in node.orelse:
                    yield from visit(each, typing, deferred)
            case _:
                inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                for each in ast.iter_child_nodes(node):
                    yield from visit(each, typing, deferred or inside)

    return visit(ast.parse(source), False, False)


@functools.cache
def project() -> dict[str, tuple[Import, ...]]:
    """Return the imports of every module of `analysis` and `report`, by the module's name."""
    modules = {}
    for path in sorted([*ROOT.glob("analysis/**/*.py"), *ROOT.glob("report/**/*.py")]):
        *folders, stem = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(folders if stem == "__init__" else [*folders, stem])
        modules[name] = tuple(imports_in(path.read_text(encoding="utf-8"), ".".join(folders)))
    return modules


def module_of(name: str) -> str | None:
    """Return the project's module that an imported name is, or lies in; None for other projects' names."""
    while name not in project():
        name, dot, _ = name.rpartition(".")
        if not dot:
            return None
    return name


def imported(module: str) -> set[str]:
    """Return the project's modules that a module imports anywhere, for type checkers as well."""
    return {name for each in project()[module] if (name := module_of(each.name)) and name != module}


def within(module: str, *layers: str) -> bool:
    """Return whether a module is one of these, or in one of these packages."""
    return any(module == layer or module.startswith(f"{layer}.") for layer in layers)


def modules_in(*layers: str) -> list[str]:
    """Return the modules of these layers."""
    return [module for module in project() if within(module, *layers)]


@pytest.mark.parametrize("module", modules_in("analysis.engine"))
def test_the_engine_imports_only_itself(module: str) -> None:
    for each in project()[module]:
        target = module_of(each.name)
        allowed = target is None or within(target, "analysis.engine")
        assert allowed or (target == "analysis.data" and each.typing), f"{module} imports {each.name}"


@pytest.mark.parametrize("module", modules_in("analysis.campaign"))
def test_the_campaign_knows_no_questions(module: str) -> None:
    below = ("analysis.engine", "analysis.campaign", "analysis.data", "analysis.errors", "analysis.files")
    assert {target for target in imported(module) if not within(target, *below)} == set()


@pytest.mark.parametrize("module", modules_in("analysis.questions"))
def test_questions_do_not_import_each_other(module: str) -> None:
    own = ".".join(module.split(".")[:3])
    others = {target for target in imported(module) if within(target, "analysis.questions")}
    assert {target for target in others if not within(target, own)} == set()


def loads(module: str) -> dict[str, str]:
    """Return every module that importing this one loads, with its importer; of other projects the top level."""
    found, todo = {module: ""}, [module]
    while todo:
        importer = todo.pop()
        for each in project()[importer]:
            target = module_of(each.name) or each.name.split(".")[0]
            if each.typing or each.deferred or target in found:
                continue
            found[target] = importer
            if target in project():
                todo.append(target)
    return found


RIGHT_OF_THE_STORE = (
    "results", "statistics", "formatting", "plotting", "findings", "exhibits", "explorer", "archive", "citation",
    "drawn", "book", "diff", "question", "questions", "setup", "shared",
)  # fmt: skip


@pytest.mark.parametrize("module", modules_in(*(f"analysis.{name}" for name in RIGHT_OF_THE_STORE)))
def test_nothing_right_of_the_store_loads_torch(module: str) -> None:
    found = loads(module)
    assert {name: found[name] for name in HEAVY & found.keys()} == {}


@pytest.mark.parametrize("module", modules_in("report"))
def test_the_report_program_imports_nothing_from_the_analysis(module: str) -> None:
    assert {target for target in imported(module) if within(target, "analysis")} == set()


SNAPSHOTS = """
import importlib, locale, logging, os, random, signal, sys, threading, warnings
import numpy, torch
{libraries}

def snapshot():
    return {{
        "environment": dict(os.environ), "folder": os.getcwd(), "path": list(sys.path),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads(), threading.active_count()),
        "torch": (torch.get_default_dtype(), torch.is_grad_enabled(), torch.initial_seed()),
        "denormals": (torch.tensor([1e-39]) * 1).item(),
        "random": (random.getstate(), repr(numpy.random.get_state()), numpy.geterr()),
        "locale": locale.setlocale(locale.LC_ALL, None),
        "streams": (sys.stdout.encoding, sys.stdout.errors, sys.excepthook),
        "logging": (logging.root.level, list(logging.root.handlers)),
        "warnings": list(warnings.filters),
        "signals": [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)],
    }}

before = snapshot()
for name in {modules}:
    importlib.import_module(name)
    for what, value in snapshot().items():
        if value != before[what]:
            sys.exit(f"importing {{name}} changes the {{what}}: {{before[what]}} → {{value}}")
"""


def test_importing_changes_nothing() -> None:
    """Whatever the libraries themselves change is done before."""
    pytest.importorskip("torch")
    own = [name for name in project() if not name.endswith("__main__")]
    names = sorted({each.name for name in own for each in project()[name] if not module_of(each.name)})
    libraries = "\n".join(
        f"try: importlib.import_module({name!r})\nexcept ImportError: pass" for name in names
    )
    ours = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}  # which the tests set
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        [sys.executable, "-c", SNAPSHOTS.format(libraries=libraries, modules=own)],
        cwd=ROOT,
        env=environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: imported(module) & set(modules_in("analysis")) for module in modules_in("analysis")}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_imports_are_found_wherever_they_are() -> None:
    source = """
import os.path
from . import near
from ..far import thing
if TYPE_CHECKING:
    import torch
def function():
    from numba import njit
class Name:
    import inside
try:
    import maybe
except ImportError:
    maybe = None
"""
    found = {each.name: (each.typing, each.deferred) for each in imports_in(source, "a.b")}
    assert found == {
        "os.path": (False, False),
        "a.b.near": (False, False),
        "a.far.thing": (False, False),
        "torch": (True, False),
        "numba.njit": (False, True),
        "inside": (False, False),
        "maybe": (False, False),
    }
