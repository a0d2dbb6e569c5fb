import pytest

from sftflow.nonfinite import row_names, token_rows

torch = pytest.importorskip("torch")


def test_rows_are_found_without_their_padding():
    padded = {
        "input_ids": torch.tensor([[1, 2, 0], [3, 4, 5]]),
        "attention_mask": torch.tensor([[1, 1, 0], [1, 1, 1]]),
    }
    flat = {
        "input_ids": torch.tensor([[1, 2, 3, 4, 5]]),
        "position_ids": torch.tensor([[0, 1, 0, 1, 2]]),
    }
    plain = {"input_ids": torch.tensor([[3, 4, 5]])}
    assert token_rows(padded) == token_rows(flat) == [[1, 2], [3, 4, 5]]
    assert token_rows(plain) == [[3, 4, 5]]


def test_rows_are_named_by_their_tokens_once():
    known = [[1, 2], [3, 4, 5], [1, 2], [9, 9]]  # the third repeats the first

    class Rows:
        def __getitem__(self, key):
            if key == "length":
                return [len(row) for row in known]
            return {"input_ids": known[key], "id": f"id-{key}"}

    def named(*rows):
        return row_names([{"input_ids": torch.tensor([row])} for row in rows], Rows())

    assert named([1, 2], [3, 4, 5]) == ["id-0", "id-1"]
    assert named([7, 7]) == []
