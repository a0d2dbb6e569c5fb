"""A small tokenizer and chat templates of the kinds that real models bring along."""

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


@cache
def _bpe():
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    cut = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(cut), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<|pad|>", "<|bos|>", "<|im_start|>", "<|im_end|>", "</s>", "<|eot_id|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(["a question of the user\n\n", "the answer to it\n\n\n"] * 20, trainer)
    return bpe.to_str()


def chat_tokenizer(template, eos="<|im_end|>"):
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_bpe()),
        bos_token="<|bos|>",
        eos_token=eos,
        pad_token="<|pad|>",
    )
    tokenizer.add_tokens(["<think>", "</think>"])  # added, but not special
    tokenizer.chat_template = template
    return tokenizer


def shipped(name):
    template = (SHIPPED / f"{name}.jinja").read_text(encoding="utf-8")
    ends = {"chatml": "<|im_end|>", "llama3": "<|eot_id|>"}
    return chat_tokenizer(template, eos=ends.get(name, "</s>"))


def turn(role, content, **more):
    from sftflow.records import message

    return message(role, content, **more)


def record(*messages, tools=None, row=1):
    return {"id": f"id{row}", "source": "s", "row": row, "messages": list(messages), "tools": tools}


def trained_texts(tokenizer, sample):
    """Return the decoded stretches of trained tokens: what a person would check by eye."""
    from sftflow.masks import decoded, trained_runs

    return [decoded(tokenizer, run) for run in trained_runs(sample["labels"])]
