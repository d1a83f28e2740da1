"""Workers record the environment in which they compute."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.campaign.keys import Program
from analysis.data import Data
from analysis.engine.run import Measure, Run
from analysis.errors import DeviceError

torch = pytest.importorskip("torch")

from analysis.campaign import worker  # noqa: E402 (needs torch)
from analysis.engine import training  # noqa: E402 (needs torch)
from analysis.engine.stack import Stack  # noqa: E402 (needs torch)

ROOT = Path(__file__).parents[2]
RUN = Run(hidden=(300,), learning_rate=0.1, epochs=1, measures=(Measure(metrics=("train_loss",), every=1),))


def test_the_package_is_the_whole_of_analysis() -> None:
    assert worker.PACKAGE == ROOT / "analysis"


def test_the_processor_is_named_whatever_the_locale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    information = tmp_path / "cpuinfo"
    information.write_bytes("model name\t: Processeur intégré® 3 GHz\n".encode())
    monkeypatch.setattr(worker, "Path", lambda _: information)
    monkeypatch.setattr("io.text_encoding", lambda encoding, *_: encoding or "ascii")
    assert worker.current_environment(torch.device("cpu")).device_name == "Processeur intégré® 3 GHz"


def test_numbers_in_a_column_of_objects_become_numbers(small: Data) -> None:
    """As melting gives, and the store refuses."""
    table = pd.DataFrame({"pixel": pd.Series([1, 2], dtype=object)})
    program = Program(name="some.program", function=lambda *_: table)
    cpu = torch.device("cpu")
    computer = worker.Worker(small, cpu, worker.current_environment(cpu))
    ((_, result),) = computer.compute({"key": program}, lambda done, total: None)
    assert result.rows["pixel"].dtype == "int64"


# Devices


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A torch that finds two GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")


def test_a_gpu_is_found_by_its_number(two_gpus: None) -> None:
    assert worker.find_device("auto") == torch.device("cuda")
    for name in ("cuda", "cuda:0", "cuda:1", "cpu"):
        assert worker.find_device(name) == torch.device(name)
    with pytest.raises(DeviceError, match=r"no cuda:2 device .* finds cuda, cuda:0, cuda:1, .*cpu"):
        worker.find_device("cuda:2")


def test_the_gpu_of_that_number_is_recorded(two_gpus: None) -> None:
    environment = worker.current_environment(torch.device("cuda:1"))
    assert (environment.device, environment.device_name) == ("cuda", "GPU 1")


def test_the_gpu_of_that_number_is_waited_for(small: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    stack = Stack([RUN], small, torch.device("cpu"), torch.float32)
    stack.device = torch.device("cuda:1")
    stack.synchronize()
    assert waited == [torch.device("cuda:1")]


def test_hidden_gpus_are_said_to_be_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(DeviceError, match=r"no cuda device is available .*; CUDA_VISIBLE_DEVICES is ''"):
        worker.find_device("cuda")
    assert worker.find_device("auto").type != "cuda"


def test_a_device_that_cannot_compute_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def rand(*_: int, device: object) -> None:
        raise RuntimeError("no kernel image is available for execution on the device")

    monkeypatch.setattr(torch, "rand", rand)
    with pytest.raises(DeviceError, match=r"cuda:1 cannot compute .no kernel image .*--device"):
        worker.measure_speed(torch.device("cuda:1"))


GIGABYTE = 2**30


def stack_sizes(free: int, data: Data, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the sizes of the stacks of 100 runs on a GPU with that much free memory."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 80 * GIGABYTE))
    runs = [dataclasses.replace(RUN, seed=seed) for seed in range(100)]
    return [len(stack) for stack in training.form_stacks(runs, data, torch.device("cuda:1"))]


def test_stacks_fit_into_the_free_memory_of_a_gpu(small: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stack_sizes(80 * GIGABYTE, small, monkeypatch) == [100]
    some = stack_sizes(GIGABYTE, small, monkeypatch)
    assert 1 < max(some) < 100
    assert sum(some) == 100
    assert stack_sizes(2**20, small, monkeypatch) == [1] * 100


@pytest.mark.parametrize("fitting", [0, 1, 2])
def test_a_stack_too_large_for_the_device_is_divided(
    small: Data, monkeypatch: pytest.MonkeyPatch, fitting: int
) -> None:
    """A run that does not fit alone is reported."""
    train = training.train

    def in_little_memory(runs: list[Run], *arguments: Any, **options: Any) -> Any:
        if len(runs) > fitting:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return train(runs, *arguments, **options)

    monkeypatch.setattr(training, "train", in_little_memory)
    cpu = torch.device("cpu")
    computer = worker.Worker(small, cpu, worker.current_environment(cpu))
    stack = {str(seed): dataclasses.replace(RUN, seed=seed) for seed in range(5)}
    outcomes = dict(computer.compute(stack, lambda done, total: None))
    assert outcomes.keys() == stack.keys()
    for outcome in outcomes.values():
        if fitting:
            assert outcome.provenance.stack <= fitting
        else:
            assert outcome.startswith("OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.")


# The commit


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of the package of a checkout with one commit."""
    path = tmp_path / "thesis" / "analysis" / "engine" / "run.py"
    path.parent.mkdir(parents=True)
    path.write_text("ENGINE_VERSION = 1\n")
    monkeypatch.setattr(worker, "PACKAGE", tmp_path / "thesis" / "analysis")
    commit_all(tmp_path / "thesis")
    return path


