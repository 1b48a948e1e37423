"""A trained run, ready to use: nothing but its folder is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weft.data.manifest import Manifest
from weft.data.pipeline import Data, build_data
from weft.engine import checkpoint as checkpoints
from weft.engine.build import build_model, size_multiple
from weft.engine.device import choose_device, move_to
from weft.engine.distributed import ALONE, Gathering
from weft.engine.memory import keep_freed_memory
from weft.engine.run_folder import RunFolder
from weft.errors import WeftError
from weft.experiment import Experiment
from weft.model import Model


@dataclass(frozen=True)
class LoadedRun:
    """A run with its network and data.

    Attributes:
        run: its folder.
        experiment: as it was run, with overrides.
        data: its data, with the facts fitted in training.
        model: with the weights of a checkpoint, in evaluation mode.
        multiple: height and width are padded to a multiple of this.
        precision: it was trained with.
    """

    run: RunFolder
    experiment: Experiment
    data: Data
    model: Model
    multiple: int
    precision: str


def load_run(
    run: Path | str,
    *,
    checkpoint: str = "best",
    overrides: Sequence[str] = (),
    manifest: Manifest | None = None,
    device: str | None = None,
    echo: bool = False,
    gathering: Gathering = ALONE,
) -> LoadedRun:
    """Load a run.

    Args:
        run: its folder.
        checkpoint: best, last, or the name of another; best falls to last where no validation part chose one.
        overrides: `key=value` over the run's experiment.
        manifest: other samples than the experiment's own.
        device: where to put the network; by default as in training.
        echo: print what is logged.
        gathering: the processes that use it together.

    Raises:
        WeftError: no such run or checkpoint, or a damaged one.
    """
    keep_freed_memory()
    folder = RunFolder(run, echo=echo, writes=gathering.leads)
    experiment = folder.experiment(overrides)
    facts = folder.read_json("facts.json")
    if facts is None:
        raise WeftError(f"{folder.path} has no facts.json: its training never began", code="no-run")
    place = checkpoints.find(folder.checkpoints / checkpoint)
    if place is None and checkpoint == "best":
        place = checkpoints.find(folder.checkpoints / "last")
    if place is None:
        there = sorted(path.name for path in folder.checkpoints.glob("*")) if folder.checkpoints.is_dir() else []
        raise WeftError(
            f"{folder.path} has no checkpoint {checkpoint!r}; there are {', '.join(there) or 'none'}",
            code="no-checkpoint",
        )
    stored = checkpoints.load(place)
    data = build_data(experiment, facts=facts, manifest=manifest, shard=gathering.shard)
    model = build_model(experiment, data, pretrained=False)
    checkpoints.load_weights(model, stored.weights, source=str(place))
    move_to(model, choose_device(device or experiment.train.device, gathering))
    model.eval()
    return LoadedRun(folder, experiment, data, model, size_multiple(model), str(stored.state["precision"]))
