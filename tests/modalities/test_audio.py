"""Sounds: what is read of files and arrays, what is refused, and the spectrogram that the encoder sees.

`sounds/` holds a quarter of a second of a tone of 440 Hz and amplitude 0.5 at 16 kHz, written by libsndfile.
"""

from __future__ import annotations

import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import signal

from weft.data.audiofile import header, is_clipped, open_sound
from weft.errors import WeftError
from weft.modalities.audio import AudioModality
from weft.modalities.base import BadCell
from weft.modalities.logmel import FLOOR, LogMel, mel_bank
from weft.types import InputSpec

SOUNDS = Path(__file__).parent / "sounds"
RATE = 16_000


def given(cell):
    return cell


def tone(hertz: float = 440.0, *, seconds: float = 0.25, rate: int = RATE, amplitude: float = 0.5) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write_wav(path: Path, samples: np.ndarray, *, rate: int = RATE, num_bytes: int = 2) -> Path:
    """(L,) or (L, C) in [-1, 1] as PCM of 8, 16 or 24 bits, by the standard library."""
    whole = np.round((samples if samples.ndim == 2 else samples[:, None]) * (2 ** (8 * num_bytes - 1) - 1)).astype(
        np.int64
    )
    whole = whole + 128 if num_bytes == 1 else whole
    with wave.open(str(path), "wb") as file:
        file.setnchannels(whole.shape[1])
        file.setsampwidth(num_bytes)
        file.setframerate(rate)
        file.writeframes(b"".join(int(v).to_bytes(num_bytes, "little", signed=num_bytes > 1) for v in whole.ravel()))
    return path


def read(cell, **options) -> np.ndarray:
    return AudioModality(options.pop("facts", {}), **{"sample_rate": RATE, **options}).read(cell, given)


def refused(cell, code: str, match: str | None = None, **options) -> None:
    with pytest.raises(BadCell, match=match) as caught:
        read(cell, **options)
    assert caught.value.code == code


# what is read


@pytest.mark.parametrize(("name", "tolerance"), [("tone.flac", 1e-4), ("tone.ogg", 0.05)])
def test_flac_and_ogg_are_read(name, tolerance):
    found = read(SOUNDS / name)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, tone(), atol=tolerance)


@pytest.mark.parametrize(("num_bytes", "tolerance"), [(1, 0.01), (2, 1e-4), (3, 1e-6)])
def test_wav_of_8_16_and_24_bits_is_read(tmp_path, num_bytes, tolerance):
    np.testing.assert_allclose(read(write_wav(tmp_path / "a.wav", tone(), num_bytes=num_bytes)), tone(), atol=tolerance)


def test_a_file_is_known_by_its_content_not_by_its_name(tmp_path):
    (tmp_path / "a.wav").write_bytes((SOUNDS / "tone.flac").read_bytes())
    assert header(tmp_path / "a.wav").kind == "flac"
    np.testing.assert_allclose(read(tmp_path / "a.wav"), tone(), atol=1e-4)


def test_channels_are_mixed_to_their_mean(tmp_path):
    both = np.stack([tone(440), tone(1000)], 1)
    np.testing.assert_allclose(read(write_wav(tmp_path / "a.wav", both)), both.mean(1), atol=1e-4)


def test_another_rate_is_resampled_and_what_cannot_be_heard_at_it_is_gone(tmp_path):
    low = read(write_wav(tmp_path / "low.wav", tone(440, rate=44_100, seconds=1), rate=44_100))
    assert len(low) == RATE
    spectrum = np.abs(np.fft.rfft(low))
    assert spectrum.argmax() == 440  # bins of 1 Hz
    np.testing.assert_allclose(low[2000:-2000], tone(440, seconds=1)[2000:-2000], atol=2e-3)
    high = read(write_wav(tmp_path / "high.wav", tone(7000, seconds=1)), sample_rate=8000)
    assert np.abs(high[1000:-1000]).max() < 1e-3  # without a filter it would be heard at 1000 Hz


@pytest.mark.parametrize(("cut", "expected"), [("start", [0, 1, 2, 3]), ("centre", [3, 4, 5, 6])])
def test_a_longer_sound_is_cut(cut, expected):
    ramp = (np.arange(10) / 16).astype(np.float32)
    found = read(ramp, seconds=4 / RATE, cut=cut)
    np.testing.assert_array_equal(found * 16, expected)
    assert found.base is None  # the rest is not kept in memory
    np.testing.assert_array_equal(read(ramp[:3], seconds=4 / RATE, cut=cut), ramp[:3])


