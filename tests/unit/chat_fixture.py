"""A small tokenizer and chat templates of the kinds that real models bring along."""

import json
from functools import cache
from pathlib import Path

SHIPPED = Path(__file__).parents[2] / "config" / "templates"

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# BOS first, no white space after the end-of-turn token, roles must alternate, text is trimmed.
GEMMA = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "<|im_start|>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}"
    "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>model\n{% endif %}"
)
# Thinking stands only in the turns after the last question: earlier turns are rewritten.
THINKING = (
    "{% set ns = namespace(last=0) %}"
    "{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}"
    "{% endfor %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.index0 > ns.last %}"
    "<think>\n{{ m.reasoning_content or '' }}\n</think>\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


SPECIAL = ["<|pad|>", "<|bos|>", "<|im_start|>", "<|im_end|>", "</s>", "<|eot_id|>"]
TEXTS = ["a question of the user\n\n", "the answer to it\n\n\n", "你好 世界 answer: 12 34\n"] * 20


@cache
def _bpe(kind):
    """Return a small BPE that cuts as Qwen's does, as GPT-2's, or as a SentencePiece model."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE(byte_fallback=kind == "sentencepiece"))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = list(SPECIAL)
    if kind == "qwen":
        bpe.normalizer = normalizers.NFC()
        cut = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        bpe.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(cut), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        bpe.decoder = decoders.ByteLevel()
    elif kind == "gpt2":
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = decoders.ByteLevel()
    else:
        bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        bpe.decoder = decoders.Sequence(
            [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first"), decoders.Fuse()]
        )
        alphabet = ["▁"]
        special += [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=max(330, len(special) + 60),
        special_tokens=special,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    texts = [text.replace("\n", " ") for text in TEXTS] if kind == "sentencepiece" else TEXTS
    bpe.train_from_iterator(texts, trainer)
    made = json.loads(bpe.to_str())
    made["added_tokens"] = [t for t in made["added_tokens"] if t["content"] in SPECIAL]
    return json.dumps(made)


def chat_tokenizer(template, eos="<|im_end|>", kind="qwen", control=(), **tokens):
    """Return a tokenizer with a template; ``control`` are further special tokens."""
    from tokenizers import AddedToken, Tokenizer
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_bpe(kind)),
        **{"bos_token": "<|bos|>", "eos_token": eos, "pad_token": "<|pad|>", **tokens},
    )
    more = [t if isinstance(t, AddedToken) else AddedToken(t, special=True) for t in control]
    tokenizer.add_tokens(more, special_tokens=True)
    tokenizer.add_tokens(["<think>", "</think>"])  # added, but not special
    tokenizer.chat_template = template
    return tokenizer


# What a template of tests/unit/templates needs of its tokenizer: eos, end of turn, control tokens.
REAL = {
    "qwen25": ("<|im_end|>", "<|im_end|>", ["<tool_call>", "</tool_call>"]),
    "qwen3": ("<|im_end|>", "<|im_end|>", ["<tool_call>", "</tool_call>"]),
    "llama31": ("<|eot_id|>", "<|eot_id|>", ["<|start_header_id|>", "<|end_header_id|>"]),
    "llama2-chat": ("</s>", "</s>", []),
    "mistral-v03": (
        "</s>",
        "</s>",
        [
            f"[{end}{name}]"
            for name in ("INST", "AVAILABLE_TOOLS", "TOOL_RESULTS")
            for end in ("", "/")
        ]
        + ["[TOOL_CALLS]"],
    ),
    "gemma2": ("<eos>", "<end_of_turn>", ["<eos>", "<start_of_turn>", "<end_of_turn>"]),
    "phi3": (
        "<|endoftext|>",
        "<|end|>",
        ["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"],
    ),
    "zephyr": ("</s>", "</s>", []),
    "command-r": (
        "<|END_OF_TURN_TOKEN|>",
        "<|END_OF_TURN_TOKEN|>",
        [
            f"<|{name}_TOKEN|>"
            for name in ("START_OF_TURN", "END_OF_TURN", "USER", "CHATBOT", "SYSTEM")
        ],
    ),
    "command-r7b": (
        "<|END_OF_TURN_TOKEN|>",
        "<|END_OF_TURN_TOKEN|>",
        [
            *(f"<|{name}_TOKEN|>" for name in ("START_OF_TURN", "END_OF_TURN", "USER")),
            *("<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>"),
            *(f"<|{end}_{name}|>" for end in ("START", "END") for name in ("RESPONSE", "THINKING")),
        ],
    ),
    "gpt-oss": (
        "<|return|>",
        "<|return|>",
        ["<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|return|>"],
    ),
    "vicuna": ("</s>", "</s>", []),
    "olmo2": ("</s>", "</s>", []),
    "deepseek-r1": (
        "<｜end▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        ["<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"],
    ),
}


def real(name, kind="qwen", strip_white_space=False):
    """Return a tokenizer with a well-known model's template; Phi-3's tokens take in white space."""
    from tokenizers import AddedToken

    eos, _, control = REAL[name]
    if strip_white_space:
        control = [AddedToken(token, special=True, rstrip=True) for token in control]
    template = (Path(__file__).parent / "templates" / f"{name}.jinja").read_text(encoding="utf-8")
    return chat_tokenizer(template, eos, kind, control)


def end_of_turn(name):
    """Return the end-of-turn token of a shipped style or of a template in ``REAL``."""
    return REAL[name][1] if name in REAL else shipped(name).eos_token


def shipped(name, kind="qwen", markers=True):
    """Return a tokenizer with a shipped style, without its generation markers if asked."""
    template = (SHIPPED / f"{name}.jinja").read_text(encoding="utf-8")
    if not markers:
        for marker in ("{%- generation %}", "{%- endgeneration %}"):
            template = template.replace(marker, "")
    ends = {"chatml": "<|im_end|>", "llama3": "<|eot_id|>"}
    return chat_tokenizer(template, ends.get(name, "</s>"), kind)


def turn(role, content, **more):
    from sftflow.records import message

    return message(role, content, **more)


def record(*messages, tools=None, row=1):
    return {"id": f"id{row}", "source": "s", "row": row, "messages": list(messages), "tools": tools}


def trained_texts(tokenizer, sample):
    """Return the decoded stretches of trained tokens: what a person would check by eye."""
    from sftflow.masks import decoded, trained_runs

    return [decoded(tokenizer, run) for run in trained_runs(sample["labels"])]
