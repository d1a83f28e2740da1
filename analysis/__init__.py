"""Experiments of two deep-learning assignments on MNIST: run, cache, read, draw.

Data flows one way: data → runs → training → store → results → figures, tables, claims.
Only what lies left of the store needs torch.
"""

import os

# torch and numba bring a thread pool each. By default threads that wait for work keep their core busy, so that two
# pools halve each other's speed; the libraries read this when they are loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
