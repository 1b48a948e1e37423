"""What each part of `dtl` is worth: facts made to need one part, told by `dtl` with it alone, without it, and whole.

Not speed. A clip is a sequence of frames' features beside a still's feature vector, made of numbers, so that nothing
but the fusion decides; the answer is one linear layer on the view's vector. Each fact is of one kind:

- match: which value came with the clip's frame that shows what the still shows (exchange, inter);
- place: the value of the frame whose number the still says (composition);
- order: which of two marks came first (the recurrent network); nothing else knows time;
- group: whether two marks came within one segment of four frames (hierarchical);
- recent: the latest of several cues, of the last four frames, asked at the last frame (short memory);
- early: a cue of the first three frames, asked at the last (long memory).

Order, recent and early are causal: frames do not know their number. Recent and early read the last frame alone; "all
parts" are then those without the recurrent network and the hierarchy, which carry everything there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from weft import Features, FeatureSpec, Part

NUM_FRAMES, WIDTH, DIM, BATCH, NUM_TEST = 12, 16, 32, 64, 1024
SPECS = {"still": FeatureSpec("vector", WIDTH), "clip": FeatureSpec("sequence", WIDTH)}
#: The same in every run, so that what a frame shows can be learned.
CODES = torch.nn.functional.normalize(torch.randn(NUM_FRAMES, WIDTH - 4, generator=torch.Generator().manual_seed(7)))

PARTS = ("exchange", "inter", "composition", "hierarchical", "short_memory", "long_memory")
NOTHING = {**dict.fromkeys(PARTS, False), "rnn": "none"}
EVERYTHING = {**dict.fromkeys(PARTS, True), "rnn": "gru"}
SMALL = {"type": "dtl", "dim": DIM, "heads": 4, "window": 4, "segment": 4, "dropout": 0.0}

Made = tuple[Tensor, Tensor, Tensor]


def shown(codes: Tensor, values: Tensor) -> Tensor:
    """(..., WIDTH) what shows a code and one of four values; 0 of either is none."""
    empty = torch.zeros(1, WIDTH - 4)
    four = torch.cat([torch.zeros(1, 4), torch.eye(4)])
    return torch.cat([torch.cat([empty, CODES])[codes], four[values]], dim=-1)


def noisy(frames: Tensor, generator: torch.Generator) -> Tensor:
    return frames + 0.05 * torch.randn(frames.shape, generator=generator)


def match(number: int, generator: torch.Generator) -> Made:
    """Every frame shows another thing with a value; the still shows one of the things."""
    codes = torch.rand(number, NUM_FRAMES, generator=generator).argsort(1)
    values = torch.randint(4, (number, NUM_FRAMES), generator=generator)
    asked = torch.randint(NUM_FRAMES, (number, 1), generator=generator)
    still = shown(codes.gather(1, asked)[:, 0] + 1, torch.zeros(number, dtype=torch.int64))
    return still, shown(codes + 1, values + 1), values.gather(1, asked)[:, 0]


def place(number: int, generator: torch.Generator) -> Made:
    """Frames show nothing but values; the still says the number of one of the first six."""
    values = torch.randint(4, (number, NUM_FRAMES), generator=generator)
    asked = torch.randint(6, (number, 1), generator=generator)
    nothing = torch.zeros(number, dtype=torch.int64)
    return shown(asked[:, 0] + 1, nothing), shown(torch.zeros_like(values), values + 1), values.gather(1, asked)[:, 0]


def order(number: int, generator: torch.Generator) -> Made:
    """Two marks, and which comes first."""
    where = torch.rand(number, NUM_FRAMES, generator=generator).argsort(1)[:, :2]
    marks = torch.zeros(number, NUM_FRAMES, dtype=torch.int64).scatter(
        1, where, torch.tensor([[1, 2]]).repeat(number, 1)
    )
    return torch.zeros(number, WIDTH), shown(marks, torch.zeros_like(marks)), (where[:, 0] < where[:, 1]).long()


def group(number: int, generator: torch.Generator) -> Made:
    """Two marks, and whether they come within one of three segments."""
    together = torch.randint(2, (number,), generator=generator)
    segments = torch.rand(number, 3, generator=generator).argsort(1)
    one, other = segments[:, 0], torch.where(together.bool(), segments[:, 0], segments[:, 1])
    within = torch.rand(number, 4, generator=generator).argsort(1)
    where = torch.stack([one * 4 + within[:, 0], other * 4 + within[:, 1]], dim=1)
    marks = torch.zeros(number, NUM_FRAMES, dtype=torch.int64).scatter(
        1, where, torch.tensor([[1, 2]]).repeat(number, 1)
    )
    return torch.zeros(number, WIDTH), shown(marks, torch.zeros_like(marks)), together


def recent(number: int, generator: torch.Generator) -> Made:
    """A cue in one of the three frames before the last, and others that are over by then."""
    values = torch.zeros(number, NUM_FRAMES, dtype=torch.int64)
    values[:, : NUM_FRAMES - 4] = torch.randint(5, (number, NUM_FRAMES - 4), generator=generator)
    answer = torch.randint(4, (number,), generator=generator)
    where = NUM_FRAMES - 4 + torch.randint(3, (number, 1), generator=generator)
    return (
        torch.zeros(number, WIDTH),
        shown(torch.zeros_like(values), values.scatter(1, where, answer[:, None] + 1)),
        answer,
    )


def early(number: int, generator: torch.Generator) -> Made:
    """A cue in one of the first three frames, and things that do not matter later."""
    answer = torch.randint(4, (number,), generator=generator)
    where = torch.randint(3, (number, 1), generator=generator)
    values = torch.zeros(number, NUM_FRAMES, dtype=torch.int64).scatter(1, where, answer[:, None] + 1)
    others = torch.randint(NUM_FRAMES + 1, (number, NUM_FRAMES), generator=generator)
    return torch.zeros(number, WIDTH), shown(torch.where(values > 0, 0, others), values), answer


@dataclass(frozen=True)
class Fact:
    """A kind of fact, the parts made for it, and what all variants of it share."""

    make: Callable[[int, torch.Generator], Made]
    parts: tuple[str, ...]
    classes: int
    options: Mapping[str, Any] = field(default_factory=dict)
    everything: Mapping[str, Any] = field(default_factory=dict)


MEMORY = {"causal": True, "pool": "last"}
#: The parts that tell the whole clip whatever the memories do.
BLIND = {"rnn": "none", "hierarchical": False}
FACTS = {
    "match": Fact(match, ("exchange", "inter"), 4),
    "place": Fact(place, ("composition",), 4),
    "order": Fact(order, ("rnn",), 2, {"causal": True}),
    "group": Fact(group, ("hierarchical",), 2),
    "recent": Fact(recent, ("short_memory",), 4, MEMORY, BLIND),
    "early": Fact(early, ("long_memory",), 4, MEMORY, BLIND),
}


def variants(fact: Fact) -> dict[str, dict[str, Any]]:
    """{name: a fusion}: each part of the fact alone, nothing, all, all but each, and what it is set beside."""
    everything = {**SMALL, **fact.options, **EVERYTHING, **fact.everything}
    nothing = {**SMALL, **fact.options, **NOTHING}
    found = {
        "concat": {"type": "concat"},
        "transformer": {"type": "transformer", "dim": DIM, "heads": 4, "dropout": 0.0},
    }
    found |= {"dtl, no part": nothing, "dtl, all parts": everything}
    for part in fact.parts:
        found[f"dtl, {part} alone"] = {**nothing, part: EVERYTHING[part]}
        found[f"dtl, all but {part}"] = {**everything, part: NOTHING[part]}
    if len(fact.parts) > 1:
        found[f"dtl, all but {' and '.join(fact.parts)}"] = {**everything, **dict.fromkeys(fact.parts, False)}
    if fact.everything:
        found["dtl, all parts, rnn, hierarchical"] = {
            **everything,
            **{part: EVERYTHING[part] for part in fact.everything},
        }
    return found


def features(still: Tensor, clip: Tensor) -> dict[str, Features]:
    return {
        "still": Features.of_vector(still),
        "clip": Features.of_sequence(clip, torch.full((len(clip),), clip.shape[1])),
    }


def accuracy(fact: Fact, options: Mapping[str, Any], *, seed: int, steps: int) -> tuple[float, int]:
    """Percent right on samples that were not trained on, and the number of parameters of the fusion."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(1000 + seed)
    part = Part("fusion", options["type"], {name: value for name, value in options.items() if name != "type"})
    fusion = part(SPECS)
    head = nn.Linear(fusion.specs["fused"].dim, fact.classes)
    optimizer = torch.optim.Adam([*fusion.parameters(), *head.parameters()], lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)

    def made(number: int) -> tuple[Tensor, Tensor]:
        still, clip, target = fact.make(number, generator)
        return head(fusion(features(still, noisy(clip, generator)))["fused"].pooled), target

    for _ in range(steps):
        loss = nn.functional.cross_entropy(*made(BATCH))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    fusion.eval()
    with torch.no_grad():
        logits, target = made(NUM_TEST)
    return 100 * float((logits.argmax(1) == target).float().mean()), sum(p.numel() for p in fusion.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facts", nargs="*", choices=FACTS, default=list(FACTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400)
    arguments = parser.parse_args()
    print(f"{arguments.steps} steps of {BATCH}, {NUM_TEST} test samples, {arguments.seeds} seeds: median [low, high]")
    for name in arguments.facts:
        fact = FACTS[name]
        print(f"{name}: chance is {100 / fact.classes:.0f}", flush=True)
        for variant, options in variants(fact).items():
            began = time.perf_counter()
            runs = [accuracy(fact, options, seed=seed, steps=arguments.steps) for seed in range(arguments.seeds)]
            found = sorted(right for right, _ in runs)
            seconds = (time.perf_counter() - began) / arguments.seeds
            figures = f"{found[len(found) // 2]:5.1f} [{found[0]:5.1f}, {found[-1]:5.1f}]"
            print(f"  {variant:38} {figures}  {runs[0][1]:6} parameters, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
