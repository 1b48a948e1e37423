"""Video files: every frame is the one that was asked for, and what is not whole is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.data.tiny_videos import encode, numbers_of
from weft.data import soundtrack
from weft.data.audiofile import open_sound
from weft.data.videofile import VideoFile, open_video
from weft.modalities.audio import AudioModality
from weft.modalities.base import BadCell
from weft.modalities.video import VideoModality

#: Around key frames (0, 12, 24), forwards, twice, and the last.
PLACES = [0, 0, 5, 11, 12, 13, 25, 29]


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mov", "mpeg4"), ("a.webm", "libvpx"), ("a.avi", "mpeg4"), ("b.avi", "libx264")],
)
def test_every_container_gives_the_frames_that_are_asked_for(tmp_path, name, codec):
    found = open_video(encode(tmp_path / name, codec=codec))
    np.testing.assert_allclose(found.timeline.times, np.arange(30) / 10, atol=1e-3)
    assert found.timeline.end == pytest.approx(3, abs=1e-3)
    assert numbers_of(found.frames(PLACES)) == PLACES
    assert numbers_of(found.frames([28])) == [28]


def test_a_rate_that_varies_is_kept_and_remarked(tmp_path):
    milliseconds = np.cumsum([0, *[40, 10, 100] * 10])[:30].tolist()
    path = encode(tmp_path / "a.mp4", milliseconds=milliseconds)
    found = open_video(path)
    np.testing.assert_allclose(found.timeline.times * 1000, np.array(milliseconds), atol=1)
    assert numbers_of(found.frames(PLACES)) == PLACES
    assert "its frames are shown for unequal times" in VideoModality({}).remarks(path, lambda cell: cell)


def test_an_hour_is_not_decoded_for_a_few_frames(tmp_path, monkeypatch):
    path = encode(tmp_path / "hour.mp4", num=3600, rate=1, codec="mpeg4", size=(16, 16))
    decoded = 0
    walk = VideoFile._from

    def counted(self, *given):
        nonlocal decoded
        for one in walk(self, *given):
            decoded += 1
            yield one

    monkeypatch.setattr(VideoFile, "_from", counted)
    places = [450, 1350, 2250, 3150]
    assert numbers_of(open_video(path).frames(places)) == [place % 30 for place in places]
    assert decoded <= 4 * 12  # from the key frame before each


@pytest.mark.parametrize(("matrix", "turn"), [((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)])
def test_a_turned_phone_video_is_upright(tmp_path, matrix, turn):
    path = encode(tmp_path / "a.mp4", num=2)
    plain = next(iter(open_video(path).frames([1])))
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4 + 40  # version and flags, times, identity, size, layer, volume
    for index, value in zip((0, 1, 3, 4), matrix, strict=True):
        content[place + 4 * index : place + 4 * index + 4] = (value * 65536).to_bytes(4, "big", signed=True)
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(content)
    upright = next(iter(open_video(turned).frames([1])))
    assert upright.shape == np.rot90(plain, turn).shape
    np.testing.assert_array_equal(upright, np.rot90(plain, turn))


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.avi"])
def test_a_file_that_is_cut_off_is_refused(tmp_path, name):
    codec = {"a.mp4": "libx264", "a.webm": "libvpx", "a.avi": "mpeg4"}[name]
    options = {"movflags": "faststart"} if name == "a.mp4" else None
    content = encode(tmp_path / name, codec=codec, size=(96, 96), options=options).read_bytes()
    for share in (0.3, 0.6, 0.8):
        cut = tmp_path / f"{share}-{name}"
        cut.write_bytes(content[: int(share * len(content))])
        with pytest.raises(BadCell) as fault:
            list(open_video(cut).frames([0]))
        assert fault.value.code == "truncated-video"
        assert str(cut) in str(fault.value)


def refused(path: Path) -> str:
    with pytest.raises(BadCell) as fault:
        open_video(path)
    return fault.value.code


def test_what_is_no_video_is_refused(tmp_path):
    for name, content, code in [
        ("empty.mp4", b"", "empty-file"),
        ("page.mp4", b"<!doctype html><p>moved", "not-a-video"),
        ("notes.avi", b"these are notes", "not-a-video"),
        ("list.mp4", b"#EXTM3U\nhttp://example.org/a.ts", "not-a-video"),  # a playlist would open what it names
    ]:
        path = tmp_path / name
        path.write_bytes(content)
        assert refused(path) == code
    assert refused(tmp_path / "none.mp4") == "missing-file"
    assert refused(encode(tmp_path / "sound.mp4", pictures=False, sound=True)) == "no-video"


def test_too_many_pixels_are_refused_before_decoding(tmp_path, monkeypatch):
    path = encode(tmp_path / "a.mp4", num=4)
    monkeypatch.setattr(VideoFile, "frames", lambda *given: pytest.fail("a frame was decoded"))
    field = VideoModality({}, max_pixels=4 * 32 * 48 - 1)
    with pytest.raises(BadCell, match=r"4 frames of 48x32.*data\.frames\.count"):
        field.read(path, lambda cell: cell)


def test_grey_frames_by_the_rule_of_pictures(tmp_path):
    path = encode(tmp_path / "a.mp4", num=4)
    assert VideoModality({}, channels=1).read(path, lambda cell: cell).shape == (4, 32, 48, 1)


def test_the_sound_of_a_video_and_of_its_parts(tmp_path):
    path = encode(tmp_path / "a.mp4", sound=True)
    whole = open_sound(path, sample_rate=1)
    assert whole.sample_rate == 48000
    assert len(whole.samples) == pytest.approx(3 * 48000, abs=2048)  # the last packet is filled up
    field = AudioModality({})
    for cell, seconds in [("a.mp4", 3.0), ("a.mp4#t=1,1.5", 0.5), ("a.mp4#frames=5:15", 1.0)]:
        wave = field.read(cell, lambda _: path)
        assert len(wave) == pytest.approx(16000 * seconds, abs=700)
        spectrum = np.abs(np.fft.rfft(wave))
        assert spectrum.argmax() * 16000 / len(wave) == pytest.approx(440, abs=3)
    with pytest.raises(BadCell, match="has no sound"):
        open_sound(encode(tmp_path / "mute.mp4", num=4), sample_rate=1)
    with pytest.raises(BadCell, match="at most 1,000 samples"):
        open_sound(path, sample_rate=1, max_samples=1000)


@pytest.mark.parametrize(("name", "off"), [("a.mp4", 5), ("a.webm", 400)])  # the latter tells time in milliseconds
@pytest.mark.parametrize("cut", ["centre", "start"])
def test_of_a_long_sound_only_the_seconds_that_are_kept_are_decoded(tmp_path, monkeypatch, name, off, cut):
    path = encode(tmp_path / name, num=80, codec="libvpx" if name == "a.webm" else "libx264", sound=True)
    whole = AudioModality({}, sample_rate=48000).read(name, lambda _: path)
    decoded, decode = [], soundtrack._decoded

    def watched(*given, **more):
        decoded.append(decode(*given, **more))
        return decoded[-1]

    monkeypatch.setattr(soundtrack, "_decoded", watched)
    field = AudioModality({}, sample_rate=48000, seconds=0.5, cut=cut, max_samples=48000)
    wave = field.read(name, lambda _: path)
    assert len(wave) == 24000
    start = (len(whole) - len(wave)) // 2 if cut == "centre" else 0
    near = [
        np.abs(wave - whole[start + shift :][: len(wave)]).max() for shift in range(-off, off) if start + shift >= 0
    ]
    assert min(near) < 0.02  # of a tone of 0.5
    assert len(decoded[0][1]) < 1.1 * 48000
    assert "cut to its" in field.remarks(name, lambda _: path)[-1]


def test_a_sound_that_ends_before_the_seconds_that_are_kept_is_cut_off(tmp_path, monkeypatch):
    path = encode(tmp_path / "a.mp4", num=80, sound=True)
    monkeypatch.setattr(soundtrack, "_decoded", lambda *_, **more: (0, np.zeros((48000, 1), np.float32)))
    with pytest.raises(BadCell, match="cut off"):
        AudioModality({}, seconds=0.5).read("a.mp4", lambda _: path)
