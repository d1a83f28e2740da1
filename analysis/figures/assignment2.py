"""The figures of assignment 2."""
