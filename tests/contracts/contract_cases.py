"""What the contract tests share: options that parts need, and features made of numbers instead of pictures."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from weft.registry import Part, names
from weft.types import Features, FeatureSpec

#: Options without which a part cannot be built, and further choices that are worth the whole contract.
OPTIONS: dict[tuple[str, str], list[dict[str, object]]] = {
    ("encoder", "timm"): [{"name": "test_resnet"}, {"name": "test_efficientnet", "output_stride": 16}],
    ("encoder", "squeezenet"): [{"version": "1_0"}, {"version": "1_1"}],
    ("encoder", "text_rnn"): [
        {"embedding": 6, "hidden": 5},
        {"embedding": 6, "hidden": 5, "cell": "gru", "layers": 2, "bidirectional": False},
    ],
    ("encoder", "text_bag"): [{"dim": 6, "buckets": 11}, {"dim": 6, "longest": 1}],
    ("encoder", "huggingface"): [{"pooling": "mean"}, {"pooling": "cls"}, {"pooling": "cls", "vector": 6}],
    ("encoder", "spectrogram"): [
        {"name": "test_resnet", "segment": 48},
        {"name": "test_efficientnet", "segment": 64, "output_stride": 16, "vector": 12},
    ],
    ("encoder", "conv_rnn"): [
        {"channels": (8, 16), "hidden": 12},
        {"channels": (8,), "hidden": 12, "cell": "lstm", "stride": 1, "layers": 2, "bidirectional": False},
    ],
    ("encoder", "frame_maps"): [{"backbone": {"type": "timm", "name": "test_resnet"}}],
    ("encoder", "frames"): [
        {"backbone": {"type": "timm", "name": "test_resnet", "vector": 8}, "pooling": "max"},
        {"backbone": {"type": "timm", "name": "test_resnet"}, "cell": "gru", "hidden": 6, "pooling": "attention"},
        {"backbone": "squeezenet", "cell": "lstm", "hidden": 6, "layers": 2, "causal": True},
    ],
    ("encoder", "torchvision_video"): [{"name": "s3d", "window": 8}],
    ("encoder", "huggingface_video"): [{"pooling": "mean"}, {"pooling": "cls"}],
    ("encoder", "table_mlp"): [{"dim": 8}, {"dim": 8, "layers": 1, "embedding": 3}],
    ("encoder", "table_tokens"): [{"dim": 8}],
    ("fusion", "weighted"): [
        {"mode": "learned"},
        {"mode": "attention"},
        {"mode": "fixed", "weights": {"a": 0.7, "b": 0.5, "c": 0.3}},
    ],
    ("decision", "linear"): [{}, {"weights": {"a": 3.0, "b": 1.0, "c": 4.0}}],
    ("decision", "product"): [{}, {"evidence": "sum"}, {"powers": "learned"}],
    ("fusion", "transformer"): [{"dim": 16, "heads": 2}, {"dim": 16, "heads": 2, "layers": 1, "pool": "mean"}],
    ("fusion", "cross_attention"): [{"dim": 16, "heads": 2}, {"dim": 16, "heads": 2, "layers": 1, "pool": "mean"}],
    ("fusion", "bottleneck"): [{"dim": 16, "heads": 2}, {"dim": 16, "heads": 2, "tokens": 1, "pool": "mean"}],
    ("fusion", "dtl"): [
        {"dim": 16, "heads": 2, "window": 1, "segment": 2},
        {"dim": 16, "heads": 2, "window": 1, "segment": 2, "causal": True, "rnn": "lstm", "pool": "last"},
    ],
    ("decoder", "unet"): [
        {"channels": (16, 8)},
        {"channels": (64, 64), "attention": "scse", "stride": 1},
    ],
    ("decoder", "deeplabv3plus"): [{"channels": 32}, {"channels": 32, "separable": False, "dropout": 0.0}],
    ("decoder", "fcn"): [{"channels": 8, "hidden": 16, "stride": stride} for stride in (8, 16, 32)],
    ("decoder", "segnet"): [{}, {"layers": 1, "stride": 4}],
    ("decoder", "pspnet"): [{"channels": 16}, {"channels": 16, "bins": (1, 4, 5, 7, 2)}],
    ("decoder", "rspp"): [{"channels": 16}, {"channels": 16, "rounds": 1, "bins": (2, 3)}],
    ("decoder", "fpn"): [{"pyramid_channels": 16, "channels": 64}],
    ("decoder", "upernet"): [{"channels": 16}],
    ("decoder", "segformer"): [{"channels": 16}],
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
#: What can meet in a fusion.
MIXTURES = {
    "grid": GRIDS,
    "vector": VECTORS,
    "sequence": SEQUENCES,
    "clip": CLIPS,
    "grid+vector": {"a": GRIDS["a"], "b": VECTORS["b"]},
    "grid+sequence": {"a": GRIDS["a"], "b": SEQUENCES["b"]},
    "sequence+vector": {"a": SEQUENCES["a"], "b": VECTORS["b"]},
    "grid+grid+sequence": {"a": GRIDS["a"], "b": GRIDS["b"], "c": SEQUENCES["c"]},
    "vector+grid+sequence": {"a": VECTORS["a"], "b": GRIDS["b"], "c": SEQUENCES["c"]},
    "clip+grid+sequence": {"a": CLIPS["a"], "b": GRIDS["b"], "c": SEQUENCES["c"]},
}

#: Frames of the longest row of a clip: clips of different lengths meet.
NUM_FRAMES = {"a": 3, "b": 2, "c": 3}

#: Tokens of the longest row of a sequence.
NUM_TOKENS = {"a": 5, "b": 7, "c": 4}


def features_of(
    spec: FeatureSpec,
    present: Tensor,
    size: tuple[int, int],
    *,
    seed: int,
    num_tokens: int = 5,
    num_frames: int = 2,
    summary: bool = False,
) -> Features:
    """Random features that obey a spec, zero where absent.

    Args:
        spec: to obey.
        present: (B,) bool.
        size: (H, W) of the picture.
        seed: of the numbers.
        num_tokens: of the longest row of a sequence; the others are shorter.
        num_frames: of the longest row of a clip, likewise.
        summary: whether there is a vector beside the tokens.
    """
    generator = torch.Generator().manual_seed(seed)
    num_rows = len(present)
    maps: tuple[Tensor, ...] = ()
    grid = None
    lengths = torch.ones(num_rows)
    if spec.layout == "sequence":
        lengths = torch.tensor([max(1, num_tokens - row % num_tokens) for row in range(num_rows)])
    if spec.has_maps:
        num_frames = num_frames if spec.layout == "clip" else 1
        sizes = [spec.level_size(level, size) for level in range(len(spec.strides))]
        grid = (num_frames, *sizes[-1])
        frames = torch.tensor([num_frames - row % num_frames for row in range(num_rows)])
        lengths = frames * sizes[-1][0] * sizes[-1][1]
        maps = tuple(
            torch.randn(num_rows, num_frames, c, *s, generator=generator)
            for c, s in zip(spec.channels[:-1], sizes[:-1], strict=True)
        )
    tokens = torch.randn(num_rows, int(lengths.max()), spec.dim, generator=generator)
    whole = Features(
        tokens,
        torch.arange(tokens.shape[1]) < lengths[:, None],
        torch.ones_like(present),
        grid,
        maps,
        torch.randn(num_rows, spec.dim, generator=generator) if summary else None,
    )
    return whole.keep(present)


def with_garbage(features: Features, value: float) -> Features:
    """The same features, that hold `value` wherever nothing real is: in absent rows, and in padding."""

    def spoil(tensor: Tensor, real: Tensor) -> Tensor:
        return torch.where(real.view(*real.shape, *[1] * (tensor.dim() - real.dim())), tensor, value)

    return replace(
        features,
        tokens=spoil(features.tokens, features.mask),
        maps=tuple(spoil(level, features.frames) for level in features.maps),
        vector=None if features.vector is None else spoil(features.vector, features.present),
    )


def leaves(features: Features) -> tuple[Features, list[Tensor]]:
    """The same features as leaves of a graph, and those leaves."""
    tokens = features.tokens.clone().requires_grad_()
    maps = tuple(level.clone().requires_grad_() for level in features.maps)
    vector = None if features.vector is None else features.vector.clone().requires_grad_()
    grown = replace(features, tokens=tokens, maps=maps, vector=vector)
    return grown, [tokens, *maps, *([] if vector is None else [vector])]


def tensors_of(features: Features) -> list[Tensor]:
    """All numbers in the rows that are present; zero in tokens and frames that are not real."""
    rows = features.select(features.present)
    vector = [] if rows.vector is None else [rows.vector]
    maps = [torch.where(rows.frames[..., None, None, None], level, 0) for level in rows.maps]
    return [torch.where(rows.mask[..., None], rows.tokens, 0), *maps, *vector]


def weighted_total(features: Features) -> Tensor:
    """A scalar that depends on every number of the rows that are present, in another way on each."""
    total = torch.zeros(())
    for tensor in tensors_of(features):
        ramp = torch.linspace(-1, 2, max(tensor.numel(), 1))[: tensor.numel()].view(tensor.shape)
        total = total + (tensor * ramp).sum() + (tensor**2).sum()
    return total
