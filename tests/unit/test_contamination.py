"""Benchmark questions in rows: what is found, what is not, and in which words."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftflow.contamination import Findings, matches, survey
from sftflow.questionindex import COMMON, Question, QuestionIndex, Windows
from sftflow.records import message
from sftflow.wordplaces import plain_text

LONG = (
    "A plane flies twelve hundred miles in three hours and then turns back because of the weather"
)
SHORT = "How many legs has a garden spider on each side?"  # 10 words
TINY = "What is a quark?"


def row(*texts, number=1):
    roles = ["user", "assistant"]
    said = [message(roles[i % 2], text) for i, text in enumerate(texts)]
    return {"id": str(number), "source": "s", "file": "f", "row": number, "messages": said}


def questions(*texts, own=False, task="t"):
    return [Question("suite", task, i, text, own) for i, text in enumerate(texts)]


def found(index, *rows, coverage=0.0, own_coverage=0.8):
    """Return, for each row, the matches."""
    seen = survey(index, rows)
    out = [
        matches(index, one, seen.rows_with, coverage, own_coverage) if touched else []
        for touched, one in zip(seen.touched, rows, strict=True)
    ]
    looked = [matches(index, one, seen.rows_with, coverage, own_coverage) for one in rows]
    assert out == looked  # the first look misses nothing that the second finds
    return out


def spans(index, *texts, **options):
    return [match.span for match in found(index, row(*texts), **options)[0]]


def test_a_long_question_is_given_away_by_thirteen_words():
    words = LONG.split()  # 17
    index = QuestionIndex(questions(LONG))
    said = f"It is said: {' '.join(words[2:15]).upper()} - so what"
    assert spans(index, said) == [" ".join(words[2:15]).upper()]
    assert spans(index, "Yes.", said) == [" ".join(words[2:15]).upper()]  # the answer counts too
    assert spans(index, " ".join(words[2:14])) == []  # 12 words
    coverage = found(index, row(said))[0][0].coverage
    assert coverage == pytest.approx(13 / 17)
    assert spans(index, said, coverage=0.8) == []


def test_punctuation_case_and_spacing_hide_nothing():
    index = QuestionIndex(questions(LONG))
    assert len(spans(index, LONG.replace(" ", " -\n ").upper())) == 1


def test_a_shorter_question_must_be_there_as_a_whole():
    index = QuestionIndex(questions(SHORT))
    assert spans(index, f"Dear all, {SHORT.lower()} Thanks") == [SHORT.lower()[:-1]]
    assert spans(index, SHORT.replace("spider", "beetle")) == []
    assert spans(index, "How many legs has a garden spider on") == []


def test_a_few_words_are_a_question_only_as_a_sentence():
    index = QuestionIndex(questions(TINY))
    assert spans(index, TINY) == ["What is a quark"]
    assert spans(index, "Please answer: what is a quark") == ["what is a quark"]
    assert spans(index, "I know what is a quark bowl") == []


def test_two_words_are_not_looked_for():
    index = QuestionIndex(questions("Why not?"))
    assert spans(index, "Why not?") == []
    assert Findings(index).counts()["questions_unchecked"] == 1


def test_the_words_that_a_task_puts_around_its_questions_are_none_of_them():
    asked = [f"Question: {text}\nAnswer:" for text in (SHORT, TINY, LONG)]
    index = QuestionIndex(questions(*asked))
    assert spans(index, SHORT) == [SHORT[:-1]]
    assert spans(index, TINY) == [TINY[:-1]]
    assert spans(index, "Question: and then the Answer: yes") == []


def test_the_instruction_of_a_task_is_no_question():
    told = "Read the following text with care and then choose the one right answer out of four. "
    asked = [f"{told}Number {i} times {i + 3} is what" for i in range(40)]
    index = QuestionIndex(questions(*asked))
    assert spans(index, told + "Who was Kant") == []
    assert len(spans(index, "Number 7 times 10 is what")) == 1


def test_a_question_is_found_without_its_choices():
    asked = f"{SHORT}\nA. one and a half\nB. two or three of them\nC. four\nD. none at all"
    assert spans(QuestionIndex(questions(asked)), SHORT) == [SHORT[:-1]]


def test_a_figure_of_speech_in_many_rows_is_no_question_but_the_whole_is():
    index = QuestionIndex(questions(LONG))
    part = " ".join(LONG.split()[:13])
    few = [row(f"{part} {i}", number=i) for i in range(COMMON)]
    many = [row(f"{part} {i}", number=i) for i in range(COMMON + 1)]
    assert all(found(index, *few))
    assert not any(found(index, *many))
    assert all(found(index, *(row(LONG, number=i) for i in range(COMMON + 1))))


def test_rows_of_the_own_test_split_count_as_near_copies_only():
    index = QuestionIndex(questions(LONG, own=True))
    words = LONG.split()
    assert spans(index, " ".join(words[:13])) == []  # 13 of 17 words
    assert len(spans(index, " ".join(words[:14]))) == 1  # 14 of 17 = 0.82


def test_chinese_questions_are_found_by_characters():
    asked = "小明有十二个苹果，他给了小红三个，又从树上摘了五个，请问他现在一共有多少个苹果？"
    index = QuestionIndex(questions(asked))
    assert spans(index, f"题目：{asked}谢谢") == [plain_text(asked[:-1])]
    assert spans(index, "小红有七个梨，她给了小明三个，请问她现在还有多少个梨？") == []
    assert len(spans(index, asked[:26])) == 1  # 24 characters and two commas: 20 are 13 words
    assert spans(index, asked[:15]) == []
    short = QuestionIndex(questions("今天的天气怎么样？"))  # 8 characters
    assert spans(short, "请翻译：今天的天气怎么样？") == ["今天的天气怎么样"]
    assert spans(short, "我不知道今天的天气怎么样所以没有出门") == []


def test_counts_by_task_and_the_nearest_question():
    index = QuestionIndex([*questions(LONG, SHORT, task="a"), *questions(SHORT, "no", task="b")])
    rows = [row(f"{SHORT} And: {LONG}", number=1), row("nothing of it", number=2)]
    findings, told = Findings(index), []
    for one, hits in zip(rows, found(index, *rows), strict=True):
        findings.rows += 1
        told += findings.add(one, hits)
    counts = findings.counts()
    assert (counts["rows"], counts["rows_with_overlap"], counts["questions_found"]) == (2, 1, 3)
    assert counts["tasks"]["suite/a"] == {
        "questions": 2,
        "unchecked": 0,
        "found": 2,
        "rows": 1,
        "own_test_rows": False,
    }
    assert counts["tasks"]["suite/b"]["unchecked"] == 1
    assert [(m["task"], m["doc"], m["questions"]) for m in told] == [("a", 0, 2), ("b", 0, 1)]
    assert told[0]["question"] == LONG


@given(st.lists(st.integers(0, 5), max_size=60), st.integers(1, 8))
def test_equal_phrases_and_only_these_have_equal_hashes(ids, length):
    hashes = Windows(np.array(ids, dtype=np.int64)).of(length).tolist()
    texts = [tuple(ids[i : i + length]) for i in range(len(ids) - length + 1)]
    assert len(hashes) == len(texts)
    assert len(set(zip(hashes, texts, strict=True))) == len(set(hashes)) == len(set(texts))


KNOWN = ["red", "blue", "green", "one", "two", "three", "四", "五", "on", "at", "of"]
WORDS = st.lists(st.sampled_from(KNOWN), max_size=30)


@given(WORDS, WORDS, WORDS)
@settings(max_examples=150, deadline=None)
def test_a_question_within_a_row_is_always_found(before, asked, after):
    text = " ".join(asked)
    index = QuestionIndex(questions(text))
    said = f"{' '.join(before)}. {text}. {' '.join(after)}"
    hits = found(index, row(said))[0]
    assert bool(hits) == bool(index.known_words[0])
    assert all(match.coverage == 1 for match in hits)
