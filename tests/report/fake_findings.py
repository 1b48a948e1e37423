"""What an evaluation finds besides figures, invented: shares, agreement, reliability, texts, rows, and attention."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.report.fake_run import (
    EVIL,
    SCENES,
    STRENGTH,
    make_records,
    make_run,
    save_records,
    scene_pictures,
    subsets_of,
    task_entry,
)

#: Modalities without pixels, and what they bring.
STRENGTH.update({"note": 0.25, "columns": 0.15, "sound": 0.2})
TEXT = (
    f"a red sofa stands left of the window {EVIL} =HYPERLINK(1) & the floor is wet , so walk ##ing is danger ##ous "
    "客厅里有一张红色的沙发 🛋️ "
)
ROW = [["area", "2 300"], ["bedrooms", "4"], ["zip code", "93510"], [EVIL, "missing"]]


def make_found_run(folder: Path, *, modalities: tuple[str, ...] = ("image", "note", "columns"), **options: Any) -> Path:
    """A run of `make_run` with one classification task, whose evaluation found all there is to find."""
    pixels = [m for m in modalities if m in ("image", "depth", "thermal")]
    run = make_run(folder, modalities=pixels, tasks=("scene",), **options)
    path = run / "evaluation/test/evaluation.json"
    evaluation = json.loads(path.read_text())
    _with_modalities(evaluation, run, modalities)
    random = np.random.default_rng(5)
    evaluation["fusion"] = fusion(modalities)
    evaluation["notes"] = [f"note: 12 of 60 test texts (20.0 %) are cut at 512 tokens {EVIL}"]
    task = evaluation["tasks"]["scene"]
    task["decision"] = dict(zip(("fused", *modalities), random.dirichlet(np.ones(len(modalities) + 1)), strict=True))
    task["shares"] = parts(modalities)
    task["reliability"] = reliability()
    task["agreement"] = agreement(modalities, [picture["id"] for picture in evaluation["pictures"]])
    for picture in evaluation["pictures"]:
        _texts(picture, run, modalities)
    path.write_text(json.dumps(evaluation))
    return run


def _with_modalities(evaluation: dict[str, Any], run: Path, modalities: tuple[str, ...]) -> None:
    """The figures of every subset as if all modalities had been there."""
    number = evaluation["samples"]
    records = {key: make_records("scene", key, num_samples=number, skill=0, seed=0) for key in subsets_of(modalities)}
    for key, one in records.items():
        save_records(run / "evaluation/test/records" / f"scene__{key}.npz", one)
    corruptions = evaluation["tasks"]["scene"]["corruptions"]
    evaluation["tasks"]["scene"] = task_entry("scene", records, modalities) | {"corruptions": corruptions}
    evaluation["modalities"], evaluation["full"] = list(modalities), "+".join(modalities)


def fusion(modalities: tuple[str, ...]) -> dict[str, Any]:
    random = np.random.default_rng(1)
    levels = {}
    for level in ("stride 8", "stride 16", "share"):
        means = random.dirichlet(np.full(len(modalities), 3.0))
        levels[level] = {
            m: {"count": 60 - 2 * place, "mean": mean, "low": mean / 2, "high": min(1.0, 1.5 * mean)}
            for place, (m, mean) in enumerate(zip(modalities, means, strict=True))
        }
    return {"sums_to_one": True, "levels": levels}


def parts(modalities: tuple[str, ...]) -> list[dict[str, Any]]:
    random = np.random.default_rng(2)
    named = [("answers", "right", 41), ("answers", "wrong", 19), *(("class", name, 12) for name in SCENES)]
    return [
        {
            "kind": kind,
            "name": name,
            "count": count,
            "modalities": dict(zip(modalities, random.dirichlet(np.full(len(modalities), 4.0)), strict=True)),
        }
        for kind, name, count in named
    ]


def reliability() -> dict[str, list[float]]:
    """Answers that come true less often than they say."""
    count = [0, 0, 0, 2, 4, 6, 5, 4, 6, 5, 7, 6, 5, 4, 6]
    said = [(place + 0.5) / 15 * n for place, n in enumerate(count)]
    return {"count": count, "confidence": said, "true": [round(0.8 * one) for one in said]}


def agreement(modalities: tuple[str, ...], ids: list[str]) -> dict[str, Any]:
    rows = [{"which": "none", "modality": None, "right": 4, "wrong": 9}]
    rows += [{"which": "only", "modality": m, "right": 3 + place, "wrong": 2} for place, m in enumerate(modalities)]
    rows += [{"which": "several", "modality": None, "right": 9, "wrong": 1}] if len(modalities) > 2 else []
    rows.append({"which": "all", "modality": None, "right": 20, "wrong": 1})
    together, wrong = (sum(row[key] for row in rows) for key in ("right", "wrong"))
    kinds: list[tuple[str, str | None]] = [*(("only", m) for m in modalities), ("together", None), ("none", None)]
    examples = [{"kind": kind, "modality": m, "ids": [ids[place % len(ids)]]} for place, (kind, m) in enumerate(kinds)]
    return {
        "count": together + wrong,
        "together": together,
        "any_alone": together + wrong - 13,
        "rows": rows,
        "examples": examples,
    }


def _texts(picture: dict[str, Any], run: Path, modalities: tuple[str, ...]) -> None:
    """Texts and rows beside the pictures, attention on all of them, and the answers from each alone."""
    random = np.random.default_rng(3)
    words = TEXT.split()
    weights = random.dirichlet(np.full(len(words), 0.3)) * 0.5
    picture["texts"] = {"note": [["", TEXT * 30]], "columns": ROW}
    picture["texts"] = {m: lines for m, lines in picture["texts"].items() if m in modalities}
    name = f"pictures/{picture['id']}-looked.png"
    scene_pictures(1)[4].save(run / "evaluation/test" / name)
    looked: dict[str, Any] = {
        "image": {"what": "attention", "share": 0.3, "words": [], "picture": name},
        "depth": {"what": "stride 8", "share": 0.3, "words": [], "picture": name},
        "note": {"what": "attention", "share": 0.5, "words": list(zip(words, weights, strict=True)), "picture": None},
        "columns": {
            "what": "attention",
            "share": 0.2,
            "words": [[ROW[0][0], 0.02], [ROW[1][0], 0.1], [ROW[2][0], 0.05], [ROW[3][0], 0.03]],
            "picture": None,
        },
    }
    picture["looked"] = {m: looked[m] for m in modalities if m in looked}
    answer = [["kitchen", "71%"], ["office", "20%"], [EVIL, "3%"]]
    picture["tasks"]["scene"] = {"truth": [["", "kitchen"]], "prediction": answer, "error": None}
    picture["alone"] = {"scene": dict.fromkeys(modalities, answer)}
    picture["spread"] = not picture["worst_of"]
