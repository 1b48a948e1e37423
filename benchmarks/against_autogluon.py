"""Posts of a sentence and a picture: validation accuracy by the clock, weft beside AutoGluon's MultiModalPredictor.

Both train on the given part of MVSA-Single and look at the given validation part, from the same two local backbones,
each in a process of its own that starts cold; the clock runs from the start of the process. AutoGluon has its own
defaults but for the length of its texts (128, as here) and its time limit. It lives in an environment of its own
(`pip install autogluon.multimodal "setuptools<81"`), whose interpreter is `--python`. Its picture network takes the
same weights but knows no `same` padding.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

Curve = list[tuple[float, float]]

ACCURACY = {
    "weft": re.compile(r"val: .*label/accuracy ([0-9.]+)"),
    "autogluon": re.compile(r"'val_accuracy' reached ([0-9.]+)"),
}


def follow(kind: str, command: list[str], log: Path) -> Curve:
    """(seconds since the start, validation accuracy) of every time that the command tells one that it keeps."""
    start, curve = time.perf_counter(), []
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process,
    ):
        for line in process.stdout or ():
            file.write(line)
            if found := ACCURACY[kind].search(line):
                curve.append((time.perf_counter() - start, float(found[1])))
    if process.returncode or not curve:
        raise SystemExit(f"{command[0]} failed: see {log}")
    return curve


def weft_command(config: str, arguments: argparse.Namespace, folder: Path) -> list[str]:
    changes = [
        f"data.root={arguments.mvsa}",
        f"train.output={folder}",
        f"train.features={{where: disk, folder: {folder}/features}}",
        "modalities.text.encoder.name=null",
        f"modalities.text.encoder.weights={arguments.text}",
        "modalities.image.encoder.pretrained=false",
        f"modalities.image.encoder.weights={arguments.image}",
        "modalities.image.encoder.padding=same",
        "modalities.image.encoder.mean=[0.5,0.5,0.5]",
        "modalities.image.encoder.std=[0.5,0.5,0.5]",
    ]
    file = Path(__file__).parents[1] / "configs" / f"{config}.yaml"
    return [str(Path(sys.executable).with_name("weft")), "train", str(file), *changes]


def autogluon_command(arguments: argparse.Namespace, folder: Path) -> list[str]:
    paths = [arguments.mvsa, arguments.text, arguments.image, folder]
    return [arguments.python, __file__, "--child", *map(str, paths), str(arguments.seconds)]


def train_with_autogluon(root: Path, text: Path, image: Path, folder: Path, seconds: float) -> None:
    """What the other interpreter runs: nothing of weft is imported here."""
    import pandas
    import safetensors.torch
    import timm
    import torch
    from autogluon.multimodal import MultiModalPredictor

    def part(name: str) -> pandas.DataFrame:
        rows = pandas.read_csv(root / f"ID-label-{name}.txt")
        texts = [(root / "data" / f"{post}.txt").read_text(encoding="utf-8") for post in rows["ID"]]
        images = [str(root / "data" / f"{post}.jpg") for post in rows["ID"]]
        return pandas.DataFrame({"text": texts, "image": images, "label": rows["label"]})

    backbone = folder / "mobilenetv2_100"
    backbone.mkdir(parents=True)
    network = timm.create_model("mobilenetv2_100", num_classes=0)
    network.load_state_dict(safetensors.torch.load_file(image), strict=False)
    torch.save(network.state_dict(), backbone / "pytorch_model.bin")
    config = {
        "architecture": "mobilenetv2_100",
        "num_features": network.num_features,
        "input_size": [3, 224, 224],
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
    }
    (backbone / "config.json").write_text(json.dumps(config))
    predictor = MultiModalPredictor(label="label", eval_metric="accuracy", path=str(folder / "model"))
    predictor.fit(
        part("train"),
        tuning_data=part("val"),
        time_limit=seconds,
        column_types={"text": "text", "image": "image_path", "label": "categorical"},
        hyperparameters={
            "model.names": ["timm_image", "hf_text", "fusion_mlp"],
            "model.timm_image.checkpoint_name": str(backbone),
            "model.hf_text.checkpoint_name": str(text),
            "model.hf_text.max_text_len": 128,
        },
    )


def best_by(curve: Curve, seconds: float) -> float | None:
    return max((accuracy for at, accuracy in curve if at <= seconds), default=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mvsa", type=Path, required=True, help="a folder of MVSA")
    parser.add_argument("--text", type=Path, required=True, help="a local folder of a Hugging Face network")
    parser.add_argument("--image", type=Path, required=True, help="a file of weights of MobileNetV2")
    parser.add_argument("--python", required=True, help="an interpreter that has autogluon.multimodal")
    parser.add_argument("--seconds", type=float, default=1200, help="AutoGluon's time limit")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    curves = {
        config: follow("weft", weft_command(config, arguments, folder), folder / f"{config}.log")
        for config in ("mvsa_concat", "mvsa_finetuned")
    }
    curves["AutoGluon"] = follow("autogluon", autogluon_command(arguments, folder / "autogluon"), folder / "ag.log")
    print(f"validation accuracy by the clock; logs in {folder}")
    goal = max(accuracy for _, accuracy in curves["AutoGluon"])
    for name, curve in curves.items():
        reached = next((at for at, accuracy in curve if accuracy >= goal), None)
        points = "  ".join(f"{at:.0f} s {accuracy:.4f}" for at, accuracy in curve)
        print(f"{name:15} best {max(a for _, a in curve):.4f}; AutoGluon's best {goal:.4f} ", end="")
        print(f"after {reached:.0f} s" if reached else "never reached", f"\n  {points}")
    for at in (30, 60, 120, 300, 600, 1200):
        line = "  ".join(f"{name} {accuracy:.4f}" for name, c in curves.items() if (accuracy := best_by(c, at)))
        print(f"within {at:5} s: {line}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        mvsa, text_weights, image_weights, output, limit = sys.argv[2:]
        train_with_autogluon(Path(mvsa), Path(text_weights), Path(image_weights), Path(output), float(limit))
    else:
        main()
