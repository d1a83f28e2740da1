"""The tables of assignment 2."""
