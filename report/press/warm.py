"""What kernels import before they fork: their own code, and the libraries that most chapters draw and tabulate with."""

import gc
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

# Nobody debugs a render. Importing the debugger would take each kernel longer than all else until it is ready, so it
# is not found while ipykernel looks for it.
modules: dict[str, Any] = sys.modules
modules["debugpy"] = None
with suppress(Exception):
    import_module("ipykernel.debugger")
del modules["debugpy"]

for name in (
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "IPython.display",
    "matplotlib.pyplot",
    "matplotlib.backends.backend_svg",
    "pandas",
    "pyarrow.csv",
    "pyarrow.parquet",
    "scipy.special",
):
    with suppress(Exception):  # a library that cannot be imported is the matter of the chapter that needs it
        import_module(name)

# Tables and figures make many objects and few cycles: searching for these less often takes a twentieth off a render.
gc.set_threshold(100_000, 50, 1_000)
