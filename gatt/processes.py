"""Several processes on one job, as `accelerate launch` and `torchrun` start them."""

from __future__ import annotations

import os


def count() -> int:
    """How many processes work on this; 1 outside a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this one writes files and speaks."""
    return int(os.environ.get("RANK", "0")) == 0


def wait() -> None:
    """Returns when all processes have come here."""
    if count() > 1:
        from accelerate import PartialState

        PartialState(cpu=_no_accelerator()).wait_for_everyone()


def _no_accelerator() -> bool:
    import torch

    return not torch.cuda.is_available()
