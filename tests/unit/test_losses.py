import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftflow.losses import IGNORED, Scored, batch_scores, batches, scored_tokens, windows


@given(st.integers(0, 60), st.integers(2, 12), st.data())
def test_windows_score_each_token_once_with_enough_before_it(count, length, data):
    stride = data.draw(st.integers(1, length - 1))
    ids = list(range(100, 100 + count))
    found = windows(ids, length, stride)
    scored = [x for w in found for x in w.labels if x != IGNORED]
    assert scored == ids[1:]
    for number, window in enumerate(found):
        assert len(window.input_ids) == len(window.labels) <= length
        first = next(i for i, x in enumerate(window.labels) if x != IGNORED)
        assert first >= (length - stride if number else 1)
        agree = [a == b for a, b in zip(window.input_ids, window.labels, strict=True)]
        assert all(agree[first:])


def test_windows_need_a_stride_below_the_length():
    with pytest.raises(ValueError, match="stride 4"):
        windows([1, 2, 3], 4, 4)


@given(st.lists(st.integers(1, 5000), max_size=30), st.integers(10, 200_000))
def test_batches_hold_every_index_once(lengths, vocab_size):
    found = list(batches(lengths, vocab_size))
    assert sorted(i for batch in found for i in batch) == list(range(len(lengths)))
    for batch in found:
        longest = max(lengths[i] for i in batch)
        assert len(batch) == 1 or len(batch) * longest <= 4096
        assert len(batch) == 1 or len(batch) * longest * vocab_size * 4 <= 2**29


@pytest.fixture(scope="module")
def model():
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
    )
    return Qwen2ForCausalLM(config).eval()


def by_hand(model, sequence):
    """One sequence alone, token by token."""
    import torch

    with torch.inference_mode():
        logits = model(torch.tensor([sequence.input_ids])).logits[0].log_softmax(-1)
    return -sum(
        logits[i - 1, label].item()
        for i, label in enumerate(sequence.labels)
        if i and label != IGNORED
    )


def test_batched_losses_are_those_of_each_row_alone(model):
    rows = [
        Scored([1, 2, 3, 4, 5, 6], [IGNORED, IGNORED, IGNORED, 4, 5, 6]),
        Scored([7, 8, 9], [7, 8, 9]),  # the first can't be scored
        Scored([10, 11, 12, 13], [IGNORED, 11, IGNORED, 13]),
    ]
    assert [scored_tokens(row) for row in rows] == [3, 2, 2]
    expected = [by_hand(model, row) for row in rows]
    scores = batch_scores(model, rows, pad_id=0)
    assert [score.loss for score in scores] == pytest.approx(expected, rel=1e-5)
    assert [len(score.likeliest) for score in scores] == [3, 2, 2]


def test_stretches_add_up_to_the_loss_of_a_row(model, monkeypatch):
    monkeypatch.setattr("sftflow.losses.STRETCH", 4)
    labels = [IGNORED, IGNORED, *range(2, 13), IGNORED, 7]  # 12 scored tokens
    rows = [Scored([1, 2, *range(2, 13), 5, 7], labels), Scored([3, 4], [IGNORED, 4])]
    long, short = batch_scores(model, rows, pad_id=0)
    assert (len(long.stretches), len(short.stretches)) == (3, 1)
    assert sum(long.stretches) == pytest.approx(long.loss)
    first = Scored(rows[0].input_ids[:6], labels[:6])
    assert long.stretches[0] == pytest.approx(batch_scores(model, [first], 0)[0].loss, rel=1e-5)


def test_padding_tokens_do_not_count(model):
    rows = [Scored([1, 2, 3], [IGNORED, 2, 3]), Scored([4] * 20, [IGNORED] + [4] * 19)]
    scores, others = batch_scores(model, rows, 0), batch_scores(model, rows, 49)
    assert [s.loss for s in scores] == pytest.approx([s.loss for s in others], rel=1e-6)
    assert [s.likeliest for s in scores] == [s.likeliest for s in others]


def test_the_likeliest_tokens_are_what_greedy_decoding_says(model):
    """A sequence that greedy decoding made is likeliest throughout; one other token breaks it."""
    import torch

    prompt = [3, 1, 4, 1, 5]
    with torch.inference_mode():
        said = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=8)[0].tolist()
    labels = [IGNORED] * 5 + said[5:]
    other = [*said[:7], (said[7] + 1) % 50, *said[8:]]
    whole, broken = batch_scores(
        model, [Scored(said, labels), Scored(other, [IGNORED] * 5 + other[5:])], 0
    )
    assert whole.likeliest == [True] * 8
    assert broken.likeliest[:3] == [True, True, False]
