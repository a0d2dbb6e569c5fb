import pytest
import torch
from chat_fixture import CHATML, chat_tokenizer, record, turn
from test_trainer import small_trainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from sftflow.records import RECORD, write_table
from sftflow.stage import StageError
from sftflow.tokenweights import WeightedCollator, has_weights, loss_total, weigh
from sftflow.trainrows import check_labels

ROWS = [
    {
        "input_ids": [5, 6, 7, 8],
        "labels": [-100, -100, 7, 8],
        "loss_weights": [0, 0, 0.5, 0.5],
        "length": 4,
    },
    {"input_ids": [9, 10, 11], "labels": [-100, 10, 11], "loss_weights": [0, 2, 2], "length": 3},
]
PLAIN = [{k: v for k, v in row.items() if k != "loss_weights"} for row in ROWS]


def made(folder, rows, **training):
    torch.manual_seed(0)
    trainer = small_trainer(folder, rows, **training)
    trainer.kept_order = "as_is"
    trainer.weigh_tokens()
    return trainer


def batch_of(trainer, rows):
    return trainer.data_collator([dict(row) for row in rows])


def token_losses(model, row):
    """Return -log p of each labelled token of a row, one by one, from plain logits."""
    logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0]
    losses = -torch.log_softmax(logits, dim=-1)
    return {at: losses[at - 1, label] for at, label in enumerate(row["labels"]) if label != -100}


def by_hand(model, rows, weighted=True):
    """Return sum(w * nll) / sum(w)."""
    above = below = 0.0
    for row in rows:
        for at, nll in token_losses(model, row).items():
            weight = row["loss_weights"][at] if weighted else 1.0
            above, below = above + weight * nll, below + weight
    return above / below


def test_the_loss_is_the_weighted_mean_over_all_tokens(tmp_path):
    trainer = made(tmp_path, ROWS)
    model = trainer.model.eval()
    batch = batch_of(trainer, ROWS)
    assert batch["loss_weights"].tolist() == [[0, 0, 0.5, 0.5], [0, 2, 2, 0]]
    loss = trainer.compute_loss(model, batch)
    assert loss.item() == pytest.approx(by_hand(model, ROWS).item(), rel=1e-5)
    assert loss.item() != pytest.approx(by_hand(model, ROWS, False).item(), rel=1e-5)
    assert "loss_weights" in batch  # what else looks at a batch finds it whole
    assert loss_total(batch) == 5.0


def test_weights_far_below_one_are_not_lost(tmp_path):
    """TRL divides by 1 at least; the weights of a whole step may come to less."""
    rows = [{**row, "loss_weights": [w / 100 for w in row["loss_weights"]]} for row in ROWS]
    trainer = made(tmp_path, rows)
    model, batch = trainer.model.eval(), batch_of(trainer, rows)
    total = trainer._get_num_items_in_batch([batch], torch.device("cpu"))
    assert total.item() == pytest.approx(0.05)
    loss = trainer.compute_loss(model, batch, num_items_in_batch=total)
    assert loss.item() == pytest.approx(by_hand(model, rows).item(), rel=1e-5)


def steps(folder, rows, batch, accumulation):
    settings = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
    trainer = made(folder, rows, **settings)
    trainer.train()
    return [p.detach().clone() for p in trainer.model.parameters()]


def test_accumulated_batches_weigh_as_one(tmp_path):
    whole, parts = steps(tmp_path / "a", ROWS, 2, 1), steps(tmp_path / "b", ROWS, 1, 2)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(whole, parts, strict=True))
    plain = steps(tmp_path / "c", PLAIN, 2, 1)
    assert not all(torch.allclose(a, b, atol=1e-5) for a, b in zip(whole, plain, strict=True))


def test_equal_weights_are_no_weights(tmp_path):
    equal = [{**row, "loss_weights": [3.0 * (w > 0) for w in row["loss_weights"]]} for row in ROWS]
    weighted, plain = steps(tmp_path / "a", equal, 2, 1), steps(tmp_path / "b", PLAIN, 2, 1)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(weighted, plain, strict=True))


def test_weights_follow_their_tokens_into_flattened_rows():
    collate = WeightedCollator(DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True))
    batch = collate([dict(row) for row in ROWS])
    assert batch["labels"].tolist() == [[-100, -100, 7, 8, -100, 10, 11]]
    assert batch["loss_weights"].tolist() == [[0, 0, 0.5, 0.5, 0, 2, 2]]


def test_tokens_ahead_of_a_row_weigh_nothing():
    """Prompt tuning puts vectors before a row: log-probabilities of 2 + 3 - 1 places."""
    weights = torch.tensor([[9.0, 1.0, 3.0]])
    assert weigh(torch.ones(1, 4), weights).tolist() == [[0, 0, 1, 3]]


def test_which_splits_have_weights(tmp_path):
    def split(*weights):
        write_table(
            tmp_path / "x.parquet",
            [
                record(turn("user", "a", weight=7.0), turn("assistant", "b", weight=weight))
                for weight in weights
            ],
            RECORD,
        )
        return has_weights(tmp_path / "x.parquet")

    assert not split(None, 0.0, 1.0)
    assert not split()
    assert split(None, 0.25)


def test_the_first_batch_trains_on_what_was_templated(tmp_path):
    trainer = made(tmp_path, PLAIN)
    check_labels(trainer, PLAIN)
    collate = trainer.data_collator

    def pad_is_the_end(rows):
        """As transformers' collator does where pad is eos: no loss on the end of a turn."""
        batch = collate(rows)
        batch["labels"][batch["labels"] == 11] = -100
        return batch

    def padding_has_loss(rows):
        batch = collate(rows)
        batch["labels"][batch["attention_mask"] == 0] = 0
        return batch

    for wrong in (pad_is_the_end, padding_has_loss):
        trainer.data_collator = wrong
        with pytest.raises(StageError, match=r"the first batch trains on [35] tokens, .* on 4"):
            check_labels(trainer, PLAIN)


def test_templated_rows_carry_the_weights_of_their_messages():
    import template_data
    from sftflow.chat_templates import ChatTemplate

    tokenizer = chat_tokenizer(CHATML)
    spec = {"dataset": "d", "base": "b", "max_length": 64, "overlong": "drop", "train_on": "all"}
    work = template_data.Templated(ChatTemplate(tokenizer, "b"), spec, "train", weighted=True)
    row = record(
        turn("user", "q"),
        turn("assistant", "half", weight=0.5),
        turn("user", "q"),
        turn("assistant", "one"),
    )
    (sample,) = work.samples([row], 1)
    weighed = {}
    for token, label, weight in zip(
        sample["input_ids"], sample["labels"], sample["loss_weights"], strict=True
    ):
        assert (label == -100) == (weight == 0)
        weighed.setdefault(weight, []).append(token)
    assert tokenizer.decode(weighed[0.5]) == "half<|im_end|>"
    assert tokenizer.decode(weighed[1.0]) == "one<|im_end|>"
