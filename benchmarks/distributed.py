"""What agreeing costs: a step in two processes on one core, beside DistributedDataParallel and beside nobody to ask.

Both processes share a core, so their work takes as long as that of one process on the whole batch; what is more is the
exchange, which nothing hides: `torchrun --standalone --nproc-per-node 2 benchmarks/distributed.py`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from tempfile import TemporaryDirectory

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from weft import load_experiment
from weft.data.pipeline import build_data
from weft.engine.build import build_model, size_multiple
from weft.engine.distributed import ALONE, Gathering, together
from weft.engine.step import Balance, take_step
from weft.model import Model
from weft.registry import Part
from weft.types import Batch

ENCODER = {"type": "timm", "name": "mobilenetv2_100", "freeze_bn": True}
TURNS = 12


class Objective(nn.Module):
    """The mean losses of a network, added up, as what DDP wraps: one forward, one backward."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> torch.Tensor:
        losses = self.model.losses(self.model(batch), batch)
        return torch.stack([total / count.clamp(min=1) for total, count in losses.values()]).sum()


def milliseconds(step: Callable[[], object], gathering: Gathering) -> float:
    """The median over the turns; all processes begin each one together."""
    times = []
    for _ in range(TURNS):
        gathering.wait()
        start = time.perf_counter()
        step()
        gathering.wait()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[2:])


def main() -> None:
    with together() as gathering, TemporaryDirectory() as output:
        experiment = load_experiment(
            {
                "name": "distributed",
                "data": {"format": "scenes", "resolution": [96, 96], "num_train": 16, "workers": 0},
                "modalities": {"image": {"encoder": ENCODER}, "depth": {"encoder": ENCODER}},
                "fusion": "concat",
                "tasks": {name: {"type": "classification"} for name in ("room", "heating", "parity")},
                "train": {"batch_size": 16, "device": "cpu", "output": output},
            }
        )
        data = build_data(experiment, shard=gathering.shard)
        model = build_model(experiment, data, pretrained=False)
        model.to(memory_format=torch.channels_last)
        gathering.share_weights(model)
        model.train()
        batches = next(data.steps("train", epoch=0, start=0, accumulate=1, multiple=size_multiple(model)))
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)

        def with_rule(rule: str, asked: Gathering, **options: object) -> Callable[[], object]:
            balance = Balance(Part("balancing", rule, options)(), {}, dict.fromkeys(model.tasks, 1.0))

            def step() -> None:
                take_step(model, optimizer, batches, balance=balance, precision="fp32", clip=None, gathering=asked)
                optimizer.zero_grad()

            return step

        wrapped = DistributedDataParallel(Objective(model), find_unused_parameters=True)

        def by_ddp() -> None:
            wrapped(batches[0]).backward()
            optimizer.step()
            optimizer.zero_grad()

        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        gradients = [torch.zeros_like(parameter) for parameter in parameters]
        rows = {
            "nobody to ask, plain sum": with_rule("fixed", ALONE),
            "DistributedDataParallel, plain sum": by_ddp,
            "weft, plain sum": with_rule("fixed", gathering),
            "nobody to ask, pcgrad at the features": with_rule("pcgrad", ALONE),
            "weft, pcgrad at the features": with_rule("pcgrad", gathering),
            "weft, pcgrad at the parameters": with_rule("pcgrad", gathering, at="parameters"),
            "the sum of the gradients alone": lambda: gathering.sum_gradients(gradients, parameters),
            "agreeing on a number": lambda: gathering.largest(1),
        }
        for name, step in rows.items():
            took = milliseconds(step, gathering)
            if gathering.leads:
                print(f"{name:42} {took:8.2f} ms", flush=True)
        if gathering.leads:
            print(f"{sum(parameter.numel() for parameter in parameters):,} parameters; torch {torch.__version__}")


if __name__ == "__main__":
    main()