def test_arrays_are_sounds_at_the_declared_rate():
    assert len(read(tone(rate=8000), facts={"sample_rate": 8000})) == len(tone())
    np.testing.assert_array_equal(read(np.array([-(2**15), 2**14], np.int16)), [-1, 0.5])
    np.testing.assert_array_equal(read(np.array([[0.5, 0.25]])), [0.375])


def test_the_rate_is_the_declared_one_where_the_configuration_says_nothing():
    assert AudioModality({"sample_rate": 8000}).sample_rate == 8000
    assert AudioModality({"sample_rate": 8000}, sample_rate=RATE).sample_rate == RATE
    assert AudioModality({}).sample_rate == 16_000


# what is refused


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "a.wav").touch()
    refused(tmp_path / "a.wav", "empty-file", "0 bytes")
    refused(tmp_path / "b.wav", "missing-file")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"<!DOCTYPE html><html>", "web page"),
        (b"ID3\x04\0\0", "an MP3 file"),
        (b"\x89PNG\r\n\x1a\n", "not a sound"),
        (b"RIFF\x10\0\0\0WEBP", "not a sound"),
    ],
)
def test_what_is_no_sound_is_refused(tmp_path, content, match):
    (tmp_path / "a.wav").write_bytes(content + bytes(100))
    refused(tmp_path / "a.wav", "not-a-sound", match)


def test_ogg_without_vorbis_is_refused_by_name():
    refused(SOUNDS / "tone.opus.ogg", "not-a-sound", "Opus")


@pytest.mark.parametrize("share", [0.2, 0.6, 0.99])
@pytest.mark.parametrize("name", ["tone.wav", "tone.flac", "tone.ogg"])
def test_a_file_that_ends_early_is_refused(tmp_path, name, share):
    whole = write_wav(tmp_path / "whole.wav", tone()) if name == "tone.wav" else SOUNDS / name
    content = whole.read_bytes()
    (tmp_path / name).write_bytes(content[: int(share * len(content))])
    refused(tmp_path / name, "truncated-sound", "cut off")


def test_a_wav_whose_writer_could_not_say_its_length_is_read_to_its_end(tmp_path):
    content = bytearray(write_wav(tmp_path / "a.wav", tone()).read_bytes())
    content[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(content)
    np.testing.assert_allclose(read(tmp_path / "a.wav"), tone(), atol=1e-4)


def test_a_file_without_a_sample_is_refused(tmp_path):
    refused(write_wav(tmp_path / "a.wav", np.zeros((0, 1))), "empty-sound", "holds no sample")


def test_a_file_that_declares_too_much_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    path = write_wav(tmp_path / "a.wav", np.stack([tone()] * 2, 1))
    monkeypatch.setattr("weft.data.audiofile._decode", lambda *_: pytest.fail("decoded"))
    refused(path, "too-long", "8,000 samples in all.*at most 7,999", max_samples=7999)


@pytest.mark.parametrize(
    ("array", "code"),
    [
        (np.array([0.1, np.nan]), "not-finite"),
        (np.array([0.1, 300.0]), "sound-range"),
        (np.zeros(5, np.int32), "not-a-sound"),
        (np.zeros((2, 2, 2)), "empty-sound"),
        (np.zeros((0,)), "empty-sound"),
    ],
)
def test_arrays_that_are_no_sound_are_refused(array, code):
    refused(array, code)


def test_broken_bytes_give_a_reason_and_nothing_else(tmp_path):
    random = np.random.default_rng(0)
    path = tmp_path / "broken"
    for whole in (write_wav(tmp_path / "a.wav", tone()), SOUNDS / "tone.flac", SOUNDS / "tone.ogg"):
        for _ in range(60):
            content = np.frombuffer(whole.read_bytes(), np.uint8).copy()
            places = random.integers(0, [80, len(content)][random.integers(2)], random.integers(1, 6))
            content[places] = random.integers(0, 256, len(places))
            path.write_bytes(content.tobytes())
            try:
                sound = open_sound(path, sample_rate=RATE)
            except BadCell:
                continue
            assert np.abs(sound.samples).max() <= 1


def test_a_missing_decoder_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "miniaudio", None)
    with pytest.raises(WeftError, match=r"weft\[audio\]"):
        read(write_wav(tmp_path / "a.wav", tone()))
    assert len(read(tone())) == len(tone())  # arrays need none


# what is said of it


