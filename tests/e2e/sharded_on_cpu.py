"""Run a training script with FSDP2 or DeepSpeed on CPUs: ``sharded_on_cpu.py SCRIPT ARGUMENTS``.

accelerate turns both on for accelerators only, although their code runs on CPUs too.
"""

import os
import runpy
import sys

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType


def fsdp_on_cpu() -> None:
    """Let accelerate's state be one of FSDP where it would be one of several CPUs."""
    plain = AcceleratorState.__init__

    def made(self, *arguments, fsdp_plugin=None, **options):
        fresh = not AcceleratorState._shared_state
        plain(self, *arguments, fsdp_plugin=fsdp_plugin, **options)
        if fresh and fsdp_plugin is not None:
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    AcceleratorState.__init__ = made


def deepspeed_on_cpu() -> None:
    """Let accelerate's state take the way of accelerators, with gloo and the CPU as the device."""
    os.environ.update(DS_ACCELERATOR="cpu", ACCELERATE_TORCH_DEVICE="cpu")
    del os.environ["ACCELERATE_USE_CPU"]
    plain, whole = PartialState.__init__, AcceleratorState.__init__

    def made(self, cpu=False, **options):
        plain(self, cpu=False, **options)

    def wholly_made(self, mixed_precision=None, cpu=False, *arguments, **options):
        whole(self, mixed_precision, False, *arguments, **options)

    PartialState._prepare_backend = lambda *_, **__: ("gloo", DistributedType.MULTI_GPU)
    PartialState.__init__, AcceleratorState.__init__ = made, wholly_made


if __name__ == "__main__":
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        fsdp_on_cpu()
    else:
        deepspeed_on_cpu()
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
