"""What kernels import before they fork: their own code, and the libraries that most chapters draw and tabulate with."""

import gc
from contextlib import suppress
from importlib import import_module

for name in (
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "ipykernel.debugger",  # which each kernel would import, and seldom needs
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
