"""The target of segmentation of clips: a class number per pixel of every frame."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from weft.data.clipfile import part_of_clip
from weft.data.timeline import Timeline
from weft.errors import DataFault, did_you_mean
from weft.modalities import raster
from weft.modalities.base import BadCell, Facts, Geometry, Modality, Resolve
from weft.registry import Range
from weft.tasks.colours import paint
from weft.tasks.label_map import LabelMap
from weft.types import Batch


class ClipLabelMap(LabelMap):
    """A label map for every frame of a clip: a folder of them, or an array (T, H, W). Each is read as that of a still.

    A map belongs to the frame of its number: in folders the one that the names of the files end with, in arrays the
    place, from 0 on. Frames without a map have no label, so that there may be maps of some frames only. A cell may also
    be a single map; beside a clip of a single frame it belongs to that one, whatever their numbers.

    Args:
        classes: names of the classes, in the order of their numbers.
        num_classes: how many classes there are, instead of names.
        ignore: stored value of pixels without a label; by default what the data format declares, else 255.
        remap: class number of stored values that are not class numbers themselves, such as {"7": 0, "8": 1}; values
            that are not in it are then refused.
        colours: colour of each class in files that store colours, such as {"road": "#804080"}; the class "ignore" may
            be among them.
        motion: the modality that tells how things move, for the consistency of the answers over time: given optical
            flow, or frames, between which it is found.

    Attributes:
        motion: the name of that modality, or None.
    """

    def __init__(
        self,
        facts: Facts,
        *,
        classes: list[str] | None = None,
        num_classes: Annotated[int, Range(2)] | None = None,
        ignore: int | None = None,
        remap: dict[str, int] | None = None,
        colours: dict[str, str] | None = None,
        motion: str | None = None,
    ) -> None:
        super().__init__(facts, classes=classes, num_classes=num_classes, ignore=ignore, remap=remap, colours=colours)
        self.geometry = Geometry("clip_label", fill=self.ignore)
        self.motion = motion

    def timeline(self, cell: Any, resolve: Resolve) -> Timeline:
        """The frames that have a map, of the part of the clip that the cell names.

        Raises:
            BadCell: missing, empty, or no frame where the cell says.
        """
        return part_of_clip(cell, resolve)[1]

    def read(self, cell: Any, resolve: Resolve) -> np.ndarray:
        """(T, H, W) of all frames that have a map; see `read_frames`."""
        return self.read_frames(cell, resolve, None)

    def read_frames(self, cell: Any, resolve: Resolve, frames: Timeline | None) -> np.ndarray:
        """(T, H, W) class numbers of the frames that are taken, `ignore` where there is no label; stored values while
        the classes are not known.

        Raises:
            BadCell: a map cannot be read, holds a value that is no class, or has another size than the others.
        """
        clip, own = part_of_clip(cell, resolve)
        taken = own.numbers if frames is None or len(frames) == len(clip.timeline) == 1 else frames.numbers
        lacking = ~np.isin(taken, own.numbers)
        wanted = np.flatnonzero(np.isin(clip.timeline.numbers, taken[~lacking]))
        # where no frame that is taken has a map, any tells their size
        sources = list(clip.frames(wanted.tolist() or [0]))
        maps = [self._map(source, f"{cell}, {source}" if isinstance(source, Path) else str(cell)) for source in sources]
        for source, one in zip(sources, maps, strict=True):
            if one.shape != maps[0].shape:
                raise BadCell(
                    "size-mismatch",
                    f"{cell} begins with a map of {maps[0].shape[1]}x{maps[0].shape[0]} pixels, and "
                    f"{source.name if isinstance(source, Path) else 'another'} has {one.shape[1]}x{one.shape[0]}; a "
                    "clip has one size: bring its maps to it",
                )
        fill, kind = (self.ignore, maps[0].dtype) if self.classes else (self._raw_ignore, np.dtype(np.int32))
        values = np.full((len(taken), *maps[0].shape), fill, kind)
        of_number = dict(zip(clip.timeline.numbers[wanted].tolist(), maps, strict=False))
        for place in np.flatnonzero(~lacking):
            values[place] = of_number[int(taken[place])]
        return values

    def _map(self, source: Path | np.ndarray, name: str) -> np.ndarray:
        return super().read(name, lambda _: source)

    def beside(self, name: str, batch: Batch, modalities: Mapping[str, Modality]) -> Tensor:
        """(P, T, H, W) class numbers; with `motion` (P, T, 3, H, W) float32: the class number, then how far right and
        down a pixel lay in the frame before, NaN where that is not known (see `Modality.motion_back`).

        Raises:
            DataFault: `motion` names no modality, or one that tells no motion or is not there to be looked at.
        """
        numbers = batch.targets[name]
        if self.motion is None or not len(numbers):
            return numbers
        frames = self._frames_of_motion(name, batch)
        rows = {row: place for place, row in enumerate(batch.present[self.motion].nonzero().squeeze(1).tolist())}
        motion = np.full((*numbers.shape, 2), np.nan, np.float32)
        for place, row in enumerate(batch.labelled[name].nonzero().squeeze(1).tolist()):
            if row in rows:
                height, width = batch.sizes[row]
                own = frames[rows[row], : len(batch.frames[row]), ..., :height, :width]
                try:
                    told = modalities[self.motion].motion_back(own, batch.frames[row])
                except ValueError as error:
                    raise DataFault(
                        f"motion of {name} is to be told by {self.motion}, and of {batch.ids[row]} it is not: {error}; "
                        "name another modality, or leave motion out",
                        code="no-motion",
                    ) from error
                motion[place, : len(own), :height, :width] = told
        return torch.cat([numbers[:, :, None].float(), torch.from_numpy(motion).movedim(-1, 2)], 2)

    def _frames_of_motion(self, name: str, batch: Batch) -> Tensor:
        """(Q, T, C, H, W) as they are in the batch."""
        assert self.motion is not None
        if self.motion not in batch.inputs:
            hint = did_you_mean(self.motion, list(batch.inputs))
            raise DataFault(
                f"motion of {name} names {self.motion!r}; the modalities are {', '.join(batch.inputs)}{hint}",
                code="no-modality",
            )
        frames = batch.inputs[self.motion]
        if len(frames) < int(batch.present[self.motion].sum()):
            raise DataFault(
                f"motion of {name} is to be told by {self.motion}, whose frames are not read again once the features "
                "of its frozen encoder are kept; set train.features.where to none",
                code="no-motion",
            )
        return frames

    def parted(self, target: Tensor) -> tuple[Tensor, Tensor | None]:
        """((P, T, H, W) class numbers, (P, T, H, W, 2) motion or None) of what `beside` gave."""
        if target.dim() < 5:
            return target, None
        return target[:, :, 0].long(), target[:, :, 1:].movedim(2, -1)

    def draw(self, value: np.ndarray) -> Image.Image:
        """A strip of frames with the classes in their colours, unlabelled pixels white."""
        return raster.strip(paint(value, len(self.classes)))
