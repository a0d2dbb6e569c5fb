import string
from fractions import Fraction

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
        ("\ufeffyes\u200b\x00", "yes"),  # what nobody sees
        (
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        ),  # a joiner is spelling
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
        ("3/4 of it", "3/4"),  # not 4
        ("add 1 1/2 cups", "3/2"),
        ("-1/2", "-1/2"),
        (r"\boxed{\frac{3}{4}}", "3/4"),
        ("due 5/1/2024", "2024"),  # a date
        ("24/0", "0"),
        (".5", "1/2"),
        ("v2.5", "5/2"),
        ("1.5e3", "1500"),
        ("6.02E-3", "0.00602"),
        ("1\u202f234\u202f567,5", "5"),  # a comma of decimals is not known from one of lists
        ("1\u00a0234", "1234"),
        ("5\u00a0of 1/4", "1/4"),
        ("-0", "0"),
    ],
)
def test_numbers_as_people_write_them(text, number):
    assert final_number(text) == Fraction(number)


def test_equal_numbers_are_equal_however_they_are_written():
    assert same_number("It is 1,000.00", "#### 1000") == 1
    assert same_number("It is 1,000.01", "#### 1000") == 0
    assert same_number("0.75", r"\frac{3}{4}") == 1
    assert same_number("1/4", "3/4") == 0 and same_number(".5", "5") == 0
    assert same_number("1e3", "3") == 0


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9))
def test_a_number_is_read_as_python_writes_it(number):
    assert final_number(f"It is {number}.") == Fraction(number)
    assert final_number(f"#### {number}") == Fraction(number)