def git(folder: Path, *arguments: str) -> str:
    """Return what git prints in a folder."""
    command = ["git", "-c", "user.name=Some One", "-c", "user.email=some@example.org", *arguments]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, encoding="utf-8")
    return done.stdout.strip()


def commit_all(folder: Path) -> str:
    """Make a folder a repository and commit all its files; return the commit."""
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "--allow-empty", "-m", "Add everything")
    return git(folder, "rev-parse", "HEAD")


def test_dirty_means_changed_code_anywhere_in_the_package(module: Path) -> None:
    """Not changes elsewhere in the checkout: `run_all` itself writes results into cache/."""
    checkout = module.parents[2]
    (checkout / "cache").mkdir()
    (checkout / "cache" / "result").write_text("new")
    environment = worker.current_environment(torch.device("cpu"))
    assert (environment.commit, environment.dirty) == (git(checkout, "rev-parse", "HEAD"), False)
    module.write_text("ENGINE_VERSION = 2\n")
    assert worker.current_environment(torch.device("cpu")).dirty


@pytest.mark.parametrize(
    "hide",
    [
        ("config", "status.showUntrackedFiles", "no"),
        ("update-index", "--assume-unchanged", "analysis/engine/run.py"),
        ("update-index", "--skip-worktree", "analysis/engine/run.py"),
    ],
)
def test_changes_that_git_was_told_to_hide_are_dirty(module: Path, hide: tuple[str, ...]) -> None:
    git(module.parents[2], *hide)
    module.write_text("ENGINE_VERSION = 2\n")
    (module.parent / "more.py").write_text("")
    assert worker.find_commit() == (git(module.parents[2], "rev-parse", "HEAD"), True)


def test_code_inside_another_repository_has_no_commit(module: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whether that repository ignores the code or has it committed."""
    checkout = module.parents[2]
    shutil.rmtree(checkout / ".git")
    assert worker.find_commit() == (None, False)
    assert "the commit of the code is unknown: fatal: not a git repository" in caplog.text
    commit_all(checkout.parent)
    assert worker.find_commit() == (None, False)
    assert f"{checkout} lies in another repository, {checkout.parent}" in caplog.text


def test_a_repository_that_does_not_track_the_code_has_no_commit(
    module: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkout = module.parents[2]
    shutil.rmtree(checkout / ".git")
    (checkout / ".gitignore").write_text("*\n")
    commit_all(checkout)
    assert worker.find_commit() == (None, False)
    assert "does not track" in caplog.text


@pytest.mark.parametrize("names", [("GIT_DIR",), ("GIT_DIR", "GIT_WORK_TREE"), ("GIT_INDEX_FILE",)])
def test_another_repository_in_the_environment_is_not_asked(
    module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    own = git(module.parents[2], "rev-parse", "HEAD")
    other = tmp_path / "other"
    other.mkdir()
    commit_all(other)
    paths = {"GIT_DIR": other / ".git", "GIT_WORK_TREE": other, "GIT_INDEX_FILE": other / ".git" / "index"}
    for name in names:
        monkeypatch.setenv(name, str(paths[name]))
    assert worker.find_commit() == (own, False)


def test_a_repository_that_git_mistrusts_has_no_commit(
    module: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert worker.find_commit() == (None, False)
    (line,) = caplog.messages
    assert line.startswith("the commit of the code is unknown: fatal: detected dubious ownership")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "No such file or directory: 'git'"),
        ('test "$1" != status || exit 3; exec {git} "$@"', "exit status 3"),
        ("exec /bin/sleep 20", "timed out"),
    ],
)
def test_a_git_that_fails_costs_a_line(
    module: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    script: str | None,
    reason: str,
) -> None:
    """A commit without an answer whether it is dirty would be a guess."""
    monkeypatch.setattr(worker, "GIT_SECONDS", 2.0)
    folder = tmp_path / "bin"
    folder.mkdir()
    if script is not None:
        (folder / "git").write_text(f"#!/bin/sh\n{script.format(git=shutil.which('git'))}\n")
        (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    assert worker.find_commit() == (None, False)
    assert reason in caplog.text
