import math
import random

import pytest

from sftflow.course import Point, noise, parts, read_course
from sftflow.stage import StageError


def points(values):
    return [Point(step, value) for step, value in enumerate(values, start=1)]


def test_a_curve_is_cut_into_tenths_of_like_size():
    assert parts(points(range(20))) == [0.5 + 2 * n for n in range(10)]
    assert parts(points([3, 1, 2])) == [3, 1, 2]
    assert len(parts(points(range(11)))) == 10
    assert parts([]) == []


def test_noise_is_that_of_the_steps_and_not_of_the_trend():
    draw = random.Random(0)
    wobble = [draw.gauss(0, 1) for _ in range(5000)]
    # two means of 500 values each: sqrt(1 / 500 + 1 / 500)
    assert noise(points(wobble)) == pytest.approx(math.sqrt(2 / 500), rel=0.03)
    assert noise(points([3 - 0.01 * n for n in range(100)])) == pytest.approx(0, abs=1e-9)
    assert noise(points([5, 6])) == 0


HEAD = "step,epoch,loss,learning_rate,grad_norm,eval_loss,tokens\n"


def test_a_history_is_read_back(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text(HEAD + "1,0.5,3.0,0.1,inf,,40\n2,1.0,2.0,0.2,1.5,2.5,80\n3,1.5,2.4,,,2.6,\n")
    course = read_course(path)
    assert course.loss == [Point(1, 3.0), Point(2, 2.0), Point(3, 2.4)]
    assert course.grad_norm == [Point(2, 1.5)]  # float16 scales some away
    assert course.best == Point(2, 2.5)
    assert course.after_best == [Point(3, 2.6)]


@pytest.mark.parametrize("cell", ["nan", "much"])
def test_a_loss_that_is_no_number_is_named_with_its_line(tmp_path, cell):
    path = tmp_path / "history.csv"
    path.write_text(HEAD + f"1,0.5,3.0,0.1,1,,40\n2,0.6,{cell},0.1,1,,80\n")
    with pytest.raises(StageError, match="line 3"):
        read_course(path)
