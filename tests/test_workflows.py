"""What GitHub runs can run, may do little, and is what it was when it was written."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = {path.stem: path for path in (ROOT / ".github/workflows").glob("*.yml")}
MAY_WRITE = {("publish", "deploy"): {"pages", "id-token"}}


def workflow(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(WORKFLOWS[name].read_text(encoding="utf-8"))
    return content


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in workflow(name)["jobs"].values() for step in job.get("steps", [])]


def test_there_is_one_to_test_one_to_publish_and_one_for_the_ranges() -> None:
    assert set(WORKFLOWS) == {"test", "publish", "ranges"}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_jobs_read_only_and_end_some_time(name: str) -> None:
    assert workflow(name)["permissions"] == {"contents": "read"}
    for job, content in workflow(name)["jobs"].items():
        assert set(content.get("permissions", {})) == MAY_WRITE.get((name, job), set())
        assert "timeout-minutes" in content or content["uses"].startswith("./.github/workflows/")


@pytest.mark.parametrize("name", WORKFLOWS)
def test_actions_of_others_are_pinned_to_a_commit(name: str) -> None:
    for step in steps(name):
        assert "run" in step or re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"])


@pytest.mark.parametrize("name", WORKFLOWS)
def test_commands_exist(name: str) -> None:
    for line in (line for step in steps(name) for line in step.get("run", "").splitlines()):
        match line.split():
            case ["make", *asked]:
                subprocess.run(["make", "--dry-run", *asked], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
            case [("python" | ".venv/bin/python" | ".venv-locked/bin/python"), "-m", module, *_]:
                assert importlib.util.find_spec(module)
            case ["source", ".venv/bin/activate" | ".venv-locked/bin/activate"]:
                pass
            case [program]:
                assert os.access(ROOT / program, os.X_OK)
            case _:
                pytest.fail(f"not a command of this project: {line}")
