import string
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftflow.matching import bare, final_number, same_number, word_overlap

TEXT = st.text(max_size=40)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("The Eiffel Tower.", "eiffel tower"),
        ("Paris, France", "paris france"),
        ("**Refund**", "refund"),
        ("(A)", "a"),  # an article that is all there is: a choice
        ("東京 ，日本。", "東京日本"),
        ("กรุงเทพ ฯ", "กรุงเทพฯ"),
        ("50%", "50%"),
        ("$1,000.00.", "$1,000.00"),
        ("x - y", "x - y"),
        ("'The answer.'", "answer"),
    ],
)
def test_bare_is_squads_normal_form_in_any_script(text, left):
    assert bare(text) == left


@given(TEXT | st.text(alphabet=string.punctuation + "aA1 the东", max_size=20))
def test_bare_is_settled(text):
    assert bare(bare(text)) == bare(text)


def test_word_overlap_by_hand():
    # answer {cat, sat}, reference {cat, sat, down}: 2 * 2 / (2 + 3)
    assert word_overlap("The cat sat", "a cat sat down") == pytest.approx(0.8)
    # 我 爱 北京 against 我 爱 上海: letters 我, 爱 of 4 and 4
    assert word_overlap("我爱北京", "我爱上海") == pytest.approx(0.5)
    assert word_overlap("x", "...") is None
    assert word_overlap("", "x") == 0


@given(TEXT, TEXT)
def test_word_overlap_is_a_share_and_whole_where_texts_are_equal(a, b):
    one, other = word_overlap(a, b), word_overlap(b, a)
    if one is not None and other is not None:
        assert one == other and 0 <= one <= 1
    assert word_overlap(b, b) in (1, None)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("pages 3-5", "5"),  # no minus
        ("x=-5", "-5"),
        ("−5 degrees", "-5"),
        ("#### -$1,200", "-1200"),
        ("1,2,3", "3"),  # a list, not 123
        ("1,234,567 people", "1234567"),
        ("１２，３４５", "12345"),
        (r"so \boxed{42}.", "42"),
        ("2 m²", "2"),
    ],
)
def test_numbers_as_people_write_them(text, number):
    assert final_number(text) == Decimal(number)


def test_equal_numbers_are_equal_however_they_are_written():
    assert same_number("It is 1,000.00", "#### 1000") == 1
    assert same_number("It is 1,000.01", "#### 1000") == 0
