"""Jupyter kernels that fork from one process, which has imported what takes long: a chapter need not wait for it."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, cast

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

if TYPE_CHECKING:
    from subprocess import Popen

_INLINE = "module://matplotlib_inline.backend_inline"  # as ipykernel says
_SERVER = multiprocessing.get_context("forkserver")
_WARM = "report.press.warm"
_SERVER.set_forkserver_preload([_WARM])


def share(module: str) -> None:
    """Let all kernels of this process inherit a module, with what it holds: for a process that renders one book, once.

    To be called before the first kernel starts.
    """
    _SERVER.set_forkserver_preload([_WARM, module])


class ForkingManager(AsyncKernelManager):
    """Starts kernels of this very interpreter by forking, others as their specification says."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.provisioner = _Provisioner(kernel_id="", kernel_spec=self.kernel_spec, parent=self)


class _Provisioner(LocalProvisioner):
    async def launch_kernel(self, cmd: list[str], **options: Any) -> KernelConnectionInfo:
        if cmd[:3] != [sys.executable, "-m", "ipykernel_launcher"]:
            return await super().launch_kernel(cmd, **options)
        process = _SERVER.Process(target=_run, args=(cmd[3:], options.get("cwd"), options.get("env")))
        with _main_module_out_of_sight():
            process.start()
        self.process = cast("Popen[bytes]", _Forked(process))  # it has what the base class asks of one
        self.pid = self.pgid = process.pid
        return self.connection_info


@contextmanager
def _main_module_out_of_sight() -> Iterator[None]:
    """Keep a forked process from importing what was started, which it does not need and which may not bear it."""
    main = sys.modules["__main__"]
    kept = {name: value for name, value in vars(main).items() if name in ("__file__", "__spec__")}
    vars(main).update(dict.fromkeys(kept))
    try:
        yield
    finally:
        vars(main).update(kept)


class _Forked:
    """A forked process, as `subprocess.Popen` would show it."""

    stdin = stdout = stderr = None

    def __init__(self, process: BaseProcess) -> None:
        assert process.pid is not None  # it has been started
        self.process = process
        self.pid = process.pid

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self) -> int | None:
        self.process.join()
        return self.poll()

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.process.terminate()

    def kill(self) -> None:
        self.process.kill()


def _run(arguments: list[str], folder: str | None, environment: dict[str, str] | None) -> None:
    """Be a kernel, in a session of its own so that what a cell starts ends with it."""
    gc.freeze()  # what is inherited stays: no need to search it for garbage, nor to copy the pages this would write to
    os.setsid()
    os.environ.update(environment or {})
    if folder:
        os.chdir(folder)
        sys.path.insert(0, folder)
    from ipykernel.kernelapp import IPKernelApp

    if matplotlib := sys.modules.get("matplotlib"):  # which has read this when it was imported
        matplotlib.rcParams["backend"] = os.environ.setdefault("MPLBACKEND", _INLINE)
    IPKernelApp.launch_instance(arguments, parent_handle=os.getppid())
