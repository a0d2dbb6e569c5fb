"""What may stand in serve.extra_args: vLLM's own options, but none that the workflow decides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sftflow.loraserving import OPTIONS

# What this workflow decides; what would open the server to others, send what it is told elsewhere,
# or run foreign code.
OWNED = (
    "--model", "--host", "--port", "--uds", "--api-key", "--served-model-name", "--max-model-len",
    "--dtype", "--generation-config", "--override-generation-config", "--enable-prefix-caching",
    "--disable-fastapi-docs", "--no-disable-fastapi-docs", "--trust-remote-code", "--middleware",
    "--trust-request-chat-template", "--allowed-local-media-path", "--tensor-parallel-size",
    "--gpu-memory-utilization", "--config", "--hf-token", *OPTIONS,
    # A model is served as it was trained: with the template and tokenizer of its folder.
    "--chat-template", "--default-chat-template-kwargs", "--tokenizer",
    "--grpc-port", "--kv-events-config", "--data-parallel-address", "--master-addr",
    "--ssl-keyfile", "--ssl-certfile", "--otlp-traces-endpoint", "--tool-server",
    "--enable-prompt-embeds", "--enable-mm-embeds", "--trust-request-mm-kwargs",
    "--tool-parser-plugin", "--reasoning-parser-plugin", "--io-processor-plugin",
    "--logits-processors", "--worker-cls", "--worker-extension-cls", "--scheduler-cls",
    "--model-class-overrides", "--log-config-file",
)  # fmt: skip
# An option of its own, though one of the others begins so.
WHOLE = ("--reasoning-parser",)


def owned(item: str) -> bool:
    """Return whether an item of vLLM's command line names an option that is not the user's.

    vLLM's parser takes the beginning of an option for the option: ``--hos`` is ``--host``.
    """
    name = item.partition("=")[0].replace("_", "-")
    if name in ("-tp", "-O"):
        return True
    if name in WHOLE:
        return False
    return name.startswith("--") and any(option.startswith(name) for option in OWNED)


def extra_args_faults(extra: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with the list, a sentence for each item that vLLM would not take."""
    for number, item in enumerate(extra):
        key = f"serve.extra_args[{number}]"
        option = item.startswith("--")
        if owned(item):
            said = "is decided by the workflow; take it out of the list"
            yield f"serve.extra_args: {item} {said}"
        elif option and len(item.partition("=")[0].split()) != 1:
            yield f"{key}: '{item}' is an option and its value; write them as two items"
        elif number == 0 and not item.startswith("-"):
            yield f"{key}: '{item}' is no option; options of vLLM begin with --"
