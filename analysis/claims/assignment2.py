"""The findings of assignment 2."""
