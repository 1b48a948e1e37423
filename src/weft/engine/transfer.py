"""Start from the weights of an earlier run with other tasks or modalities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from weft.engine import checkpoint as checkpoints
from weft.errors import WeftError
from weft.model import Model


@dataclass(frozen=True)
class TakenOver:
    """What came from an earlier run, tensors counted by part.

    Attributes:
        source: the checkpoint.
        taken: {part: tensors taken over}.
        new: {part: tensors that keep their own start}.
        unused: {part: tensors of the earlier run that fit nowhere}.
    """

    source: str
    taken: dict[str, int]
    new: dict[str, int]
    unused: dict[str, int]

    def lines(self) -> list[str]:
        """The same in words."""
        lines = [f"starting from {self.source}"]
        for what, parts in (("taken over", self.taken), ("new here", self.new), ("not used", self.unused)):
            listed = ", ".join(f"{part} ({count})" for part, count in parts.items()) or "nothing"
            lines.append(f"  {what}: {listed}")
        return lines


def take_over(model: Model, run: Path) -> TakenOver:
    """Load every tensor whose name and shape fit.

    Raises:
        WeftError: the run has no checkpoint, or nothing of it fits.
    """
    source = checkpoints.find(run / "checkpoints" / "best") or checkpoints.find(run / "checkpoints" / "last")
    if source is None:
        raise WeftError(f"train.start_from: {run} has no checkpoint; give a run folder", code="no-checkpoint")
    weights = checkpoints.load(source).weights
    own = model.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    if not fitting:
        raise WeftError(f"train.start_from: nothing in {source} fits this network", code="checkpoint-mismatch")
    model.load_state_dict(fitting, strict=False)
    return TakenOver(
        source=str(source),
        taken=_by_part(list(fitting)),
        new=_by_part([name for name in own if name not in fitting]),
        unused=_by_part([name for name in weights if name not in fitting]),
    )


def _by_part(names: list[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        part = ".".join(name.split(".")[:2])
        counts[part] = counts.get(part, 0) + 1
    return counts
