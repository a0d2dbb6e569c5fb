import pytest

from sftflow.writing import UNSURE, language, main_script


@pytest.mark.parametrize(
    ("text", "script"),
    [("Hello 你", "Latin"), ("你好 a", "Han"), ("Привет", "Cyrillic"), ("123 !", "no letters")],
)
def test_main_script(text, script):
    assert main_script(text) == script


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Write a short story about a dragon and a knight.", "en"),
        ("Bonjour tout le monde, comment allez-vous aujourd'hui ?", "fr"),
        ("请解释一下量子力学的基本概念", "zh"),
        ("日本の首都はどこですか。", "ja"),
        ("Расскажи мне что-нибудь о кошках", "ru"),
        ("hello", UNSURE),
        ("42 + 1 = ?", UNSURE),
        ("", UNSURE),
    ],
)
def test_language(text, code):
    assert language(text) == code