def test_what_is_changed_or_suspect_is_said(tmp_path):
    def remarks(samples, rate=RATE):
        return AudioModality({}, sample_rate=RATE, seconds=0.5).remarks(
            write_wav(tmp_path / "a.wav", samples, rate=rate), given
        )

    assert remarks(tone()) == []
    assert remarks(tone(rate=8000), rate=8000) == ["resampled from 8000 to 16000 Hz"]
    assert remarks(np.stack([tone()] * 2, 1)) == ["mixed from 2 channels to one"]
    assert remarks(tone(seconds=0.6)) == ["cut to its centre, 0.5 s"]
    assert remarks(np.zeros(100)) == ["silent"]
    assert remarks(np.clip(3 * tone(), -1, 1)) == ["clipped: recorded too loud"]


def test_a_loud_sound_is_not_clipped_and_a_limited_one_is():
    loud = tone(440, amplitude=1.0)
    assert not is_clipped(loud)
    assert is_clipped(np.clip(1.2 * loud, -1, 1))
    assert is_clipped(np.clip(1.2 * loud, -0.95, 2))  # at the bottom only, below the converter's limit
    assert not is_clipped(np.clip(loud, -0.4, 0.4))  # a square wave that is soft was meant so


# the spectrogram


def log_mel(waves: np.ndarray | torch.Tensor, *, rate: int = RATE, mels: int = 40) -> torch.Tensor:
    return LogMel(rate, mels, window=0.025, hop=0.01)(torch.as_tensor(waves).reshape(-1, np.shape(waves)[-1]))


@pytest.mark.parametrize(("rate", "num_bins", "num_mels"), [(16_000, 512, 64), (8000, 256, 40), (44_100, 2048, 128)])
def test_the_mel_bands_are_those_of_a_reference_library(rate, num_bins, num_mels):
    reference = pytest.importorskip("transformers.audio_utils").mel_filter_bank(
        num_bins // 2 + 1, num_mels, 20.0, rate / 2, rate, norm=None, mel_scale="htk"
    )
    np.testing.assert_allclose(mel_bank(rate, num_bins, num_mels), reference, atol=1e-9)


def test_the_power_is_that_of_a_reference_library():
    sound = np.random.default_rng(0).uniform(-1, 1, 4000)
    taper = signal.get_window("hann", 400)
    padded = np.pad(sound, 256)
    at = [padded[256 + 160 * i - 200 : 256 + 160 * i + 200] * taper for i in range(26)]
    power = np.abs(np.fft.rfft(np.stack(at), 512)) ** 2 * 4 / taper.sum() ** 2
    expected = 10 * np.log10(power @ mel_bank(RATE, 512, 40))
    np.testing.assert_allclose(log_mel(sound)[0].T, expected, atol=2e-3)


def test_a_tone_is_loud_in_its_own_band_and_half_as_strong_is_six_decibels_less():
    centres = 700 * (10 ** (np.linspace(*[2595 * np.log10(1 + f / 700) for f in (20, 8000)], 42)[1:-1] / 2595) - 1)
    for band in (5, 20, 35):
        full = log_mel(tone(centres[band], amplitude=1.0))[0, :, 12]
        assert int(full.argmax()) == band
        half = log_mel(tone(centres[band], amplitude=0.5))[0, :, 12]
        assert float(full[band] - half[band]) == pytest.approx(6.0206, abs=1e-3)
        assert -3 < float(full[band]) < 3


def test_silence_is_the_floor():
    assert torch.equal(log_mel(np.zeros(800, np.float32)), torch.full((1, 40, 6), FLOOR))


def fitted(values, **options) -> AudioModality:
    options = {"sample_rate": RATE, "mels": 40, **options}
    return AudioModality(AudioModality({}, **options).fit(values), **options)


def sounds(num: int = 6) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [
        (tone(200 + 300 * i, seconds=0.1 + 0.05 * i) + 0.05 * random.standard_normal(1600 + 800 * i)).astype(np.float32)
        for i in range(num)
    ]


def test_every_band_is_normalised_by_what_was_fitted():
    values = sounds()
    modality = fitted(values)
    assert not modality.wants_fit
    assert modality.num_channels == 40
    preprocessor = modality.preprocessor(InputSpec()).eval()
    frames = torch.cat([preprocessor(modality.to_tensor(value)[None])[0, 0] for value in values], 1)
    torch.testing.assert_close(frames.mean(1), torch.zeros(40), atol=1e-3, rtol=0)
    torch.testing.assert_close(frames.std(1, correction=0), torch.ones(40), atol=1e-3, rtol=0)


def test_bands_that_never_change_stay_finite():
    modality = fitted([np.zeros(800, np.float32)])
    ready = modality.preprocessor(InputSpec()).eval()(torch.zeros(1, 800))
    assert torch.equal(ready, torch.zeros(1, 1, 40, 6))
    assert AudioModality({}, mels=40).fit([])["std"] == [1.0] * 40


