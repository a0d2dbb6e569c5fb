"""Loss masks computed a second time, by another way than scripts/sftflow does.

Nothing here looks at characters, markers or spans: a turn's prompt and the conversation up to
that turn are tokenised by ``apply_chat_template``, one call each, and compared token by token.
"""

from __future__ import annotations

IGNORED = -100


def ids_of(tokenizer, messages, tools, prompt):
    rendered = tokenizer.apply_chat_template(
        messages, tools=tools, add_generation_prompt=prompt, return_dict=True
    )
    return list(rendered["input_ids"])


def expected(tokenizer, messages, tools, end_of_turn):
    """Return [(ids, labels)] of a conversation: one sample, or one per assistant turn.

    One sample only if each turn's prompt is how the whole begins. The labels of a turn go from
    the end of its prompt to the last ``end_of_turn`` token of the conversation up to it. Where
    tokens of prompt and answer merge, the answer is what its text gives behind a control token.
    """
    end = tokenizer.convert_tokens_to_ids(end_of_turn)
    turns = [k for k, m in enumerate(messages) if m["role"] == "assistant"]
    whole = ids_of(tokenizer, messages, tools, False)
    labels = [IGNORED] * len(whole)
    for k in turns:
        prompt = ids_of(tokenizer, messages[:k], tools, True)
        upto = ids_of(tokenizer, messages[: k + 1], tools, False)
        last = len(upto) - upto[::-1].index(end)
        if whole[: len(prompt)] != prompt or whole[:last] != upto[:last]:
            break
        labels[len(prompt) : last] = whole[len(prompt) : last]
    else:
        return [(whole, labels)]
    return [_alone(tokenizer, messages[: k + 1], tools, end, end_of_turn) for k in turns]


def _alone(tokenizer, messages, tools, end, end_of_turn):
    prompt = ids_of(tokenizer, messages[:-1], tools, True)
    upto = ids_of(tokenizer, messages, tools, False)
    if upto[: len(prompt)] != prompt:  # merged: cut the text where the prompt ends
        start = tokenizer.apply_chat_template(
            messages[:-1], tools=tools, add_generation_prompt=True, tokenize=False
        )
        text = tokenizer.apply_chat_template(messages, tools=tools, tokenize=False)
        assert text.startswith(start)
        behind = end_of_turn + text[len(start) :]
        upto = prompt + tokenizer(behind, add_special_tokens=False).input_ids[1:]
    last = len(upto) - upto[::-1].index(end)
    return upto, [IGNORED] * len(prompt) + upto[len(prompt) : last] + [IGNORED] * (len(upto) - last)
