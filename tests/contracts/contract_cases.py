"""What the contract tests share: options that parts need, and features made of numbers instead of pictures."""

from __future__ import annotations

import torch
from torch import Tensor

from weft.registry import Part, names
from weft.types import Features, FeatureSpec

#: Options without which a part cannot be built, and further choices that are worth the whole contract.
OPTIONS: dict[tuple[str, str], list[dict[str, object]]] = {
    ("encoder", "timm"): [{"name": "test_resnet"}, {"name": "test_efficientnet", "output_stride": 16}],
    ("encoder", "squeezenet"): [{"version": "1_0"}, {"version": "1_1"}],
    ("fusion", "weighted"): [
        {"mode": "learned"},
        {"mode": "attention"},
        {"mode": "fixed", "weights": {"a": 0.7, "b": 0.5, "c": 0.3}},
    ],
    ("decoder", "unet"): [
        {"channels": (16, 8)},
        {"channels": (64, 64), "attention": "scse", "stride": 1},
    ],
    ("decoder", "deeplabv3plus"): [{"channels": 32}, {"channels": 32, "separable": False, "dropout": 0.0}],
}

SIZES = [(64, 64), (65, 97)]


def cases(kind: str) -> list[Part]:
    """Every registered part of a kind, with the options above: a new part is tested by existing."""
    return [Part(kind, name, options) for name in names(kind) for options in OPTIONS.get((kind, name), [{}])]


def label(part: Part) -> str:
    return "-".join([part.type, *(str(value) for value in part.options.values() if not isinstance(value, dict))])


def for_modalities(part: Part, modalities: list[str]) -> Part:
    """The same part; options given by modality only for those that there are."""
    options = {
        name: {m: value[m] for m in modalities} if isinstance(value, dict) else value
        for name, value in part.options.items()
    }
    return Part(part.kind, part.type, options)


GRIDS = {
    "a": FeatureSpec("grid", 24, (8, 8, 16, 24), (2, 4, 8, 16)),
    "b": FeatureSpec("grid", 20, (8, 12, 20), (4, 8, 32)),
    "c": FeatureSpec("grid", 16, (16,), (16,)),
}
VECTORS = {"a": FeatureSpec("vector", 12), "b": FeatureSpec("vector", 20), "c": FeatureSpec("vector", 12)}
SEQUENCES = {"a": FeatureSpec("sequence", 12), "b": FeatureSpec("sequence", 20), "c": FeatureSpec("sequence", 12)}
CLIPS = {
    "a": FeatureSpec("clip", 24, (8, 24), (4, 16)),
    "b": FeatureSpec("clip", 24, (8, 24), (4, 16)),
    "c": FeatureSpec("clip", 24, (12, 24), (8, 16)),
}
LAYOUTS = {"grid": GRIDS, "vector": VECTORS, "sequence": SEQUENCES, "clip": CLIPS}
NUM_FRAMES = 2
NUM_TOKENS = 5


def features_of(spec: FeatureSpec, present: Tensor, size: tuple[int, int], *, seed: int) -> Features:
    """Random features that obey a spec, zero where absent."""
    generator = torch.Generator().manual_seed(seed)
    num_rows = len(present)
    maps: tuple[Tensor, ...] = ()
    grid = None
    num_tokens = {"vector": 1, "sequence": NUM_TOKENS}.get(spec.layout, 0)
    if spec.has_maps:
        num_frames = NUM_FRAMES if spec.layout == "clip" else 1
        sizes = [spec.level_size(level, size) for level in range(len(spec.strides))]
        grid = (num_frames, *sizes[-1])
        num_tokens = num_frames * sizes[-1][0] * sizes[-1][1]
        maps = tuple(
            torch.randn(num_rows, num_frames, c, *s, generator=generator)
            for c, s in zip(spec.channels[:-1], sizes[:-1], strict=True)
        )
    tokens = torch.randn(num_rows, num_tokens, spec.dim, generator=generator)
    whole = Features(tokens, torch.ones(num_rows, num_tokens, dtype=torch.bool), torch.ones_like(present), grid, maps)
    empty = Features(
        tokens.new_zeros(tokens.shape),
        torch.zeros_like(whole.mask),
        torch.zeros_like(present),
        grid,
        tuple(torch.zeros_like(level) for level in maps),
    )
    return replace_rows(whole, empty, ~present)


def replace_rows(features: Features, other: Features, rows: Tensor) -> Features:
    """`features` with some rows taken from `other`."""

    def pick(mine: Tensor, theirs: Tensor) -> Tensor:
        return torch.where(rows.view(-1, *[1] * (mine.dim() - 1)), theirs, mine)

    return Features(
        pick(features.tokens, other.tokens),
        pick(features.mask, other.mask),
        pick(features.present, other.present),
        features.grid,
        tuple(pick(mine, theirs) for mine, theirs in zip(features.maps, other.maps, strict=True)),
    )


def with_garbage(features: Features, value: float) -> Features:
    """The same features, whose absent rows hold `value`."""
    garbage = Features(
        torch.full_like(features.tokens, value),
        features.mask,
        features.present,
        features.grid,
        tuple(torch.full_like(level, value) for level in features.maps),
    )
    return replace_rows(features, garbage, ~features.present)


def leaves(features: Features) -> tuple[Features, list[Tensor]]:
    """The same features as leaves of a graph, and those leaves."""
    tokens = features.tokens.clone().requires_grad_()
    maps = tuple(level.clone().requires_grad_() for level in features.maps)
    return Features(tokens, features.mask, features.present, features.grid, maps), [tokens, *maps]


def tensors_of(features: Features) -> list[Tensor]:
    """All numbers in the rows that are present."""
    rows = features.select(features.present)
    return [torch.where(rows.mask[..., None], rows.tokens, 0), *rows.maps]


def weighted_total(features: Features) -> Tensor:
    """A scalar that depends on every number of the rows that are present, in another way on each."""
    total = torch.zeros(())
    for tensor in tensors_of(features):
        ramp = torch.linspace(-1, 2, max(tensor.numel(), 1))[: tensor.numel()].view(tensor.shape)
        total = total + (tensor * ramp).sum() + (tensor**2).sum()
    return total
