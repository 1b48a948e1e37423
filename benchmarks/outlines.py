"""How sharp the masks of segmentation runs are: F of the outlines of their answers, matched as edges are.

    python benchmarks/outlines.py RUN [RUN ...] [--split val] [--tolerance 0.0075]

An outline is where two neighbouring pixels are of different classes, whichever they are. Each sample counts its pixels;
F is over all of them. Beside it, mIoU of the same answers. Differences to the first run have 95 % intervals, bootstrap
over samples.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from weft.engine.loading import LoadedRun, load_run
from weft.metrics.bootstrap import draws
from weft.metrics.edges import EdgeCounts, count_edges, reach_of, thinned
from weft.tasks.edge_map import EDGE, UNKNOWN, EdgeMap
from weft.tasks.segmentation import Segmentation
from weft.types import Records

#: An outline has no probability: it is one at every threshold.
SURE = 0


def outlines(loaded: LoadedRun, name: str, split: str, tolerance: float) -> tuple[np.ndarray, Records]:
    """(n, 4) answered, right, found and actual pixels of every sample, and the records of its masks."""
    task = loaded.model.tasks[name]
    assert isinstance(task, Segmentation)
    field = EdgeMap({}, source="label", ignore=task.field.ignore)
    rows, records = [], []
    with torch.inference_mode():
        for batch in loaded.data.batches(split, multiple=loaded.multiple):
            prediction, target = loaded.model.predict(batch)[name].value, batch.targets[name]
            records.append(task.records(prediction, target, list(batch.ids)))
            for said, truth in zip(prediction.argmax(1).numpy(), target.numpy(), strict=True):
                rows.append(counts(field, said, truth, tolerance))
    return np.array(rows), Records.merge(records)


def counts(field: EdgeMap, said: np.ndarray, truth: np.ndarray, tolerance: float) -> tuple[int, int, int, int]:
    """Of one sample."""
    codes = field.edges(field.read("truth", lambda _: truth))
    answer = thinned((field.edges(said.astype(np.int16)) == EDGE).astype(np.float32))
    true = thinned((codes == EDGE).astype(np.float32)) > 0
    reach = reach_of(truth.shape, tolerance)
    found = count_edges(answer, true, codes != UNKNOWN, reach=reach, matching="exact")
    return int(found.answered[SURE]), int(found.right[SURE]), int(found.found[SURE]), int(found.actual)


def f_of(rows: np.ndarray) -> float:
    answered, right, found, actual = rows.sum(0)
    one = EdgeCounts(np.array([answered]), np.array([right]), np.array([found]), np.array(actual))
    return float(one.f[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--task", default="label")
    parser.add_argument("--split", default="val")
    parser.add_argument("--tolerance", type=float, default=0.0075)
    given = parser.parse_args()
    first: tuple[np.ndarray, Records] | None = None
    for run in given.runs:
        loaded = load_run(run)
        rows, records = outlines(loaded, given.task, given.split, given.tolerance)
        task = loaded.model.tasks[given.task]
        print(f"{run}: outline F {100 * f_of(rows):.1f}, mIoU {100 * task.figures(records)['mIoU']:.1f}")
        if first is None:
            first = rows, records
            continue
        drawn = list(draws([""] * len(rows), 1000, seed=0))
        for what, differ in (
            ("outline F", [f_of(rows[index]) - f_of(first[0][index]) for index in drawn]),
            (
                "mIoU",
                [
                    task.figures(records.take(index))["mIoU"] - task.figures(first[1].take(index))["mIoU"]
                    for index in drawn
                ],
            ),
        ):
            low, high = 100 * np.quantile(differ, [0.025, 0.975])
            print(f"    {what} against the first: [{low:+.1f}, {high:+.1f}]")


if __name__ == "__main__":
    main()
