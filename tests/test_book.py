"""What pages print: a listing in steps."""

from __future__ import annotations

import pytest

from analysis import book


def test_the_steps_of_the_program_are_its_functions_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    book.listing("analysis/exercise1.py")
    whole = capsys.readouterr().out
    places = []
    for step in range(1, 8):
        book.listing("analysis/exercise1.py", step=step)
        code = capsys.readouterr().out.removeprefix("```python\n").removesuffix("```\n")
        assert code.removeprefix("@torch.no_grad()\n").startswith("def ")
        assert ("def main" in code) is (step == 7)
        assert "#" not in code
        places.append(whole.index(code.splitlines()[0]))
    assert places == sorted(places)


def test_a_step_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="no step 9"):
        book.listing("analysis/exercise1.py", step=9)
