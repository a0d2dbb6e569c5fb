"""Start vLLM's API server; run as a script, with vLLM's own arguments.

vLLM has two processes of some ten thousand modules, and a fifth of their start would go into
collecting garbage that is none: collection waits until the modules are there. As a script of
one's own, it also spares the engine's process the API server's modules, which it would import
because ``python -m`` makes them its parent's main module.
"""

import gc

if __name__ in ("__main__", "__mp_main__"):  # the second is what multiprocessing calls it
    gc.disable()
    if __name__ == "__main__":
        from vllm.entrypoints.launchers.api_server.entry import main
    else:
        import vllm.v1.engine.core  # noqa: F401
    gc.freeze()
    gc.enable()

if __name__ == "__main__":
    main()
