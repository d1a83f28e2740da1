"""The tool that plants mistakes tells which are caught, and can say that one is not. `make mutants` tries them all."""

from __future__ import annotations

import ast
from dataclasses import replace

import pytest

from tests import mutants
from tests.mutants import MUTANTS, ROOT, UnjudgedError, caught_by

BY_NAME = {mutant.name: mutant for mutant in MUTANTS}
KEY = BY_NAME["key-without-seed"]
HARMLESS = replace(KEY, name="harmless", instead=f"not not {KEY.right}")


@pytest.mark.parametrize("name", BY_NAME)
def test_every_mutant_still_applies(name: str) -> None:
    mutant = BY_NAME[name]
    source = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert mutant.text() != ast.unparse(ast.parse(source))


def test_a_mutant_finds_its_place_however_the_code_is_laid_out() -> None:
    spread = replace(KEY, right="name  !=  (\n    'version'\n)")
    assert spread.text() == KEY.text()


def test_mutants_have_names_of_their_own() -> None:
    assert len(BY_NAME) == len(MUTANTS)


@pytest.mark.slow
def test_the_table_tells_what_is_caught_and_what_survives(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mutants, "MUTANTS", (KEY, BY_NAME["seeds-shared"], HARMLESS))
    assert mutants.main() == 1
    key, seeds, harmless, sum_up = capsys.readouterr().out.splitlines()
    assert key.endswith("test_run.py::test_every_field_is_part_of_the_key")
    assert "test_questions.py::test_no_job_counts_twice[" in seeds
    assert harmless.endswith("SURVIVES")
    assert sum_up == "2 of 3 mutants are caught"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"instead": "name.nam"}, "has no attribute 'nam'"),
        ({"tests": ("tests/engine/test_run.py::test_nothing",)}, "not found"),
        ({"right": "field.nom"}, "analysis.campaign.keys.canonical_json has no 'field.nom'"),
        ({"place": "analysis.campaign.keys.canonical"}, "analysis/campaign/keys.py has no canonical:"),
        ({"place": "analyses.keys.key"}, "no module has analyses.keys.key"),
    ],
    ids=["crashes", "no such test", "the expression has changed", "no such function", "no such module"],
)
def test_what_cannot_be_judged_does_not_pass_for_caught(change: dict[str, str], told: str) -> None:
    with pytest.raises(UnjudgedError, match=told):
        caught_by(replace(KEY, **change))


def test_tests_that_fail_anyway_catch_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = "tests/engine/test_run.py::test_known_keys_stay"
    monkeypatch.setattr(mutants, "MUTANTS", (replace(KEY, tests=(failing,)),))
    monkeypatch.setattr(mutants, "first_failure", lambda tree, tests: failing)
    assert mutants.main() == 2
    assert f"{failing} fails on the code as it is" in capsys.readouterr().err
