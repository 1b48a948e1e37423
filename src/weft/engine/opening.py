"""What training begins with: its run folder and its data, the same in every process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weft.data.pipeline import Data, build_data
from weft.engine.distributed import Gathering
from weft.engine.resume import check_same, run_to_resume
from weft.engine.run_folder import RunFolder
from weft.experiment import Experiment


def open_run(experiment: Experiment, resume: str | Path | None, *, progress: bool, gathering: Gathering) -> RunFolder:
    """A new run folder, or the one to go on with; the first process chooses, and it alone writes there.

    Args:
        experiment: what is trained.
        resume: as in `train`.
        progress: print what is logged.
        gathering: the processes that train together.
    """

    def choose() -> tuple[Path, list[str]]:
        earlier = run_to_resume(experiment, resume)
        if earlier is None:
            return RunFolder.create(experiment, echo=False).path, []
        return earlier, check_same(RunFolder(earlier), experiment)

    path, lines = gathering.first(choose)
    run = RunFolder(path, echo=progress, writes=gathering.leads)
    for line in lines:
        run.log(line)
    return run


def open_data(experiment: Experiment, run: RunFolder, gathering: Gathering) -> Data:
    """The data: fitted in the first process, and opened in the others with what was found.

    Args:
        experiment: what is trained.
        run: where what was fitted is kept.
        gathering: the processes that train together.
    """
    opened: list[Data] = []

    def fit() -> dict[str, Any]:
        facts = run.read_json("facts.json")
        opened.append(build_data(experiment, facts=facts, shard=gathering.shard))
        run.write_json("facts.json", opened[0].facts)
        return opened[0].facts

    facts = gathering.first(fit)
    return opened[0] if opened else build_data(experiment, facts=facts, shard=gathering.shard)
