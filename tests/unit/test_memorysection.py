from sftflow.memorysection import memory_told

GUESS = {"weights": 2**30, "gradients": 2**20, "optimizer": 2**21, "activations": 2**31}
GUESS |= {"head": 0, "other": 0, "rows": 16, "length": 256, "peak": 3 * 2**30, "least": 1}


def test_peak_and_estimate_stand_beside_each_other():
    memory = {"peak_bytes": 3 * 2**29, "longest_batch": {"rows": 16, "tokens": 2480}}
    assert memory_told({**memory, "estimate": GUESS}) == (
        "1.5 GiB of memory at the peak of the training, with 2,480 tokens in the longest batch; "
        "at most 3.0 GiB estimated for 4,096 tokens (weights 1.0 GiB, gradients 1 MiB, optimizer "
        "2 MiB, activations 2.0 GiB)."
    )


def test_what_is_not_known_is_not_said():
    assert memory_told(None) is None
    assert memory_told({"peak_bytes": None, "longest_batch": None, "estimate": None}) is None
    only = memory_told({"peak_bytes": 2**20, "longest_batch": None, "estimate": None})
    assert only == "1 MiB of memory at the peak of the training."
