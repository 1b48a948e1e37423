"""What the accumulation of mIoU takes of the evaluation of a segmenter, with 8, 21 and 150 classes at 256 x 256.

The evaluation is weft's own pass over a split: reading and decoding the files, the network (ResNet-18, DeepLabV3+), the
loss and the records. Told are the shares of the counts from which mIoU follows, of the bins of calibration beside them,
and of finding the class that each pixel is given, which any score of masks needs first; in repeated passes.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import segmentation, write_pictures
from torch import Tensor

from weft.engine.run_folder import RunFolder
from weft.engine.score import score
from weft.engine.train import Training
from weft.experiment import Inference
from weft.tasks import segmentation as task_file
from weft.tasks.dense import calibration_bins
from weft.types import Records

PICTURES, PASSES = 48, 7


class Clock:
    """Adds up the seconds within functions."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        def timed(*arguments: object, **options: object) -> object:
            start = time.perf_counter()
            answer = function(*arguments, **options)
            self.seconds += time.perf_counter() - start
            return answer

        return timed


def shares(folder: Path, num_classes: int) -> None:
    """Print the shares of one network."""
    experiment = segmentation(folder, size=256, tasks__label__num_classes=num_classes, data__workers=0)
    training = Training(experiment, RunFolder.create(experiment, echo=False))
    task = training.model.tasks["label"]
    records, largest, bins = Clock(), Clock(), Clock()
    inside = records.around(task.records)

    def timed(prediction: Tensor, target: Tensor, ids: list[str]) -> Records:
        largest.around(prediction.max)(1)  # once more than needed: taken off the whole below
        found: Records = inside(prediction, target, ids)
        return found

    task.records, task.figures = timed, records.around(task.figures)  # type: ignore[method-assign]
    task_file.calibration_bins = bins.around(calibration_bins)
    parts: dict[str, list[float]] = {"counts": [], "bins": [], "class of each pixel": []}
    for turn in range(PASSES + 1):
        records.seconds = largest.seconds = bins.seconds = 0.0
        start = time.perf_counter()
        scored = score(
            training.model,
            training.data,
            "train",
            multiple=training.multiple,
            precision=training.position.precision,
            inference=Inference(),
        )
        scored.figures("label", task)
        whole = time.perf_counter() - start - largest.seconds
        if turn:
            parts["counts"].append(100 * (records.seconds - bins.seconds - largest.seconds) / whole)
            parts["bins"].append(100 * bins.seconds / whole)
            parts["class of each pixel"].append(100 * largest.seconds / whole)
    told = [
        f"{name} {statistics.median(some):.2f} [{min(some):.2f}, {max(some):.2f}] %" for name, some in parts.items()
    ]
    print(f"{num_classes} classes, {1000 * whole / PICTURES:.1f} ms a picture: {', '.join(told)}", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder), PICTURES, 256)
        for num_classes in (8, 21, 150):
            shares(Path(folder), num_classes)


if __name__ == "__main__":
    main()
