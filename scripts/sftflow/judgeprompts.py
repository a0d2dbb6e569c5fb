"""What a judge of two answers is asked, and which verdict its reply gives.

The prompt is a Jinja file with the blocks ``system`` and ``user``. They have ``question``,
``answer_a``, ``answer_b`` and ``reference`` (None where it is not to be shown), and no names of
models: a judge can't know whose answer it reads.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jinja2

SHIPPED = Path(__file__).parents[1] / "templates" / "judge_pair.jinja"
BLOCKS = ("system", "user")
NEEDED = ("question", "answer_a", "answer_b")
VERDICT = re.compile(r"\[\[([ABC])\]\]")
BARE = re.compile(r"\A\W*([ABC])\W*\Z")
MEANING = {"A": "first", "B": "second", "C": "tie"}


def read_template(path: Path) -> jinja2.Template:
    """Return a prompt file as a template; raise ValueError with a clause on what is wrong."""
    import jinja2
    from jinja2 import meta
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)
    try:
        source = path.read_text(encoding="utf-8")
        template = environment.from_string(source)
        used = meta.find_undeclared_variables(environment.parse(source))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"can't be read ({error})") from None
    except jinja2.TemplateError as error:
        raise ValueError(f"is no Jinja template ({error})") from None
    for block in BLOCKS:
        if block not in template.blocks:
            raise ValueError(f"has no block '{block}'; it needs {' and '.join(BLOCKS)}")
    for name in NEEDED:
        if name not in used:
            raise ValueError(f"does not show {{{{ {name} }}}}")
    for name in sorted(used - {*NEEDED, "reference"}):
        raise ValueError(f"asks for {{{{ {name} }}}}, which there is not")
    for reference in ("4", None):  # or it would fail at the first pair, after all trainings
        try:
            judge_messages(template, "2 + 2?", "4", "5", reference)
        except Exception as error:  # whatever its expressions raise
            raise ValueError(f"can't be rendered ({type(error).__name__}: {error})") from None
    return template


def judge_messages(
    template: jinja2.Template, question: str, answer_a: str, answer_b: str, reference: str | None
) -> list[dict[str, str]]:
    """Return the request's messages: the two blocks, rendered."""
    values = {"question": question, "answer_a": answer_a, "answer_b": answer_b}
    context = template.new_context({**values, "reference": reference})
    return [
        {"role": block, "content": "".join(template.blocks[block](context)).strip()}
        for block in BLOCKS
    ]


def read_verdict(reply: str) -> str | None:
    """Return first, second or tie; None if a reply gives no verdict.

    It is the last of [[A]], [[B]] and [[C]] in the reply, or the letter where it is all that was
    said.
    """
    found = VERDICT.findall(reply) or BARE.findall(reply)
    return MEANING[found[-1]] if found else None
