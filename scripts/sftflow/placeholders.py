"""Template variables that nobody filled in: ``{{name}}``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from sftflow.cleaningstep import Records, Step, one_of
from sftflow.expressiontime import bounded
from sftflow.lists import phrase_form

# Letters of any script, as in {{姓名}}; not {{{...}}}, and no LaTeX, as in \frac{{a}}{{b}}.
SHIPPED = (r"(?<![A-Za-z{}^_])\{\{\s*[^\W\d][\w .-]{0,60}\}\}(?!\})", r"\{%-?\s*\w+[^%\n]{0,80}%\}")
CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)


def placeholders(
    records: Records, step: Step, action: str = "drop", forms: Sequence[str] = ()
) -> Records:
    r"""Drop or report records with ``{{placeholders}}`` in their texts; code is not looked at.

    ``forms`` are more regular expressions, such as ``\[Your Name\]``.
    """
    one_of(step, "action", action, ("drop", "report"))
    form = phrase_form([*SHIPPED, *forms], "placeholders: forms")
    for record in records:
        kinds: Counter[str] = Counter()
        with bounded(record, step, {"forms": forms}):
            for message in record["messages"]:
                text = message["content"]
                kinds.update(found[0] for found in form.finditer(CODE.sub(" ", text)))
        if not kinds:
            yield record
            continue
        step.note(record, {"placeholder": kinds.total()})
        if action == "drop":
            step.reject(record, "placeholder", f"nobody filled in {', '.join(sorted(kinds))}")
        else:
            yield record
