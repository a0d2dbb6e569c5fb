"""Start vLLM's API server; run as a script, with vLLM's own arguments.

vLLM has two processes of some ten thousand modules, and a fifth of their start would go into
collecting garbage that is none: collection waits until the modules are there. On a CPU the
engine's process is then forked with all its modules, which halves the start. vLLM spawns it
because a process that has computed can't be forked safely; this one has not: it loads no model
and has one thread of Python's. On a GPU vLLM decides.
"""

import gc


def fork_engine() -> None:
    """Let the engine's process begin as a copy of this one, not with importing all modules."""
    import multiprocessing

    import vllm.v1.engine.core  # noqa: F401  what the engine would import
    import vllm.v1.engine.utils as starts

    starts.get_mp_context = lambda: multiprocessing.get_context("fork")


if __name__ in ("__main__", "__mp_main__"):  # the second is what multiprocessing calls it
    gc.disable()
    if __name__ == "__main__":
        from vllm.entrypoints.launchers.api_server.entry import main
        from vllm.platforms import current_platform

        if current_platform.is_cpu():
            fork_engine()
    else:
        import vllm.v1.engine.core  # noqa: F401
    gc.freeze()
    gc.enable()

if __name__ == "__main__":
    main()
