"""How pages are made of templates: everything escaped, nothing silently left out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parents[1] / "templates"

# Everything that a page can't show or that changes how the rest is shown: control characters
# but tab and newline, lone surrogates, and the marks that turn the direction of writing.
UNSHOWABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(value: Any) -> Any:
    """Return a value of a template with unshowable characters as U+FFFD; markup is ours."""
    plain = isinstance(value, str) and not isinstance(value, Markup)
    return UNSHOWABLE.sub("\ufffd", value) if plain else value


def breakable(text: str) -> Markup:
    """Return a name, escaped, that a narrow column may break after a dot, a bar or a slash."""
    name = escape(visible(text))
    for mark in "._/":
        name = name.replace(mark, Markup(f"{mark}<wbr>"))  # noqa: S704 - a mark of three
    return name


def page_templates() -> jinja2.Environment:
    """Return the environment of the shipped pages.

    Values are escaped and can't turn the direction of what stands beside them; unknown names
    raise.
    """
    import jinja2

    return jinja2.Environment(
        autoescape=True,
        finalize=visible,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FileSystemLoader(TEMPLATES),
        trim_blocks=True,
        lstrip_blocks=True,
    )
