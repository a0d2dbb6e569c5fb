"""How pages are made of templates: everything escaped, nothing silently left out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parents[1] / "templates"


def breakable(text: str) -> Markup:
    """Return a name, escaped, that a narrow column may break after a dot, a bar or a slash."""
    name = escape(text)
    for mark in "._/":
        name = name.replace(mark, Markup(f"{mark}<wbr>"))  # noqa: S704 - a mark of three
    return name


def page_templates() -> jinja2.Environment:
    """Return the environment of the shipped pages: values are escaped, unknown names raise."""
    import jinja2

    return jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FileSystemLoader(TEMPLATES),
        trim_blocks=True,
        lstrip_blocks=True,
    )
