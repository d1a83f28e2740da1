"""What kernels import before they fork: their own code, and the libraries that most chapters draw and tabulate with."""

from contextlib import suppress
from importlib import import_module

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
