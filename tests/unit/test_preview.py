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
    assert [kind for kind, _ in kinds][3:] == ["Random"] * 2
    backwards = Picked(further=2)
    for row in reversed(range(100)):
        backwards.add(sample(f"r{row}", 5 + (row * 7 + 3) % 20))
    random = {s["id"] for kind, s in kinds if kind == "Random"}
    assert random <= {s["id"] for _, s in backwards.kinds()}  # whatever the order of the rows
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


def test_weights_are_shades_of_green():
    tokenizer = chat_tokenizer(CHATML)
    ids = tokenizer("abc", add_special_tokens=False).input_ids
    picked = Picked()
    weights = [0.0, 0.5, 2.0]
    labels = [-100, *ids[1:]]
    more = {"labels": labels, "loss_weights": weights, "input_ids": ids}
    picked.add({"id": "a", "length": len(ids), **more})
    page = preview_page("d", "b", tokenizer, picked)
    assert page.count("--weight:25") == page.count("--weight:100") == 1
    assert f'title="{ids[1]}, weight 0.5"' in page
    assert "The paler the green" in page


def test_of_a_very_long_sample_both_ends_are_shown():
    tokenizer = chat_tokenizer(CHATML)
    ids = tokenizer("begin" + " x" * 3000 + " end", add_special_tokens=False).input_ids
    picked = Picked()
    picked.add({"id": "a", "length": len(ids), "input_ids": ids, "labels": [-100] * len(ids)})
    page = preview_page("d", "b", tokenizer, picked)
    assert f"… {len(ids) - 3000} tokens more …" in page
    assert page.count("<span title") == 3000
    assert page.rindex(">n</span>") > page.index("tokens more")
