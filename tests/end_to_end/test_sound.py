"""Sound from end to end: from files and from the built-in scenes, trained, evaluated, and asked with parts missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import weft
from tests.data.test_formats_digits import write_tree
from tests.modalities.test_audio import SOUNDS, tone, write_wav
from weft import Predictor, load_experiment
from weft.cli import run as command_line
from weft.data.inspect import inspect
from weft.data.pipeline import build_data
from weft.errors import DataFault

TINY = {"type": "conv_rnn", "channels": [4], "hidden": 6}
TRAIN = {"epochs": 1, "batch_size": 8, "device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained for two steps on digits seen and heard, and evaluated."""
    folder = tmp_path_factory.mktemp("digits")
    content = {
        "name": "digits",
        "data": {"format": "digits", "root": str(write_tree(folder / "tree")), "limit": 16, "workers": 0},
        "modalities": {
            "image": {"channels": 1, "encoder": {"type": "timm", "name": "test_resnet"}},
            "audio": {"mels": 20, "time_mask": 0.2, "encoder": TINY},
        },
        "fusion": "concat",
        "tasks": {"digit": {"type": "classification"}},
        "train": {**TRAIN, "output": str(folder / "runs")},
    }
    run = weft.train(load_experiment(content), progress=False)
    weft.evaluate(run, progress=False, num_pictures=2)
    return run


def test_every_subset_is_scored_and_the_report_shows_the_sound(digits: Path) -> None:
    result = json.loads((digits / "evaluation" / "test" / "evaluation.json").read_text())
    assert list(result["tasks"]["digit"]["subsets"]) == ["image+audio", "image", "audio"]
    assert all((digits / "evaluation" / "test" / one["inputs"]["audio"]).is_file() for one in result["pictures"])
    assert weft.write_report(digits).is_file()


def test_the_predictor_takes_a_file_or_an_array_and_needs_only_one_of_the_inputs(digits: Path) -> None:
    predictor = Predictor(digits)
    picture = np.zeros((28, 28), np.uint8)
    of_file = predictor(audio=SOUNDS / "tone.flac")["digit"]
    of_array = predictor(audio=tone(rate=8000))["digit"]  # arrays are at the rate of the data
    assert of_file is not None
    assert of_array is not None
    np.testing.assert_allclose(of_file, of_array, atol=0.05)  # 16 kHz, brought to 8
    both = predictor(audio=str(SOUNDS / "tone.flac"), image=picture)["digit"]
    assert both is not None
    assert both.shape == (10,)
    assert both.sum() == pytest.approx(1, abs=1e-5)
    assert not np.allclose(both, of_file)


def test_the_predictor_refuses_a_broken_sound(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.flac").write_bytes((SOUNDS / "tone.flac").read_bytes()[:1500])
    with pytest.raises(DataFault, match="cut off") as caught:
        Predictor(digits)(audio=tmp_path / "cut.flac")
    assert caught.value.code == "truncated-sound"


def test_the_command_line_takes_a_sound(digits: Path, tmp_path: Path) -> None:
    words = ["predict", str(digits), "--audio", str(SOUNDS / "tone.ogg"), "--out", str(tmp_path / "answers")]
    assert command_line(words) == 0
    (answers,) = (tmp_path / "answers").rglob("*.csv")
    assert answers.read_text().count("\n") == 2
    assert command_line(["predict", str(digits), "--audio", str(tmp_path / "nowhere.ogg")]) == 2


def test_the_scenes_can_be_listened_to(tmp_path: Path) -> None:
    content = {
        "name": "scenes_sound",
        "data": {
            "format": "scenes",
            "resolution": [48, 48],
            "num_train": 16,
            "num_val": 4,
            "num_test": 6,
            "missing": {"audio": 0.3},
            "augment": {"flip": 0.5, "crop": [40, 40]},
            "workers": 0,
        },
        "modalities": {
            "image": {"encoder": {"type": "timm", "name": "test_resnet"}},
            "audio": {
                "dropout": 0.2,
                "encoder": {"type": "spectrogram", "name": "test_efficientnet", "segment": 64, "output_stride": 16},
            },
        },
        "fusion": "gated",
        "tasks": {"heating": {"type": "classification"}, "label": {"type": "segmentation", "decoder": "unet"}},
        "train": {**TRAIN, "output": str(tmp_path / "runs")},
    }
    run = weft.train(load_experiment(content), progress=False)
    result = weft.evaluate(run, quick=True, progress=False)
    assert set(result["tasks"]) == {"heating", "label"}
    facts = json.loads((run / "facts.json").read_text())["modalities"]["audio"]
    assert facts["sample_rate"] == 8000
    assert len(facts["mean"]) == 64


def test_what_was_done_to_sounds_is_counted_in_training_and_by_weft_data(tmp_path: Path) -> None:
    rows = ["id,split,sound,label"]
    for number in range(6):
        samples = np.zeros(800) if number == 0 else tone(seconds=0.3 if number < 3 else 0.1, rate=8000)
        write_wav(tmp_path / f"{number}.wav", samples, rate=8000)
        rows.append(f"{number},{'test' if number == 5 else 'train'},{number}.wav,{'ab'[number % 2]}")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    columns = {"sound": {"kind": "audio"}, "label": {"kind": "class"}}
    experiment = load_experiment(
        {
            "name": "heard",
            "data": {
                "format": "table",
                "root": str(tmp_path),
                "file": "table.csv",
                "columns": columns,
                "validation": {"fraction": 0.4},
                "workers": 0,
            },
            "modalities": {"sound": {"type": "audio", "seconds": 0.2, "encoder": TINY}},
            "tasks": {"label": {"type": "classification"}},
            "train": TRAIN,
        }
    )
    notes = "\n".join(build_data(experiment).notes)
    assert "sound: 3 of 3 training samples looked at: resampled from 8000 to 16000 Hz" in notes
    found = inspect(experiment, tmp_path / "page")
    assert found.ok
    said = "\n".join(found.notes)
    assert "sound: 6 of 6: resampled from 8000 to 16000 Hz" in said
    assert "sound: 2 of 6: cut to its centre, 0.2 s" in said
    assert "sound: 1 of 6: silent" in said
    assert " long" in str(found)
