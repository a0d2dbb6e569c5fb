"""Personal data and secrets: what is found, what is not, and how it is masked."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from steps_fixture import answers, record, run_step, talk

from sftflow import personaldata
from sftflow.credentials import Finder
from sftflow.masking import Span, apart, masked_record
from sftflow.records import message
from sftflow.stage import StageError

# Made up, in the form that the vendor documents.
KEYS = {
    "api_key": [
        "AKIA" + "Q3EGRTVWXYZ2ABCD",
        "ghp_" + "a1B2" * 9,
        "sk-proj-" + "abcDEF123_" * 5,
        "hf_" + "AbCdEfGhIj" * 3 + "KlMn",
        "xoxb-" + "123456789012-123456789012-" + "abcdefABCDEF012345678901",
        "SG." + "a" * 22 + "." + "b" * 43,
        "sk_live_" + "a1b2c3d4" * 3,
        "glpat-" + "abcdefghij0123456789",
    ],
    "token": [
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0."
        "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
    ],
    "private_key": [
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEow"
        + "IBAAKCAQEA\n" * 3
        + "-----END RSA PRIVATE KEY-----"
    ],
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_secret_goes_as_a_whole(kind, tmp_path):
    for secret in KEYS[kind]:
        pair = talk(f"my key is {secret} thanks", f"Use {secret}.")
        (kept,), _, books = run_step(tmp_path, {"step": "secrets"}, [pair])
        mask = f"<{kind.upper()}_1>"
        assert [m["content"] for m in kept["messages"]] == [
            f"my key is {mask} thanks",
            f"Use {mask}.",
        ]
        assert books.found[kind]["times"] == 2
        assert books.packages == {"detect-secrets"}


def test_the_password_of_an_address_goes_and_a_placeholder_stays(tmp_path):
    pairs = [
        talk("q", "psql postgres://bob:h4rdToGuess@db.example.org/x"),
        talk("q", "https://user:<password>@host and https://USER:${PASS}@host"),
    ]
    kept, _, _ = run_step(tmp_path, {"step": "secrets"}, pairs)
    assert answers(kept) == [
        "psql postgres://bob:<PASSWORD_1>@db.example.org/x",
        pairs[1]["messages"][1]["content"],
    ]


@pytest.mark.parametrize(
    "text",
    [
        "sk-learn",
        "ghp_short",
        "password = hunter2",
        "eyJ.a.b",
        "-----BEGIN PUBLIC KEY-----",
        "a" * 64,
    ],
)
def test_no_secret(text):
    assert list(Finder(("private_key", "token", "api_key", "password"))(text)) == []


FOUND = [
    ("email", "write to Jo.Doe+x@mail.example.co.uk.", "Jo.Doe+x@mail.example.co.uk"),
    ("email", "邮箱：zhang@example.cn，谢谢", "zhang@example.cn"),
    ("card", "card 4111 1111 1111 1111 exp", "4111 1111 1111 1111"),
    ("card", "378282246310005", "378282246310005"),
    ("iban", "to DE89 3704 0044 0532 0130 00 BIC COBADEFF", "DE89 3704 0044 0532 0130 00"),
    ("iban", "GB82WEST12345698765432.", "GB82WEST12345698765432"),
    ("ip", "from 203.0.113.77, port 80", "203.0.113.77"),
    ("ip", "2001:db8::ff00:42:8329", "2001:db8::ff00:42:8329"),
    ("phone", "ring +49 30 901820 now", "+49 30 901820"),
]


@pytest.mark.parametrize(("kind", "text", "value"), FOUND)
def test_personal_data(tmp_path, kind, text, value):
    (kept,), _, books = run_step(tmp_path, {"step": "personal_data"}, [talk(text, "ok")])
    assert kept["messages"][0]["content"] == text.replace(value, f"<{kind.upper()}_1>")
    assert list(books.found) == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",  # the check digit is wrong
        "calculate 355909190063-746",  # Luhn by chance, but no card is written so
        "DE89 3704 0044 0532 0130 01",
        "version 1.2.3.4, v10.0.0.1, 1.2.3, 127.0.0.1, 255.255.255.0, 300.1.1.1, 1.2.3.4.5",
        "std::vector, a::bad::c, 12:30:45, 10:20:30:40",
        "3600000000000 + 62426244000 + 198472480000 + 35 = x",
        "28980 - 18480 = 10500, +1 and +12",
        "@home user@host a@b @decorator.name",
        "3.14159265358979323846",
    ],
)
def test_no_personal_data(tmp_path, text):
    step = {"step": "personal_data", "countries": ["US"]}
    (kept,), _, books = run_step(tmp_path, step, [talk(text, "ok")])
    assert kept["messages"][0]["content"] == text
    assert books.changed == 0
    assert books.found == {}


def test_phones_as_a_country_writes_them(tmp_path):
    pair = talk("call (650) 253-0000 or 13812345678", "ok")
    step = {"step": "personal_data", "kinds": ["phone"]}
    assert run_step(tmp_path, step, [pair])[2].found == {}
    (kept,), _, _ = run_step(tmp_path, {**step, "countries": ["US", "CN"]}, [pair])
    assert kept["messages"][0]["content"] == "call <PHONE_1> or <PHONE_2>"
    with pytest.raises(StageError, match="'XX' is no country with phone numbers"):
        run_step(tmp_path, {**step, "countries": ["XX"]}, [pair])


def test_equal_values_get_equal_masks_within_a_conversation(tmp_path):
    call = message(
        "assistant", "", tool_calls='[{"arguments":{"n":7,"to":"a@x.org"},"name":"mail"}]'
    )
    first = record(
        ("user", "mail A@X.org and b@x.org"), call, ("tool", "b@x.org"), ("assistant", "a@x.org")
    )
    kept, _, books = run_step(tmp_path, {"step": "personal_data"}, [first, talk("b@x.org", "k", 2)])
    said = [m["content"] for m in kept[0]["messages"]]
    assert said == ["mail <EMAIL_1> and <EMAIL_2>", "", "<EMAIL_2>", "<EMAIL_1>"]
    calls = json.loads(kept[0]["messages"][1]["tool_calls"])
    assert calls == [{"name": "mail", "arguments": {"n": 7, "to": "<EMAIL_1>"}}]
    assert kept[1]["messages"][0]["content"] == "<EMAIL_1>"
    assert books.counts()["found"] == {
        "email": {"rows": 2, "times": 6, "first": ["s f:1", "s f:2"]}
    }


def test_a_later_pass_goes_on_counting(tmp_path):
    (kept,), _, _ = run_step(tmp_path, {"step": "personal_data"}, [talk("<EMAIL_1>", "c@x.org")])
    assert answers([kept]) == ["<EMAIL_2>"]


@pytest.mark.parametrize(
    ("step", "text"),
    [("secrets", KEYS["api_key"][0]), ("personal_data", "jo@example.org")],
)
def test_what_is_dropped_is_kept_with_masks_and_named_nowhere(tmp_path, step, text):
    kept, gone, books = run_step(tmp_path, {"step": step, "action": "drop"}, [talk(text, "ok")])
    assert kept == []
    assert gone[0][1] == step
    assert text not in json.dumps([gone, books.counts()])
    kept, gone, books = run_step(tmp_path, {"step": step, "action": "report"}, [talk(text, "ok")])
    assert answers(kept) == ["ok"]
    assert kept[0]["messages"][0]["content"] == text
    assert text not in json.dumps(books.counts())
    assert books.changed == 0
    with pytest.raises(StageError, match="action is 'hide'; expected one of mask, drop, report"):
        run_step(tmp_path, {"step": step, "action": "hide"}, [talk(text, "ok")])


def test_overlapping_spans():
    spans = [Span(4, 9, "a", ""), Span(0, 5, "b", ""), Span(9, 12, "c", ""), Span(0, 4, "d", "")]
    assert [span.kind for span in apart(spans)] == ["d", "a", "c"]


PIECES = st.sampled_from([value for *_, value in FOUND] + [k for v in KEYS.values() for k in v])
TEXT = st.lists(st.one_of(PIECES, st.text("ab1+-.@ 数", max_size=6)), max_size=4).map(" ".join)


@given(TEXT, TEXT)
@settings(max_examples=60, deadline=None)
def test_masking_twice_changes_nothing(prompt, answer):
    find_secret = Finder(("private_key", "token", "api_key", "password"))
    phones = personaldata.phone_finder(("US",))

    def find(text):
        yield from find_secret(text)
        for finder in (*personaldata.FINDERS.values(), phones):
            yield from finder(text)

    pair = talk(prompt, answer)
    once, kinds = masked_record(pair, find)
    again, left = masked_record(once, find)
    assert again is once
    assert not left
    assert (once is pair) == (not kinds)


@given(st.integers(10**11, 10**18))
def test_one_of_ten_check_digits_is_right(number):
    assert sum(personaldata.luhn(f"{number}{digit}") for digit in range(10)) == 1
