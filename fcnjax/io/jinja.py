"""Rendering of the Jinja2 templates that lie beside the code that fills them."""

import functools
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

_PACKAGE = Path(__file__).parent.parent
_ESCAPED = (".html.j2", ".svg.j2")


def render(template: str, **values: Any) -> str:
    """Fill in a template.

    Values are escaped in HTML and SVG templates, unless they are `Markup` already. In templates of
    other kinds, such as Markdown, the caller escapes them.

    Args:
        template: Path of the template within the package: `reports/templates/run.html.j2`.
        **values: What the template reads. A missing value is an error.

    Returns:
        The text; that of an HTML or SVG template is `Markup`, which another template does not
        escape again.
    """
    text = _environment().get_template(template).render(values)
    return Markup(text) if template.endswith(_ESCAPED) else text


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_PACKAGE),
        autoescape=lambda name: name is not None and name.endswith(_ESCAPED),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
