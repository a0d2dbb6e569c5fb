"""What every page does with text that is not its own."""

from __future__ import annotations

import pytest
from markupsafe import Markup

from sftflow.pagetemplates import breakable, page_templates

TURNED = "invoice\u202efdp.exe"


@pytest.mark.parametrize("mark", ["\u202e", "\u2066", "\u200f", "\x1b", "\x07", "\ud800"])
@pytest.mark.parametrize("template", ["{{ text }}", "<p title='{{ text }}'>", "{{ text | upper }}"])
def test_no_text_turns_what_stands_beside_it(mark, template):
    page = page_templates().from_string(template).render(text=f"a{mark}b")
    assert mark not in page
    assert "\ufffd" in page


def test_names_that_may_break_turn_nothing_either():
    assert breakable(TURNED) == "invoice\ufffdfdp.<wbr>exe"


def test_markup_of_ours_and_numbers_stay():
    template = page_templates().from_string("{{ ours }}{{ count }}{{ theirs }}")
    said = template.render(ours=Markup("<b>\u200f</b>"), count=3, theirs="<b>\n\t")
    assert said == "<b>\u200f</b>3&lt;b&gt;\n\t"
