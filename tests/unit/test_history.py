from sftflow.history import evaluations_since_best, history_csv, history_rows

LOG = [
    {"step": 1, "epoch": 0.5, "loss": 3.0, "learning_rate": 0.1, "grad_norm": 1.5,
     "num_input_tokens_seen": 40},
    {"step": 2, "epoch": 1.0, "loss": 2.0, "learning_rate": 0.2, "grad_norm": 1.0,
     "num_input_tokens_seen": 80},
    {"step": 2, "epoch": 1.0, "eval_loss": 2.5, "num_input_tokens_seen": 80},
    {"step": 2, "epoch": 1.0, "train_runtime": 12.3, "train_loss": 2.5},
]  # fmt: skip


def test_one_row_per_step_and_nothing_for_what_was_not_measured():
    assert history_csv(history_rows(LOG)).splitlines() == [
        "step,epoch,loss,learning_rate,grad_norm,eval_loss,tokens",
        "1,0.5,3.0,0.1,1.5,,40",
        "2,1.0,2.0,0.2,1.0,2.5,80",
    ]


def log(*losses):
    entries = []
    for loss in losses:
        entries += [{"loss": 9.0}, {"eval_loss": loss}]
    return entries


def test_evaluations_after_the_lowest_loss_are_counted():
    assert evaluations_since_best([]) == 0
    assert evaluations_since_best(log(3.0)) == 0
    assert evaluations_since_best(log(3.0, 2.0, 2.5, 2.1)) == 2
    assert evaluations_since_best(log(3.0, 2.0, 2.0)) == 1  # as low is not lower
    assert evaluations_since_best(log(3.0, 2.0, 2.5, 1.9)) == 0
