"""Video transformers of the transformers library: the same numbers as there, window by window."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import weft
from tests.encoders.tiny_video_transformer import SIDE, WINDOW, Kind, tiny_video
from weft.encoders.huggingface_video import HuggingFaceVideoEncoder
from weft.encoders.windows import at_size
from weft.errors import WeftError
from weft.types import Features


def build(folder: Path, **options: object) -> HuggingFaceVideoEncoder:
    facts = HuggingFaceVideoEncoder.brings({"weights": str(folder)})
    return HuggingFaceVideoEncoder(3, True, facts, weights=str(folder), **options).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "num_steps"), [("videomae", 2), ("vivit", 2), ("timesformer", 4)])
def test_tokens_are_the_library_s_step_by_step(kind: Kind, num_steps: int) -> None:
    from transformers import AutoModel

    theirs = AutoModel.from_pretrained(tiny_video(kind)).eval()
    clip = torch.randn(2, WINDOW, 3, SIDE, SIDE)
    with torch.no_grad():
        expected = theirs(pixel_values=clip).last_hidden_state
        features = build(tiny_video(kind))(clip)
    places = expected if kind == "videomae" else expected[:, 1:]
    num_places = (SIDE // 8) ** 2
    assert features.tokens.shape == (2, num_steps, 12)
    for step in range(num_steps):
        # TimeSformer's tokens go place by place, the others' step by step
        own = places[:, step::num_steps] if kind == "timesformer" else places[:, step * num_places :][:, :num_places]
        torch.testing.assert_close(features.tokens[:, step], own.mean(1), rtol=1e-4, atol=1e-5)
    if kind != "videomae":
        with torch.no_grad():
            summary = build(tiny_video(kind), pooling="cls")(clip).pooled
        torch.testing.assert_close(summary, expected[:, 0], rtol=1e-4, atol=1e-5)


def test_timesformer_s_tokens_go_place_by_place() -> None:
    """Where only the first frame is anything, its own token stands out from those of the frames that are alike."""
    clip = torch.zeros(1, WINDOW, 3, SIDE, SIDE)
    still = clip.clone()
    still[:, 0] = 3
    encoder = build(tiny_video("timesformer"))
    with torch.no_grad():
        moved = (encoder(still).tokens - encoder(clip).tokens).norm(dim=2)[0]
    assert moved.argmax() == 0


def test_windows_are_seen_by_themselves_at_the_network_s_size() -> None:
    clip = torch.randn(1, WINDOW + 3, 3, 20, 30)
    encoder = build(tiny_video("vivit"), pooling="cls")
    small = at_size(clip, (SIDE, SIDE))
    with torch.no_grad():
        features = encoder(clip)
        first, last = encoder(small[:, :WINDOW]), encoder(small[:, [4, 5, 6, 6]])
    assert features.mask.tolist() == [[True] * 4]  # tubelets of two frames: the last three are two
    torch.testing.assert_close(features.tokens, torch.cat([first.tokens, last.tokens], 1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(features.pooled, (4 * first.pooled + 3 * last.pooled) / 7, rtol=1e-4, atol=1e-5)
    assert encoder.notes == ("vivit sees every frame at 16 x 16 pixels, whatever its shape",)


def test_frames_are_normalised_as_the_library_s_own_preprocessing_does() -> None:
    from transformers import VivitImageProcessor

    frame = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    theirs = VivitImageProcessor(do_resize=False, do_center_crop=False)([frame], return_tensors="np")["pixel_values"]
    spec = build(tiny_video("vivit")).input_spec
    mine = (frame / 255 - np.array(spec.mean)) / np.array(spec.std)
    np.testing.assert_allclose(mine.transpose(2, 0, 1), np.asarray(theirs).reshape(3, SIDE, SIDE), atol=1e-5)


def test_without_a_word_on_normalising_it_is_fitted_and_said(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_video("videomae"), tmp_path / "network"))
    (folder / "preprocessor_config.json").unlink()
    encoder = build(folder)
    assert (encoder.input_spec.mean, encoder.input_spec.std) == (None, None)
    assert "without preprocessor_config.json" in encoder.notes[-1]
    assert build(folder, mean=(0.4,) * 3, std=(0.2,) * 3).input_spec.mean == (0.4, 0.4, 0.4)


def test_a_run_needs_the_folder_no_more() -> None:
    facts = json.loads(json.dumps(HuggingFaceVideoEncoder.brings({"weights": str(tiny_video("vivit"))})))
    again = HuggingFaceVideoEncoder(3, False, facts, weights="gone")
    again.load_state_dict(build(tiny_video("vivit")).state_dict())
    clip = torch.randn(1, WINDOW, 3, SIDE, SIDE)
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(clip).tokens, build(tiny_video("vivit"))(clip).tokens)


def test_what_cannot_be_used_is_refused_with_what_to_do(tmp_path: Path) -> None:
    from tests.encoders.tiny_transformer import tiny_bert

    with pytest.raises(WeftError, match=r"the network is a bert; encoder huggingface_video takes videomae"):
        HuggingFaceVideoEncoder.brings({"weights": str(tiny_bert())})
    with pytest.raises(ValueError, match="videomae has no class token; choose pooling: mean"):
        build(tiny_video("videomae"), pooling="cls")
    with pytest.raises(WeftError, match="encoder huggingface_video: give `name` of the hub or `weights: FOLDER`"):
        HuggingFaceVideoEncoder.brings({})
    with pytest.raises(WeftError, match="nowhere of encoder huggingface_video is not there"):
        HuggingFaceVideoEncoder.brings({"weights": str(tmp_path / "nowhere")})
    facts = HuggingFaceVideoEncoder.brings({"weights": str(tiny_video("vivit"))})
    with pytest.raises(ValueError, match="takes frames of 3 channels, and these have 2"):
        HuggingFaceVideoEncoder(2, True, facts, weights=str(tiny_video("vivit")))


def test_without_a_network_the_hub_is_not_reached_and_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoConfig

    def refuse(*_: object, **__: object) -> None:
        raise OSError("We couldn't connect to the hub")

    monkeypatch.setattr(AutoConfig, "from_pretrained", refuse)
    with pytest.raises(WeftError, match=r"could not be fetched.*write `weights: FOLDER`") as caught:
        HuggingFaceVideoEncoder.brings({"name": "nobody/no-such-video-network"})
    assert caught.value.code == "no-network"


def test_what_a_frozen_network_gives_is_kept_over_the_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    for clip in range(4):
        (tmp_path / str(clip)).mkdir()
        for frame in range(3 + clip):
            picture = Image.fromarray(random.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8))
            picture.save(tmp_path / str(clip) / f"{frame}.png")
    rows = [f"{clip},{'train' if clip < 3 else 'val'},{clip},{'ab'[clip % 2]}" for clip in range(4)]
    (tmp_path / "clips.csv").write_text("\n".join(["id,split,clip,label", *rows]))
    seen: list[int] = []
    extract = HuggingFaceVideoEncoder.extract

    def counted(encoder: HuggingFaceVideoEncoder, inputs: Tensor, lengths: Tensor | None = None) -> Features:
        seen.append(len(inputs))
        return extract(encoder, inputs, lengths)

    monkeypatch.setattr(HuggingFaceVideoEncoder, "extract", counted)
    encoder = {"type": "huggingface_video", "weights": str(tiny_video("videomae")), "freeze": True}
    content = {
        "name": "clips",
        "data": {"format": "table", "root": str(tmp_path), "file": "clips.csv", "size": [SIDE, SIDE], "workers": 0},
        "modalities": {"clip": {"type": "video", "encoder": encoder}},
        "tasks": {"label": {"type": "classification"}},
        "train": {"epochs": 3, "batch_size": 3, "precision": "fp32", "device": "cpu", "output": str(tmp_path / "runs")},
    }
    run = weft.train(weft.load_experiment(content), progress=False)
    assert sum(seen) == 4
    assert weft.Predictor(run)(clip=str(tmp_path / "3"))["label"] is not None
