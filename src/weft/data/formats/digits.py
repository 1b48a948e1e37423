"""Digits seen and heard: MNIST pictures and spoken digits, paired by a seeded rule, with noise on both if asked."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa

from weft.data.audiofile import header, open_sound, to_mono
from weft.data.geometry import generator
from weft.data.idxfile import read_idx
from weft.data.listing import folder
from weft.data.manifest import SPLITS, Column, Manifest
from weft.errors import DataFault
from weft.modalities.base import BadCell
from weft.registry import Range, register

Share = Annotated[float, Range(0, 1, open_high=True)]
Count = Annotated[int, Range(1)]

CLASSES = [str(digit) for digit in range(10)]

#: DIGIT_SPEAKER_INDEX.wav
_RECORDING = re.compile(r"(?P<digit>\d)_(?P<speaker>[^_]+)_(?P<index>\d+)\.wav")


@dataclass(frozen=True, order=True)
class Recording:
    """One spoken digit, as its file name says; in the order of digits, speakers and indices."""

    digit: int
    speaker: str
    index: int
    name: str


@register("format", "digits")
class Digits:
    """Pairs of a handwritten and a spoken digit.

    Below `root`: `recordings/DIGIT_SPEAKER_INDEX.wav`, and one or more pairs of idx files, `…images-idx3-ubyte` and
    `…labels-idx1-ubyte`, packed as `.gz` or not.

    A sample is a recording with a picture of the same digit. Recordings are split by index or by speaker; of these,
    in rising order, the first are the test part, the next the validation part. The pictures of each digit are shuffled
    by the seed and dealt to its recordings, first to those of test, then validation, then training, each picture once:
    no picture is in two samples, and how many pictures a training recording gets changes no other split.

    Columns: `image` (28 x 28), `audio`, `digit`, and `speaker` and `index` of the recording.

    Reference: LeCun et al., Proc. IEEE 1998, doi:10.1109/5.726791; Jackson et al., Free Spoken Digit Dataset,
    doi:10.5281/zenodo.1342401.

    Args:
        root: the folder that holds the files.
        by: what no two splits share: the index of a recording, or its speaker.
        test: share of the indices or speakers that are the test part, rounded, at least one; 0: none.
        val: likewise for the validation part.
        pairs: pictures, one after another, that a training recording is paired with.
        image_noise: standard deviation of the noise on pictures; 1 is from black to white. What leaves that range is
            clipped.
        sound_noise: signal-to-noise ratio of the sounds in dB, over a whole recording: 0 is as much noise as sound; by
            default no noise is added.
        seed: of the pairs and of the noise, which is the same each time a sample is read.
    """

    def __init__(
        self,
        *,
        root: str,
        by: Literal["index", "speaker"] = "index",
        test: Share = 0.2,
        val: Share = 0.2,
        pairs: Count = 1,
        image_noise: Annotated[float, Range(0)] = 0.0,
        sound_noise: float | None = None,
        seed: Annotated[int, Range(0)] = 0,
    ) -> None:
        self.root = root
        self.by = by
        self.shares = {"test": test, "val": val}
        self.pairs = pairs
        self.image_noise, self.sound_noise = image_noise, sound_noise
        self.seed = seed

    def manifest(self) -> Manifest:
        """All pairs, training first.

        Raises:
            DataFault: files are missing or not as described, no training part is left, or pictures are too few.
        """
        root = folder(self.root)
        recordings, notes = _recordings(folder(root, "recordings"))
        files = _idx_files(root)
        labels = np.concatenate([_labels(images, names) for images, names in files.items()])
        pictures = {digit: np.flatnonzero(labels == digit) for digit in range(10)}
        parts = self._parts(recordings)
        pairs = self._paired({split: parts[split] for split in ("test", "val", "train")}, pictures)
        rows = [
            {
                "id": name,
                "split": split,
                "image": f"image/{picture}",
                "audio": f"audio/{name}/{recording.name}",
                "digit": CLASSES[recording.digit],
                "speaker": recording.speaker,
                "index": str(recording.index),
            }
            for split in SPLITS
            for name, recording, picture in pairs[split]
        ]
        rate = header(root / "recordings" / recordings[0].name).sample_rate
        columns = {
            "image": Column("image"),
            "audio": Column("audio", {"sample_rate": rate}),
            "digit": Column("class", {"classes": CLASSES}),
            "speaker": Column("class"),
            "index": Column("class"),
        }
        arrays = PairedDigits(root, tuple(files), rate, self.image_noise, self.sound_noise, self.seed)
        return Manifest(pa.Table.from_pylist(rows), root, columns, arrays=arrays, notes=tuple(notes))

    def _parts(self, recordings: Sequence[Recording]) -> dict[str, list[Recording]]:
        """{split: recordings}, by the shares of the indices or speakers."""
        values = sorted({getattr(recording, self.by) for recording in recordings})
        splits: list[str] = []
        for split, share in self.shares.items():
            splits += [split] * (max(1, round(share * len(values))) if share else 0)
        if len(splits) >= len(values):
            raise DataFault(
                f"test {self.shares['test']} and val {self.shares['val']} of {len(values)} ({self.by}: "
                f"{', '.join(map(str, values[:10]))}) leave nothing to train on; lower them",
                code="no-samples",
            )
        split_of = dict(zip(values, [*splits, *["train"] * (len(values) - len(splits))], strict=True))
        parts: dict[str, list[Recording]] = {split: [] for split in SPLITS}
        for recording in recordings:
            parts[split_of[getattr(recording, self.by)]].append(recording)
        return parts

    def _paired(
        self, parts: Mapping[str, Sequence[Recording]], pictures: Mapping[int, np.ndarray]
    ) -> dict[str, list[tuple[str, Recording, int]]]:
        """{split: (id, recording, picture)}, dealt in the order of `parts`."""
        left = {digit: generator(self.seed, digit, "pairs").permutation(found) for digit, found in pictures.items()}
        pairs: dict[str, list[tuple[str, Recording, int]]] = {}
        for split, recordings in parts.items():
            pairs[split] = []
            times = self.pairs if split == "train" else 1
            for recording in recordings:
                dealt, left[recording.digit] = np.split(left[recording.digit], [times])
                if len(dealt) < times:
                    raise DataFault(
                        f"the {len(pictures[recording.digit])} pictures of a {recording.digit} are fewer than its "
                        f"recordings ask for with pairs: {self.pairs}; lower pairs or add pictures",
                        code="too-few-pictures",
                    )
                stem = recording.name.removesuffix(".wav")
                pairs[split] += [(f"{stem}-{place}", recording, int(number)) for place, number in enumerate(dealt)]
        return pairs


@dataclass(frozen=True)
class PairedDigits:
    """What the cells `image/NUMBER` and `audio/ID/FILE` stand for, with their noise.

    Attributes:
        root: the folder of the data.
        images: the idx files of pictures, counted through in this order.
        sample_rate: that every recording must have, in Hz.
        image_noise, sound_noise, seed: as in `Digits`.
    """

    root: Path
    images: tuple[Path, ...]
    sample_rate: int
    image_noise: float
    sound_noise: float | None
    seed: int

    def __call__(self, cell: str) -> np.ndarray:
        """(H, W) uint8 for a picture, (L,) float32 in [-1, 1] for a sound.

        Raises:
            BadCell: a recording that cannot be used, or a cell of another form.
        """
        what, _, rest = cell.partition("/")
        if what == "image" and rest.isdigit():
            return self._image(int(rest))
        sample, _, file = rest.partition("/")
        if what != "audio" or not _RECORDING.fullmatch(file):
            raise BadCell("not-a-path", f"{cell!r} names nothing here; cells are like image/7 or audio/ID/0_x_1.wav")
        return self._sound(sample, self.root / "recordings" / file)

    def _image(self, number: int) -> np.ndarray:
        place = number
        for path in self.images:
            pictures = read_idx(path, 3)
            if place < len(pictures):
                break
            place -= len(pictures)
        else:
            raise BadCell("missing-file", f"there is no picture {number} in {', '.join(map(str, self.images))}")
        picture = pictures[place]
        if not self.image_noise:
            return picture.copy()
        noise = generator(self.seed, number, "image").standard_normal(picture.shape)
        noisy: np.ndarray = (picture + 255 * self.image_noise * noise).round().clip(0, 255).astype(np.uint8)
        return noisy

    def _sound(self, sample: str, path: Path) -> np.ndarray:
        sound = open_sound(path, sample_rate=self.sample_rate)
        if sound.sample_rate != self.sample_rate:
            raise BadCell(
                "wrong-rate", f"{path} is at {sound.sample_rate} Hz and the others at {self.sample_rate}; resample it"
            )
        wave = to_mono(sound.samples)
        if self.sound_noise is None:
            return wave
        power = float(np.mean(wave.astype(np.float64) ** 2)) / 10 ** (self.sound_noise / 10)
        noisy = wave + np.sqrt(power) * generator(self.seed, sample, "sound").standard_normal(len(wave))
        return (noisy / max(1.0, float(np.abs(noisy).max()))).astype(np.float32)  # softer, rather than clipped


def _recordings(path: Path) -> tuple[list[Recording], list[str]]:
    """(recordings in the order of their names' parts, what is worth saying)."""
    names = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
    matches = [match for name in names if (match := _RECORDING.fullmatch(name))]
    if not matches:
        raise DataFault(
            f"{path} has no file named DIGIT_SPEAKER_INDEX.wav, such as 7_jackson_32.wav", code="no-samples"
        )
    found = [Recording(int(m["digit"]), m["speaker"], int(m["index"]), m.string) for m in matches]
    others = sorted(set(names) - {recording.name for recording in found})
    note = (
        f"recordings/: {len(others)} files are not named DIGIT_SPEAKER_INDEX.wav and are left out, first {others[:1]}"
    )
    return sorted(found), [note] if others else []


def _idx_files(root: Path) -> dict[Path, Path]:
    """{file of pictures: file of their labels}, sorted by name; of one that is there packed and unpacked, one."""
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in sorted(root.iterdir(), reverse=True):  # so that the unpacked one comes last and stays
        name = path.name.removesuffix(".gz")
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"):
            if name.endswith(kind):
                found[name.removesuffix(kind)][kind[:6]] = path
    lonely = [path.name for pair in found.values() if len(pair) == 1 for path in pair.values()]
    if lonely or not found:
        there = f"{lonely[0]} stands alone in {root}" if lonely else f"{root} has neither"
        raise DataFault(
            f"{there}; a file …images-idx3-ubyte and one …labels-idx1-ubyte are wanted, packed as .gz or not",
            code="missing-file",
        )
    return {found[name]["images"]: found[name]["labels"] for name in sorted(found)}


def _labels(images: Path, labels: Path) -> np.ndarray:
    """(N,) digits of the N pictures."""
    pictures, digits = read_idx(images, 3), read_idx(labels, 1)
    if len(pictures) != len(digits):
        raise DataFault(
            f"{images.name} holds {len(pictures)} pictures and {labels.name} {len(digits)} labels", code="size-mismatch"
        )
    if len(digits) and digits.max() > 9:
        raise DataFault(f"{labels} holds the label {digits.max()}; digits are 0 to 9", code="label-outside")
    return digits
