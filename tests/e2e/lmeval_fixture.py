"""A small dataset of tickets and a random model to measure on it."""

from __future__ import annotations

import random

from sftflow.records import RECORD, content_id, message, write_table
from sftflow.tickets import ticket

ROWS = 24
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def conversation(rng, number):
    """A ticket; some with a system prompt, some as the second question of a conversation."""
    turns = []
    for _ in range(2 if number % 5 == 0 else 1):
        one = ticket(rng)
        turns += [message("user", one.message), message("assistant", one.answer())]
    if number % 4 == 0:
        turns.insert(0, message("system", "Sort the message."))
    record = {"messages": turns, "tools": None}
    return {"id": content_id(record), "source": "s", "file": None, "row": number, **record}


def write_dataset(folder):
    rng = random.Random(5)
    folder.mkdir(parents=True)
    for side in ("train", "validation", "test"):
        rows = [conversation(rng, n) for n in range(ROWS)]
        write_table(folder / f"{side}.parquet", rows, RECORD)
    return [turn["content"] for row in rows for turn in row["messages"]]


def write_model(folder, texts):
    """A random model whose likelihoods differ widely, so that rounding decides nothing."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=special[2], pad_token=special[0]
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=1024,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
