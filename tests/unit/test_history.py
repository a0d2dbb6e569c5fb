from sftflow.history import history_csv, history_rows

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


def test_scores_of_answers_have_columns_of_their_own():
    log = [*LOG, {"step": 2, "eval_loss": 2.5, "eval_bleu": 31.0, "eval_seconds": 9}]
    more = {name: name for name in ("eval_bleu", "eval_ended")}
    assert history_csv(history_rows(log, more), more).splitlines() == [
        "step,epoch,loss,learning_rate,grad_norm,eval_loss,tokens,eval_bleu,eval_ended",
        "1,0.5,3.0,0.1,1.5,,40,,",
        "2,1.0,2.0,0.2,1.0,2.5,80,31.0,",
    ]
