"""From a waveform to a log-mel spectrogram: on any device, in full precision, the same whatever follows a row's end."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

#: What counts as silence, in dB below a full-scale tone: about the noise of 16 bits.
FLOOR = -100.0

#: Lowest frequency of the lowest band, in Hz: below it there is hum and wind.
LOWEST = 20.0


class LogMel(nn.Module):
    """Power in bands that are evenly spaced on the mel scale, in dB; a tone of amplitude 1 is near 0 dB.

    Frames are centred at multiples of the hop, and the sound is silent before its start and after its end, so that
    padding a row with zeros changes none of its own frames.

    Args:
        sample_rate: in Hz.
        num_mels: bands, from 20 Hz to half the sample rate.
        window: length of a frame in seconds.
        hop: from one frame to the next, in seconds.

    Raises:
        ValueError: the window is too short to tell the lowest bands apart, or the hop is shorter than a sample.

    Reference: Davis and Mermelstein, IEEE TASSP 1980, doi:10.1109/TASSP.1980.1163420.
    """

    def __init__(self, sample_rate: int, num_mels: int, *, window: float, hop: float) -> None:
        super().__init__()
        self.length, self.hop = round(window * sample_rate), round(hop * sample_rate)
        if self.length < 2 or self.hop < 1:
            raise ValueError(
                f"a window of {window} s and a hop of {hop} s are {self.length} and {self.hop} samples at "
                f"{sample_rate} Hz; give at least 2 and 1"
            )
        self.num_bins = 2 ** (self.length - 1).bit_length()  # a power of two, by zeros around the window
        bank = mel_bank(sample_rate, self.num_bins, num_mels)
        empty = int((bank.sum(0) == 0).sum())
        if empty:
            raise ValueError(
                f"{empty} of {num_mels} mel bands are narrower than the {sample_rate / self.num_bins:.1f} Hz that a "
                f"window of {window} s can tell apart at {sample_rate} Hz; lower mels or lengthen window"
            )
        taper = torch.hann_window(self.length)
        self.register_buffer("taper", taper, persistent=False)
        # a tone of amplitude 1 has the magnitude sum(taper) / 2 in its bin
        self.register_buffer("bank", torch.from_numpy(bank).float() * float(4 / taper.sum() ** 2), persistent=False)

    def forward(self, waves: Tensor) -> Tensor:
        """(P, L) in [-1, 1], L >= 1, to (P, mels, 1 + L // hop) dB, not below the floor."""
        with torch.autocast(waves.device.type, enabled=False):  # a spectrum needs more than bfloat16's 8 bits
            spectrum = torch.stft(
                waves.float(),
                self.num_bins,
                hop_length=self.hop,
                win_length=self.length,
                window=self.get_buffer("taper"),
                center=True,
                pad_mode="constant",
                return_complex=True,
            )
            power = spectrum.real.square() + spectrum.imag.square()  # (P, bins, frames)
            mels = self.get_buffer("bank").T @ power
            return 10 * mels.clamp(min=10 ** (FLOOR / 10)).log10()

    def num_frames(self, num_samples: Tensor) -> Tensor:
        """(P,) frames of sounds of so many samples."""
        return 1 + num_samples // self.hop


def mel_bank(sample_rate: int, num_bins: int, num_mels: int) -> np.ndarray:
    """(num_bins // 2 + 1, num_mels) float64 triangles, each reaching from the centre of the band before to that of the
    next, on the scale mel = 2595 log10(1 + Hz / 700).

    Args:
        sample_rate: in Hz.
        num_bins: of the Fourier transform.
        num_mels: bands.

    Reference: O'Shaughnessy, Speech Communication: Human and Machine, 1987; as HTK has it.
    """
    lowest, highest = (2595 * np.log10(1 + hertz / 700) for hertz in (LOWEST, sample_rate / 2))
    edges = 700 * (10 ** (np.linspace(lowest, highest, num_mels + 2) / 2595) - 1)
    bins = np.linspace(0, sample_rate / 2, num_bins // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    triangles: np.ndarray = np.maximum(0, np.minimum(rising, falling))
    return triangles
