"""Start vLLM's API server; run as a script, with vLLM's own arguments.

vLLM has two processes of some ten thousand modules, and a fifth of their start would go into
collecting garbage that is none: collection waits until the modules are there. On a CPU the
engine's process is then forked with all its modules, which halves the start. vLLM spawns it
because a process that has computed can't be forked safely; this one has not: it loads no model
and has one thread of Python's. On a GPU vLLM decides.

The API server dies with its supervisor (see supervision.py), and what it starts dies with it.
"""

import gc
import multiprocessing
import os
import signal
from multiprocessing.util import register_after_fork

from sftflow.deathsignal import end_with
from sftflow.modelimports import without_sklearn

# vLLM's names of processes that a main thread starts. An engine that is left alone ends by itself
# only when it is idle again, and one that hangs never does.
TIED = ("EngineCore", "VllmWorker")


def end_with_starter(_: object = None) -> None:
    """Let the kernel kill this process, if it computes for vLLM, when its starter has ended."""
    if multiprocessing.current_process().name.startswith(TIED):
        end_with(os.getppid(), signal.SIGKILL)
        if not multiprocessing.parent_process().is_alive():  # it ended before this was asked
            os._exit(128 + signal.SIGKILL)


def stay_in_process() -> None:
    """Begin no process with importing all modules again: neither the engine nor a first look.

    The first look, at what a model class can do, is in a process of its own so that CUDA is not
    touched; vLLM keeps what it saw in a cache.
    """
    import vllm.model_executor.models.registry as looks
    import vllm.v1.engine.core  # noqa: F401  what the engine would import
    import vllm.v1.engine.utils as starts

    looks._run_in_subprocess = lambda look: look()
    starts.get_mp_context = lambda: multiprocessing.get_context("fork")


if __name__ in ("__main__", "__mp_main__"):  # the second is what multiprocessing calls it
    register_after_fork(end_with_starter, end_with_starter)  # spawned ones, too, call it first
    gc.disable()
    with without_sklearn():
        if __name__ == "__main__":
            from vllm.entrypoints.launchers.api_server.entry import main
            from vllm.platforms import current_platform

            if current_platform.is_cpu():
                stay_in_process()
        else:
            import vllm.v1.engine.core  # noqa: F401
    gc.freeze()
    gc.enable()

if __name__ == "__main__":
    main()
