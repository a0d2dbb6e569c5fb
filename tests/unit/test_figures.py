import pytest

from sftflow.figures import count, error, figure, percent, plain, signed


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),
        (0, "0.000"),
        (0.965, "0.965"),
        (1.0, "1.000"),
        (0.035, "0.035"),
        (0.0042, "0.0042"),
        (0.00002, "2.00e-05"),
        (2.6412, "2.64"),
        (13.42, "13.4"),
        (-0.0308, "−0.031"),
        (264.3, "264"),
        (402432, "402,432"),
    ],
)
def test_figure(value, expected):
    assert figure(value) == expected


def test_an_error_has_the_decimals_of_its_figure_unless_it_would_vanish():
    assert error(0.0129, 0.965) == "0.013"
    assert error(0.0, 1.0) == "0.000"
    assert error(0.0001, 2.31) == "0.00010"
    assert error(None, 1.0) == "–"


def test_no_data_is_never_zero():
    assert {figure(None), signed(None), count(None), percent(None), plain(None)} == {"–"}


def test_signs():
    assert (signed(0.5), signed(-13.4), signed(0)) == ("+0.500", "−13.4", "±0.000")
    # the losses of two forms with the same weights
    assert (signed(6.22e-10), signed(-3e-7), signed(2e-5)) == ("±0.000", "±0.000", "+2.00e-05")
