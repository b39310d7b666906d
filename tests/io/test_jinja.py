import jinja2
import pytest

from fcnjax.io.jinja import render


def test_values_are_escaped_once():
    inner = render("reports/templates/line_chart.svg.j2", **chart("<i>"))
    page = render("io/templates/page.html.j2", title="<b>&")
    assert 'aria-label="&lt;i&gt;"' in inner
    assert "<title>&lt;b&gt;&amp;</title>" in page
    # What a template returned is not escaped again by another.
    assert jinja2.Template("{{ x }}", autoescape=True).render(x=inner) == inner


def test_missing_values_are_errors():
    with pytest.raises(jinja2.UndefinedError, match="title"):
        render("io/templates/page.html.j2")


def chart(label):
    empty = dict.fromkeys(("x_ticks", "y_ticks", "lines", "marks"), ())
    sides = dict.fromkeys(("width", "height", "right", "bottom"), 1) | {"left": 0, "top": 0}
    return {"label": label, "x_label": "step", **sides, **empty}
