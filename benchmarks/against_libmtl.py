"""A step by PCGrad in weft and in LibMTL, each beside the plain sum: the three tasks of balancing.py, one network.

LibMTL (`pip install LibMTL`: 1.1.5 of 2022 is what the registry has) takes the gradients of PCGrad at the shared
parameters, a pass back through the whole network for every task; it has no PCGrad at the features. Its own loop does
not run on today's Python (`loader.next()`), so its weighting is called here as its loop calls it, and gets what it
assumes: a module of torchvision that is gone, gradients that are zeros, not None, and parameters in torch's plain order
in memory.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from types import ModuleType

import torch
from harness import in_turns, report
from torch import nn

from balancing import begin
from weft.engine.train import Training
from weft.types import Batch

gone = ModuleType("torchvision.models.utils")
gone.load_state_dict_from_url = torch.hub.load_state_dict_from_url  # type: ignore[attr-defined]
sys.modules.setdefault(gone.__name__, gone)

try:
    from LibMTL.weighting.abstract_weighting import AbsWeighting
    from LibMTL.weighting.EW import EW
    from LibMTL.weighting.PCGrad import PCGrad
except ImportError as error:
    raise SystemExit("this benchmark needs LibMTL: pip install LibMTL") from error

TURNS = 15


def with_libmtl(weighting: type[AbsWeighting], training: Training, batch: Batch) -> Callable[[], object]:
    """A step of LibMTL's trainer on weft's network."""
    model, optimizer = training.model, training.optimizer
    model.to(memory_format=torch.contiguous_format)
    heads = {id(p) for task in model.tasks.values() for p in task.parameters()}
    parameters = [p for p in model.parameters() if id(p) not in heads]

    class Method(weighting):  # type: ignore[misc, valid-type]
        """What LibMTL asks of an architecture."""

        task_num, device, rep_grad = len(model.tasks), torch.device("cpu"), False

        def get_share_params(self) -> Iterator[nn.Parameter]:
            return iter(parameters)

        def zero_grad_share_params(self) -> None:
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad.zero_()

    method = Method()

    def step() -> None:
        sums = model.losses(model(batch), batch)
        losses = torch.zeros(len(sums))
        for place, (total, count) in enumerate(sums.values()):
            losses[place] = total / count
        optimizer.zero_grad(set_to_none=False)
        method.backward(losses)
        optimizer.step()

    return step


def main() -> None:
    steps: dict[str, Callable[[], object]] = {}
    with tempfile.TemporaryDirectory() as output:
        for name, rule in (
            ("weft, plain sum", {"type": "fixed"}),
            ("weft, at the features", {"type": "pcgrad"}),
            ("weft, at the parameters", {"type": "pcgrad", "at": "parameters"}),
        ):
            training, batch = begin(rule, output)
            steps[name] = lambda training=training, batch=batch: training._step([batch])
        for name, weighting in (("LibMTL, plain sum", EW), ("LibMTL, PCGrad", PCGrad)):
            steps[name] = with_libmtl(weighting, *begin({"type": "fixed"}, output))
        timed = in_turns(steps, turns=TURNS)
    report("PCGrad, three tasks, ResNet-18, 8 x 128 x 128, fp32", timed, over="weft, plain sum")


if __name__ == "__main__":
    main()
