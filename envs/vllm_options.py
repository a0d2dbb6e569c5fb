"""Write envs/vllm-options.list: the options of the installed vLLM's server, a line each.

A misspelt one in serve.extra_args is then told before any job, without importing vLLM (12 s of
processor time, measured). `make vllm-options` runs this; it is due when the lock has another vLLM.
"""

from importlib.metadata import version
from pathlib import Path

from sftflow.devices import vllm_package
from sftflow.vlloptions import LIST


def main() -> None:
    """Ask vLLM's own parser."""
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = make_arg_parser(FlexibleArgumentParser())
    names = {name for action in parser._actions for name in action.option_strings}
    head = f"vllm {version(vllm_package())}"
    lines = [head, *sorted(name for name in names if name.startswith("--"))]
    Path(LIST).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
