import numpy as np
import pytest

from sftflow.fitting import fits, lack_of_fit, line, plane


def test_a_line_through_points_on_a_line():
    found = line([1, 2, 3, 4], [7, 9, 11, 13], ("b", "k"))  # 5 + 2 x
    assert found["b"]["value"] == pytest.approx(5) and found["k"]["value"] == pytest.approx(2)
    assert found["r_squared"] == pytest.approx(1) and found["n"] == 4


def test_the_interval_of_a_slope_is_students():
    # y = x + (+1, -1, -1, +1): slope 1, residual variance 4 / 2, Sxx = 5, t(0.975, 2) = 4.30265
    found = line([0, 1, 2, 3], [1, 0, 1, 4], ("b", "k"))
    half = 4.30265 * np.sqrt(2 / 5)
    assert found["k"]["value"] == pytest.approx(1)
    assert found["k"]["high"] - found["k"]["low"] == pytest.approx(2 * half, rel=1e-4)
    assert found["covariance"] == pytest.approx(-1.5 * 2 / 5)  # -mean(x) * variance of the slope


@pytest.mark.parametrize("x", [[1, 2], [3, 3, 3]])
def test_no_line_is_null(x):
    found = line(x, [1.0] * len(x), ("b", "k"))
    assert found["b"]["value"] is None and found["covariance"] is None
    assert found["r_squared"] is None and found["n"] == len(x)


def row(p, x, c, ttft, e2e):
    return {
        "prompt_tokens": p,
        "output_tokens": x,
        "concurrency": c,
        "ttft_ms": ttft,
        "e2e_ms": e2e,
    }


def test_fits_are_made_for_each_concurrency():
    # e2e = 10 c + p / 8 + 3 x, ttft = 2 c + p / 4
    rows = [
        row(p, x, c, 2 * c + p / 4, 10 * c + p / 8 + 3 * x)
        for c in (1, 4)
        for p in (8, 16, 32)
        for x in (4, 16)
        for _ in range(2)
    ]
    one, four = fits(rows)
    assert (one["concurrency"], four["concurrency"]) == (1, 4)
    # over all prompts b is that of the mean one: 10 + (8 + 16 + 32) / 3 / 8
    assert one["answer"]["b_ms"]["value"] == pytest.approx(10 + 56 / 24)
    assert four["answer"]["k_ms_per_token"]["value"] == pytest.approx(3)
    assert four["first_token"]["c_ms_per_token"]["value"] == pytest.approx(0.25)
    assert [(f["prompt_tokens"], round(f["b_ms"]["value"], 6)) for f in four["by_prompt"]] == [
        (8, 41),
        (16, 42),
        (32, 44),
    ]
    assert four["plane"]["a_ms"]["value"] == pytest.approx(40)
    assert four["plane"]["c_ms_per_prompt_token"]["value"] == pytest.approx(1 / 8)
    assert four["plane"]["worst_share"] == pytest.approx(0, abs=1e-9)


def noisy(e2e, seed=0):
    rng = np.random.default_rng(seed)
    return [
        row(p, x, 1, 0.0, e2e(p, x) + rng.normal(0, 1))
        for p in (32, 128, 512)
        for x in (16, 64, 128)
        for _ in range(8)
    ]


def test_a_plane_that_holds_is_not_doubted():
    found = plane(noisy(lambda p, x: 20 + p / 16 + 4 * x))
    assert found["holds"] is True
    assert found["lack_of_fit"]["df"] == [6, 63]  # 9 cells - 3 coefficients, 72 requests - 9 cells
    assert all(abs(r["residual_ms"]) < 4 * r["stderr_ms"] for r in found["residuals"])


def test_attention_that_grows_with_the_prompt_bends_the_plane():
    found = plane(noisy(lambda p, x: 20 + 4 * x + p * x / 64))
    assert found["holds"] is False
    assert found["lack_of_fit"]["p_value"] < 1e-6 and found["worst_share"] > 0.1
    worst = max(found["residuals"], key=lambda r: abs(r["residual_ms"] / r["fitted_ms"]))
    assert abs(worst["residual_ms"]) > 10 * worst["stderr_ms"]


def test_a_grid_with_one_prompt_length_has_no_plane():
    found = plane([r for r in noisy(lambda p, x: p + 4 * x) if r["prompt_tokens"] == 32])
    assert found["holds"] is None and found["a_ms"]["value"] is None


def test_the_lack_of_fit_is_that_of_the_textbook():
    # y over x = 1, 1, 2, 2, 3, 3 is 1, 2, 4, 5, 4, 5: the line is 0.5 + 1.5 x, SSR 4.5, pure error
    # 3 * 0.5; F = (4.5 - 1.5) / (3 - 2) / (1.5 / (6 - 3)) = 6
    y = np.array([1.0, 2, 4, 5, 4, 5])
    cells = [np.array([i // 2 == cell for i in range(6)]) for cell in range(3)]
    found = lack_of_fit(y, cells, 4.5, 2)
    assert found["f"] == pytest.approx(6) and found["df"] == [1, 3]
    assert found["p_value"] == pytest.approx(0.0917, abs=1e-4)
    assert lack_of_fit(y, cells, 4.5, 3) is None  # a coefficient for each point
