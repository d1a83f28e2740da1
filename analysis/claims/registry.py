"""All findings, in the order of the text, and all statements by others."""

from __future__ import annotations

from analysis.claims import REGISTERED, Claim, assignment1, assignment2, others

__all__ = ["CLAIMS", "STATEMENTS", "assignment1", "assignment2", "others"]

CLAIMS: dict[str, Claim] = {name: claim for name, claim in REGISTERED.items() if not claim.said}
STATEMENTS: dict[str, Claim] = {name: claim for name, claim in REGISTERED.items() if claim.said}
