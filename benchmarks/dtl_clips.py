"""What each part of `dtl` is worth on the built-in clips: whole, without each part, with one alone, over several seeds.

Not speed. First a network learns to see (`configs/clips_eyes.yaml`, once); then every variant of the fusion is trained
on what it sees, by the shipped experiment of each kind of fact:

- facts: motion, order, the first frames, the match of still and clip;
- asked: a frame by its number, two events within one third;
- dtl: causal, each frame by what was before it: two frames back, or more than eight.

Printed is the percentage of right answers on the test part after the last epoch, of every seed. A table of what is
done is kept beside the runs, and a second call goes on with it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import weft

CONFIGS = Path(__file__).parents[1] / "configs"

PARTS = ("exchange", "rnn", "inter", "composition", "hierarchical", "short_memory", "long_memory")

#: {kind of fact: (the parts that are tried alone, those that are left out), several together by +}
TRIED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "facts": (
        ("exchange", "inter", "rnn", "composition"),
        ("exchange", "inter", "exchange + inter", "rnn"),
    ),
    "asked": (
        ("composition", "hierarchical", "inter", "rnn"),
        ("composition", "hierarchical"),
    ),
    "dtl": (
        ("rnn", "short_memory", "long_memory", "short_memory + long_memory"),
        ("rnn", "short_memory", "long_memory", "rnn + short_memory", "rnn + long_memory"),
    ),
}

#: The second has about as many weights as `dtl` with all its parts. Neither goes frame by frame.
BESIDE = {"concat": "fusion=concat", "Transformer": "fusion={type: transformer, dim: 48, heads: 4, layers: 2}"}


def switched(parts: str, *, on: bool) -> list[str]:
    """Overrides that switch parts on or off; several are joined by +."""
    words = {True: ("gru", "true"), False: ("none", "false")}[on]
    return [f"fusion.{part}={words[0] if part == 'rnn' else words[1]}" for part in parts.split(" + ")]


def variants(kind: str) -> Iterator[tuple[str, list[str]]]:
    """(name, overrides) of everything that is trained."""
    nothing = switched(" + ".join(PARTS), on=False)
    alone, left_out = TRIED[kind]
    if kind != "dtl":
        yield from ((name, [override]) for name, override in BESIDE.items())
    yield "no part", nothing
    for parts in alone:
        yield f"{parts} alone", [*nothing, *switched(parts, on=True)]
    yield "all parts", []
    for parts in left_out:
        yield f"all but {parts}", switched(parts, on=False)


def trained(config: str, overrides: list[str], output: Path) -> tuple[Path, dict[str, float]]:
    """(the run, {task: percentage right on the test part})."""
    run = weft.train(CONFIGS / f"{config}.yaml", overrides=[*overrides, f"train.output={output}"], progress=False)
    weft.evaluate(run, checkpoint="last", quick=True, progress=False)
    found = json.loads((run / "evaluation" / "test" / "evaluation.json").read_text())
    return run, {task: 100 * right(result, found["full"]) for task, result in found["tasks"].items()}


def right(result: Mapping[str, Any], subset: str) -> float:
    """The main figure of a task where everything is there."""
    return float(result["subsets"][subset]["figures"][result["main_figure"]]["value"])


def eyes(output: Path) -> Path:
    """The run of the network that sees, trained where there is none."""
    runs = sorted((output / "clips_eyes").glob("*/summary.json"))
    return runs[-1].parent if runs else trained("clips_eyes", [], output)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="*", choices=TRIED, default=list(TRIED))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=Path("runs/dtl_clips"))
    arguments = parser.parse_args()
    seeing, table = eyes(arguments.output), arguments.output / "done.json"
    done: dict[str, list[dict[str, float]]] = json.loads(table.read_text()) if table.exists() else {}
    for kind in arguments.kinds:
        for name, overrides in variants(kind):
            rows = done.setdefault(f"{kind}: {name}", [])
            began = time.perf_counter()
            for seed in arguments.seeds[len(rows) :]:
                given = [f"train.start_from={seeing}", f"train.seed={seed}", *overrides]
                rows.append(trained(f"clips_{kind}", given, arguments.output)[1])
                table.write_text(json.dumps(done, indent=1))
            shown = (f"{task} {spread([row[task] for row in rows])}" for task in rows[0])
            print(f"{kind}: {name:32} {'  '.join(shown)}  {time.perf_counter() - began:.0f} s", flush=True)


def spread(values: list[float]) -> str:
    """Median, least and greatest."""
    return f"{statistics.median(values):.1f} [{min(values):.1f}, {max(values):.1f}]"


if __name__ == "__main__":
    main()
