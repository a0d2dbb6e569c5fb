from chat_fixture import CHATML, chat_tokenizer

from sftflow.preview import Picked, preview_page, tokens_of


def sample(name, length):
    return {"id": name, "length": length, "input_ids": [3] * length, "labels": [-100] * length}


def test_first_longest_shortest_and_some_others():
    picked = Picked(further=2)
    for row in range(100):
        picked.add(sample(f"r{row}", 5 + (row * 7 + 3) % 20))
    kinds = picked.kinds()
    assert [kind for kind, _ in kinds][:3] == ["First", "Longest", "Shortest"]
    assert len(kinds) == 5
    assert len({s["id"] for _, s in kinds}) == 5
    alone = Picked()
    alone.add(sample("only", 3))
    assert [kind for kind, _ in alone.kinds()] == ["First"]


def test_tokens_are_whole_characters_and_keep_their_mask():
    tokenizer = chat_tokenizer(CHATML)
    ids = tokenizer("é😀\nx", add_special_tokens=False).input_ids
    labels = [-100] * (len(ids) - 1) + ids[-1:]
    tokens = tokens_of(tokenizer, ids, labels)
    assert "".join(token["text"] for token in tokens) == "é😀⏎\nx"
    assert [token["trained"] for token in tokens][-1] is True
    assert not any(token["trained"] for token in tokens[:-1])


def test_text_from_data_is_escaped():
    tokenizer = chat_tokenizer(CHATML)
    planted = "<img src=x onerror=alert(1)></script>{{ 7 * 7 }}{% x %}\u202etxet"
    ids = tokenizer(planted, add_special_tokens=False).input_ids
    picked = Picked()
    picked.add({"id": "<b>", "length": len(ids), "input_ids": ids, "labels": ids})
    page = preview_page("<i>d", "<i>b", tokenizer, picked)
    for tag in ("<img", "<b>", "<i>", "</script>", "49", "\u202e"):
        assert tag not in page
    assert "⟨202E⟩" in page
