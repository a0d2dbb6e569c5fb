"""What a chat template is told where nobody says otherwise, written into the template itself.

``apply_chat_template``, vLLM and lm-eval each have their own way of passing variables such as
``enable_thinking``; a value that stands in the template can't be forgotten in one of them. Whoever
passes the variable all the same is heeded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping


def with_defaults(template: str, values: Mapping[str, bool | float | str]) -> str:
    """Return a Jinja template that begins with ``values`` for variables that are not passed.

    The line ends behind a block tag, where Jinja drops the line end (trim_blocks), so the
    template's first line is rendered as it was.
    """
    lines = [
        f"{{%- if {name} is not defined %}}{{%- set {name} = {_literal(value)} %}}{{%- endif %}}\n"
        for name, value in sorted(values.items())
    ]
    return "".join(lines) + template


def _literal(value: bool | float | str) -> str:
    """Return a value as Jinja writes it: as in JSON, but characters beyond ASCII as they are."""
    return json.dumps(value, ensure_ascii=False)
