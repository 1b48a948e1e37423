"""Sounds: wav, flac and ogg files or arrays, from which log-mel spectrograms are made on the device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from weft.data.audiofile import MAX_SAMPLES, Sound, is_clipped, open_sound, resample, to_mono
from weft.data.clipcell import split_cell
from weft.data.soundtrack import Cut
from weft.modalities import raster
from weft.modalities.base import CellKind, Facts, Geometry, Modality, Preprocessor, Resolve
from weft.modalities.logmel import FLOOR, LogMel
from weft.registry import Range, register
from weft.types import InputSpec

Fraction = Annotated[float, Range(0, 1)]

#: Where nothing is said of the rate: it keeps all that matters in speech.
_USUAL_RATE = 16_000

#: A sound whose largest value is below this is silent: half a step of 8 bits.
_SILENT = 1 / 512

#: From black to bright in a picture, in dB: what can be heard in a quiet room.
_SHOWN = 80.0

#: Bands that hardly change are not blown up to the deviation of the others, in dB.
_SMALLEST_STD = 1.0


@register("modality", "audio")
class AudioModality(Modality):
    """A sound, mixed to one channel, as a log-mel spectrogram with fitted mean and deviation for each band.

    A video file is read for its sound. A cell may name a part of a file: `a.mp4#t=2,5` is the seconds from 2 until
    before 5.

    Args:
        sample_rate: that sounds are brought to, in Hz; by default what the data format declares, or else 16000.
        seconds: a longer sound is cut to this; by default it is kept.
        cut: which part of a longer sound is kept: its centre, or its start.
        mels: bands of the spectrogram.
        window: length of a frame of the spectrogram in seconds.
        hop: from one frame to the next, in seconds.
        gain: in training, a sound is made louder or softer by up to so many dB.
        masks: in training, so many stretches of time and so many ranges of bands are blotted out, each as wide as
            chance says, up to `time_mask` and `frequency_mask`.
        time_mask: widest stretch, as a share of the longest sound in the batch; 0: none.
        frequency_mask: widest range, as a share of the bands; 0: none.
        max_samples: a file of which more samples are to be decoded, over all its channels, is refused. Of a video file
            with `seconds` only these are.

    Reference: masks: Park et al., Interspeech 2019, arXiv:1904.08779.
    """

    kind: ClassVar[str] = "audio"
    cell: ClassVar[CellKind] = "sound"

    def __init__(
        self,
        facts: Facts,
        *,
        sample_rate: Annotated[int, Range(1000, 192_000)] | None = None,
        seconds: Annotated[float, Range(0, open_low=True)] | None = None,
        cut: Cut = "centre",
        mels: Annotated[int, Range(1)] = 64,
        window: Annotated[float, Range(0, open_low=True)] = 0.025,
        hop: Annotated[float, Range(0, open_low=True)] = 0.01,
        gain: Annotated[float, Range(0)] = 0.0,
        masks: Annotated[int, Range(1)] = 2,
        time_mask: Fraction = 0.0,
        frequency_mask: Fraction = 0.0,
        max_samples: Annotated[int, Range(1)] = MAX_SAMPLES,
    ) -> None:
        self.facts = facts
        self.sample_rate: int = sample_rate or facts.get("sample_rate", _USUAL_RATE)
        self.array_rate: int = facts.get("sample_rate", self.sample_rate)
        self.seconds = seconds
        self.longest = None if seconds is None else max(1, round(seconds * self.sample_rate))
        self.cut = cut
        self.mels = mels
        self.window, self.hop = window, hop
        self.gain, self.masks = gain, masks
        self.time_mask, self.frequency_mask = time_mask, frequency_mask
        self.max_samples = max_samples
        self.geometry = Geometry("sequence")
        self._log_mel()  # says at once what cannot be

    @property
    def num_channels(self) -> int:
        """The bands of the spectrogram."""
        return self.mels

    def read(self, cell: Any, resolve: Resolve) -> np.ndarray:
        """(L,) float32 in [-1, 1] at `sample_rate`, L >= 1.

        Args:
            cell: a file; an array (L,) or (L, C), in [-1, 1] or int16, at the rate that the format declares, or else
                at `sample_rate`.
            resolve: what it stands for.

        Raises:
            BadCell: no sound, cut off, without a sample, or longer than `max_samples`.
        """
        sound = self._open(cell, resolve)
        wave = resample(to_mono(sound.samples), sound.sample_rate, self.sample_rate)
        if self.longest is None or len(wave) <= self.longest:
            return wave
        start = (len(wave) - self.longest) // 2 if self.cut == "centre" else 0
        return wave[start : start + self.longest].copy()  # a view would keep the whole sound in memory

    @property
    def decodes(self) -> bool:
        """Always."""
        return True

    def remarks(self, cell: Any, resolve: Resolve) -> list[str]:
        """Resampled, mixed, cut, clipped, silent."""
        sound = self._open(cell, resolve)
        num_frames, num_channels = sound.samples.shape
        found = []
        if sound.sample_rate != self.sample_rate:
            found.append(f"resampled from {sound.sample_rate} to {self.sample_rate} Hz")
        if num_channels > 1:
            found.append(f"mixed from {num_channels} channels to one")
        if self.longest is not None and num_frames * self.sample_rate > self.longest * sound.sample_rate:
            found.append(f"cut to its {self.cut}, {self.longest / self.sample_rate:g} s")
        if np.abs(sound.samples).max() < _SILENT:
            found.append("silent")
        elif is_clipped(sound.samples):
            found.append("clipped: recorded too loud")
        return found

    def _open(self, cell: Any, resolve: Resolve) -> Sound:
        part = split_cell(cell)[1] if isinstance(cell, str) else None
        return open_sound(
            resolve(cell),
            sample_rate=self.array_rate,
            max_samples=self.max_samples,
            part=part,
            seconds=self.seconds,
            cut=self.cut,
        )

    @property
    def wants_fit(self) -> bool:
        """Until mean and deviation of the bands are known."""
        return not {"mean", "std"} <= self.facts.keys()

    def fit(self, values: Iterable[np.ndarray]) -> dict[str, Any]:
        """Mean and deviation of every band over all frames, in dB."""
        statistics = raster.Statistics(self.mels)
        log_mel = self._log_mel()
        for value in values:
            statistics.add(log_mel(self.to_tensor(value)[None])[0].T.numpy())
        facts = statistics.facts
        return {"mean": facts["mean"], "std": [max(std, _SMALLEST_STD) for std in facts["std"]]}

    @property
    def reading(self) -> Facts:
        """The rate of arrays."""
        return {name: self.facts[name] for name in ("sample_rate",) if name in self.facts}

    def to_tensor(self, value: np.ndarray) -> Tensor:
        """(L,) float32."""
        return torch.from_numpy(np.require(value, np.float32, ["C", "W"]))

    def draw(self, value: np.ndarray) -> Image.Image:
        """The spectrogram: time to the right, high frequencies at the top, loud is bright."""
        from matplotlib import colormaps  # slow to import, and only pictures need it

        decibels = self._log_mel()(self.to_tensor(value)[None])[0].numpy()
        top = max(float(decibels.max()), FLOOR + _SHOWN)  # silence is black
        bright = ((decibels - top) / _SHOWN + 1).clip(0, 1)
        colours = (colormaps["magma"](bright[::-1])[..., :3] * 255).astype(np.uint8)
        width = int(np.clip(4 * decibels.shape[1], 128, 640))
        return Image.fromarray(colours).resize((width, 160), Image.Resampling.BILINEAR)

    def preprocessor(self, input_spec: InputSpec) -> Preprocessor:
        """Waveforms to normalised spectrograms, with gain and masks in training mode."""
        mean = self.facts.get("mean", [0.0] * self.mels)
        std = self.facts.get("std", [1.0] * self.mels)
        return AudioPreprocessor(
            self._log_mel(),
            mean,
            std,
            gain=self.gain,
            masks=self.masks,
            time_mask=self.time_mask,
            frequency_mask=self.frequency_mask,
        )

    def _log_mel(self) -> LogMel:
        return LogMel(self.sample_rate, self.mels, window=self.window, hop=self.hop)


class AudioPreprocessor(Preprocessor):
    """Waveforms (P, L) to normalised log-mel spectrograms (P, 1, mels, frames).

    Args:
        log_mel: makes the spectrogram.
        mean, std: of each band, in dB.
        gain, masks, time_mask, frequency_mask: as in `AudioModality`.
    """

    def __init__(
        self,
        log_mel: LogMel,
        mean: Iterable[float],
        std: Iterable[float],
        *,
        gain: float = 0.0,
        masks: int = 2,
        time_mask: float = 0.0,
        frequency_mask: float = 0.0,
    ) -> None:
        super().__init__()
        self.log_mel = log_mel
        self.register_buffer("mean", torch.tensor(list(mean), dtype=torch.float32).view(-1, 1))
        self.register_buffer("std", torch.tensor(list(std), dtype=torch.float32).view(-1, 1))
        self.gain, self.masks = gain, masks
        self.time_mask, self.frequency_mask = time_mask, frequency_mask

    def forward(self, inputs: Tensor) -> Tensor:
        """(P, L) float in [-1, 1] to (P, 1, mels, frames) float32; what is blotted out becomes 0, the mean."""
        waves = inputs.float()
        if self.training and self.gain:
            decibels = self.gain * (2 * torch.rand(len(waves), 1, device=waves.device) - 1)
            waves = waves * 10 ** (decibels / 20)
        bands = (self.log_mel(waves) - self.get_buffer("mean")) / self.get_buffer("std")
        if self.training:
            for axis, widest in ((1, self.frequency_mask), (2, self.time_mask)):
                if widest:
                    bands = bands.masked_fill(self._blots(bands, axis, widest), 0)
        return bands.unsqueeze(1)

    def lengths(self, lengths: Tensor) -> Tensor:
        """(P,) frames of sounds of so many samples."""
        return self.log_mel.num_frames(lengths)

    @property
    def random(self) -> bool:
        """Whether it changes the volume or blots anything out."""
        return bool(self.gain or self.time_mask or self.frequency_mask)

    def _blots(self, bands: Tensor, axis: int, widest: float) -> Tensor:
        """Bool, (P, mels, 1) or (P, 1, frames): in one of the masks of its row, each with a place and width of its own.

        A mask may begin before the first entry and end after the last, so that all are hidden equally often.
        """
        size = bands.shape[axis]
        place, width = torch.rand(2, len(bands), self.masks, 1, device=bands.device)
        width = width * (widest * size)
        start = place * (size + width) - width
        entries = torch.arange(size, device=bands.device) + 0.5
        inside = ((entries >= start) & (entries < start + width)).any(1)  # (P, size)
        return inside.unsqueeze(3 - axis)