@pytest.mark.parametrize("length", [1, 159, 160, 161, 3999])
def test_what_follows_a_row_changes_none_of_its_frames(length):
    modality = fitted(sounds())
    preprocessor = modality.preprocessor(InputSpec()).eval()
    row = torch.from_numpy(tone(seconds=0.25)[:length].copy())
    (num_frames,) = preprocessor.lengths(torch.tensor([length])).tolist()
    alone = preprocessor(row[None])
    assert alone.shape == (1, 1, 40, num_frames)
    padded = preprocessor(torch.nn.functional.pad(row, (0, 4000 - length))[None])
    torch.testing.assert_close(padded[..., :num_frames], alone, rtol=0, atol=1e-5)


def test_gain_and_masks_are_drawn_in_training_alone_for_each_row():
    modality = fitted(sounds(), gain=6.0, time_mask=0.3, frequency_mask=0.2)
    preprocessor = modality.preprocessor(InputSpec())
    waves = torch.from_numpy(np.stack([tone(1000)] * 2))
    plain = fitted(sounds()).preprocessor(InputSpec())(waves)
    assert torch.equal(preprocessor.eval()(waves), plain)
    torch.manual_seed(0)
    first = preprocessor.train()(waves)
    assert not torch.equal(first[0], first[1])
    torch.manual_seed(0)
    assert torch.equal(first, preprocessor(waves))


def test_gain_shifts_every_band_by_one_number():
    modality = fitted(sounds(), gain=6.0)
    waves = torch.from_numpy(sounds()[0])[None]
    torch.manual_seed(0)
    louder = modality.preprocessor(InputSpec()).train()(waves)
    plain = modality.preprocessor(InputSpec()).eval()(waves)
    std = torch.tensor(modality.facts["std"]).view(1, 1, -1, 1)
    shift = ((louder - plain) * std).flatten()
    assert shift.abs().max() <= 6
    torch.testing.assert_close(shift, shift.mean().expand_as(shift), atol=1e-2, rtol=0)


@pytest.mark.parametrize("option", ["time_mask", "frequency_mask"])
def test_masks_are_whole_stretches_no_wider_than_allowed_and_hide_all_places_equally(option):
    modality = fitted(sounds(), masks=1, **{option: 0.25})
    preprocessor = modality.preprocessor(InputSpec()).train()
    waves = torch.from_numpy(np.stack([tone(440, seconds=0.39)] * 400))
    torch.manual_seed(0)
    hidden = preprocessor(waves).squeeze(1) == 0  # (400, 40, 40)
    other = 1 if option == "time_mask" else 2
    assert torch.equal(hidden.all(other), hidden.any(other))
    lines = hidden.all(other)  # (400, 40)
    assert int(lines.sum(1).max()) <= 10
    starts = (lines[:, 1:] & ~lines[:, :-1]).sum(1) + lines[:, 0]
    assert int(starts.max()) == 1
    shares = lines.float().mean(0)
    assert float(shares.max() - shares.min()) < 0.1
    assert 0.05 < float(shares.mean()) < 0.15  # half of a quarter, a little less as a mask may reach over the end


def test_spectra_are_computed_in_full_precision_under_autocast():
    modality = fitted(sounds())
    preprocessor = modality.preprocessor(InputSpec()).eval()
    waves = torch.from_numpy(sounds()[0])[None]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(preprocessor(waves), preprocessor(waves))
        low = preprocessor(waves)
    assert torch.equal(low, preprocessor(waves))


def test_it_is_drawn_with_high_notes_at_the_top():
    modality = fitted(sounds())
    rows = [np.asarray(modality.draw(tone(f))).sum((1, 2)).argmax() for f in (300, 1000, 4000)]
    assert rows[0] > rows[1] > rows[2]
    assert np.asarray(modality.draw(np.zeros(1, np.float32))).max() < 16  # silence is black


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"mels": 200, "window": 0.01}, "mel bands are narrower"),
        ({"hop": 1e-6}, "at least 2 and 1"),
        ({"window": 1e-6}, "at least 2 and 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        AudioModality({}, **options)


def test_real_recordings_are_read_as_they_are(shared):
    files = sorted((shared / "data" / "digits" / "recordings").glob("*_0.wav"))[:5] or sorted(
        (shared / "data" / "digits" / "recordings").glob("*_5.wav")
    )
    for path in files:
        with wave.open(str(path)) as file:
            expected = np.frombuffer(file.readframes(file.getnframes()), np.int16) / 2**15
        np.testing.assert_allclose(read(path, sample_rate=8000), expected, atol=1e-7)
