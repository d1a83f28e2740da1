"""Experiments of two deep-learning assignments on MNIST: run, cache, read, draw.

Data flows one way: data → runs → training → store → results → figures, tables, claims.
Only what lies left of the store needs torch.
"""
