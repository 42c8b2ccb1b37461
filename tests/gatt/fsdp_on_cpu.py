"""`gatt` under `accelerate launch` with FSDP on CPUs, which accelerate itself leaves to accelerators.

On a machine without an accelerator accelerate reads an FSDP config and then wraps the model in plain DDP, without a
word: its state becomes FSDP from MULTI_GPU and the like, never from MULTI_CPU. torch's `fully_shard` runs over gloo all
the same. Here the state becomes FSDP from MULTI_CPU too; all else is the installed accelerate, TRL and torch.

With GATT_TEST_STOP_AT every process is interrupted behind the checkpoint of that step, once, and begins again.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click
from accelerate.state import AcceleratorState, DistributedType, PartialState
from torch.distributed.fsdp import FSDPModule
from transformers import TrainerCallback

import gatt.train
from gatt.__main__ import main

_begin, _trainer = AcceleratorState.__init__, gatt.train.trainer


def begin(self: AcceleratorState, *args: Any, **rest: Any) -> None:
    """What accelerate does for GPUs."""
    _begin(self, *args, **rest)
    plugin = rest.get("fsdp_plugin")
    if plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
        if self._mixed_precision != "no":
            plugin.set_mixed_precision(self._mixed_precision)
        self.fsdp_plugin = plugin


class Watch(TrainerCallback):
    """Says what is sharded and where training begins; interrupts it once."""

    stop_at = int(os.environ.get("GATT_TEST_STOP_AT", "0"))

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **rest: Any) -> None:
        sharded = sorted({type(part).__name__ for part in model.modules() if isinstance(part, FSDPModule)})
        print(f"begun at step {state.global_step}: {', '.join(sharded)}", file=sys.stderr)

    def on_save(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if state.global_step == Watch.stop_at:
            Watch.stop_at = 0
            raise KeyboardInterrupt


def trainer(*args: Any, **rest: Any) -> Any:
    """The recipe's trainer, watched."""
    made = _trainer(*args, **rest)
    made.add_callback(Watch())
    return made


if __name__ == "__main__":
    AcceleratorState.__init__ = begin  # type: ignore[method-assign]
    gatt.train.trainer = trainer
    if Watch.stop_at:
        try:
            main(sys.argv[1:], standalone_mode=False)
        except click.Abort:
            print("interrupted", file=sys.stderr)
    main(sys.argv[1:])
