"""All findings, in the order of the text."""

from __future__ import annotations

from analysis.claims import REGISTERED, Claim, assignment1, assignment2

__all__ = ["CLAIMS", "assignment1", "assignment2"]

CLAIMS: dict[str, Claim] = REGISTERED
