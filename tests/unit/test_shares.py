import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sftflow.roworder import Shuffled
from sftflow.shares import FilledRows, Share, tokens_with_loss_rows, without_loss
from sftflow.tokenweights import COLUMN

SIZES = {
    "count": st.integers(1, 40),
    "batch": st.integers(1, 5),
    "processes": st.integers(1, 5),
}


def batches(share):
    return list(torch.utils.data.BatchSampler(share, share.batch, drop_last=False))


def shares(order, count, batch, processes, fill):
    return [Share(order, count, batch, processes, rank, fill) for rank in range(processes)]


@given(**SIZES)
def test_a_step_has_the_rows_that_it_has_in_one_process(count, batch, processes):
    order = list(range(count))[::-1]
    dealt = [batches(share) for share in shares(order, count, batch, processes, True)]
    assert len({len(each) for each in dealt}) == 1  # none waits for another forever
    assert all(len(one) == batch for each in dealt for one in each)
    steps = [[row for one in step for row in one] for step in zip(*dealt, strict=True)]
    rows = [[row for row in step if row < count] for step in steps]
    alone = [order[at : at + batch * processes] for at in range(0, count, batch * processes)]
    assert rows == alone
    assert len([row for step in steps for row in step if row >= count]) < batch * processes


@given(**SIZES)
def test_without_fillers_each_row_is_there_once(count, batch, processes):
    dealt = [list(s) for s in shares(range(count), count, batch, processes, False)]
    assert sorted(row for rows in dealt for row in rows) == list(range(count))


@given(**SIZES, fill=st.booleans())
def test_the_length_is_that_of_what_is_dealt(count, batch, processes, fill):
    for share in shares(range(count), count, batch, processes, fill):
        assert len(share) == len(list(share))


def test_each_epoch_has_its_order():
    share = Share(Shuffled([3] * 8, 4, seed=0), 8, 2, 2, 1, True)
    first = list(share)
    share.set_epoch(1)
    assert list(share) != first
    share.set_epoch(0)
    assert list(share) == first


def test_a_filler_is_short_and_carries_no_loss():
    row = {"input_ids": [5, 6, 7], "labels": [-100, 6, 7], COLUMN: [0.0, 0.5, 0.5], "id": "a"}
    rows = FilledRows([row], 2, without_loss)
    assert len(rows) == 3 and rows[0] is row
    assert rows[2] == {"input_ids": [5, 6], "labels": [-100, -100], COLUMN: [0.0, 0.0], "id": "a"}


@pytest.mark.parametrize("packed", [False, True])
def test_fillers_are_no_tokens_that_were_seen(packed):
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
    labels = torch.tensor([[-100, 4, 5, -100], [-100, -100, -100, -100]])
    batch = {"labels": labels, "attention_mask": mask}
    if packed:
        batch = {"labels": labels[mask == 1][None], "row_lengths": [3, 2]}
    assert int(tokens_with_loss_rows(batch)) == 3  # those of the first row
