"""The depth encoder on a batch half of whose rows lack depth, beside a full one."""

from __future__ import annotations

import torch
from harness import in_turns, report

from weft.encoders.timm import TimmEncoder
from weft.fusion.none import NoFusion
from weft.model import Model
from weft.types import Batch


def main() -> None:
    encoder = TimmEncoder(1, name="resnet18")
    model = Model(
        {"depth": torch.nn.Identity()},
        {"depth": encoder},
        NoFusion({"depth": encoder.spec}),
        {},
        decisions={},
    )

    def batch(num_present: int) -> Batch:
        present = torch.arange(8) < num_present
        ids = tuple(map(str, range(8)))
        return Batch({"depth": torch.rand(num_present, 1, 256, 256)}, {}, {"depth": present}, {}, ids, (256, 256))

    full, half = batch(8), batch(4)

    def step(which: Batch) -> None:
        model.encode(which)["depth"].tokens.sum().backward()

    times = in_turns({"half of the rows": lambda: step(half), "all rows": lambda: step(full)}, turns=15)
    report("depth encoder, ResNet-18, 8 x 256 x 256, forwards and backwards", times, over="all rows")


if __name__ == "__main__":
    main()
