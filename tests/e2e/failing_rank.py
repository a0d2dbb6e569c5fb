"""Run train_adapter.py, and let the loss of rank 1 be no number at step 2."""

import os
import runpy
import sys
from pathlib import Path

if os.environ["RANK"] == "1":
    from sftflow.trainer import MaskedTrainer

    plain = MaskedTrainer.compute_loss

    def failing(self, *arguments, **options):
        loss = plain(self, *arguments, **options)
        return loss * float("nan") if self.model.training and self.state.global_step else loss

    MaskedTrainer.compute_loss = failing

sys.argv[0] = str(Path(__file__).parents[2] / "scripts" / "train_adapter.py")
runpy.run_path(sys.argv[0], run_name="__main__")
