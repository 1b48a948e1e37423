"""Video transformers of the Hugging Face transformers library, as encoders of a clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from torch import Tensor, nn

from weft.encoders.frozen import WholeEncoder
from weft.encoders.transformers_library import Source, architecture, stages, untrained
from weft.encoders.windows import Windows, at_size
from weft.errors import WeftError
from weft.modalities.base import NO_FACTS, Facts
from weft.registry import Range, register
from weft.types import Features, FeatureSpec, InputSpec

#: The file that says how frames are normalised.
_PREPROCESSING = "preprocessor_config.json"


@register("encoder", "huggingface_video")
class HuggingFaceVideoEncoder(WholeEncoder):
    """A video network of the transformers library: VideoMAE, ViViT or TimeSformer.

    A clip is cut into windows of as many frames as the network was made for, each seen by itself; the last window is
    filled up with the last frame. So a clip's features depend on nothing else in its batch. Frames are brought to the
    network's size, whatever their shape. The tokens of a step in time, which is a frame of TimeSformer and a tubelet of
    some frames of the others, are averaged over the picture. The architecture is kept in the run, which needs neither
    the hub nor the folder again. Weights are float32 whatever the file holds.

    Args:
        name: of a network on the Hugging Face hub, such as `MCG-NJU/videomae-base`. It is downloaded, unless it is in
            the cache.
        revision: of the network on the hub: a branch, tag or commit.
        weights: a local folder instead, as `save_pretrained` writes it.
        mean: per channel, what the network expects to be subtracted, of values in [0, 1]; by default what its
            `preprocessor_config.json` says, or else what is fitted on the training split.
        std: per channel, what it expects to be divided by, likewise.
        pooling: the vector of a clip: mean, of its tokens; cls, the class token, averaged over the windows by their
            frames. VideoMAE has none.
        freeze: train nothing of it; it then runs without dropout.
        lr_factor: factor on the learning rate of its parameters.

    References: Tong et al., NeurIPS 2022, arXiv:2203.12602 (VideoMAE); Arnab et al., ICCV 2021, arXiv:2103.15691
    (ViViT); Bertasius et al., ICML 2021, arXiv:2102.05095 (TimeSformer).
    """

    reads: ClassVar[str] = "video"

    def __init__(
        self,
        in_channels: int,
        initialise: bool = True,
        facts: Facts = NO_FACTS,
        *,
        name: str | None = None,
        revision: str = "main",
        weights: str | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        pooling: Literal["mean", "cls"] = "mean",
        freeze: bool = False,
        lr_factor: Annotated[float, Range(0)] = 1.0,
    ) -> None:
        super().__init__()
        known = facts["video_network"]
        network: Any = _source(name, revision, weights).network() if initialise else untrained(known["architecture"])
        network.pooler = None  # nobody reads it here
        self.network: nn.Module = network
        self._made = _Made.of(network.config)
        if network.config.num_channels != in_channels:
            raise ValueError(
                f"the network takes frames of {network.config.num_channels} channels, and these have {in_channels}; "
                "choose `frames`, with timm"
            )
        if pooling == "cls" and not self._made.has_class_token:
            raise ValueError(f"{network.config.model_type} has no class token; choose pooling: mean")
        self._pooling = pooling
        self.input_spec = InputSpec(
            mean or _for_each(known.get("mean"), in_channels), std or _for_each(known.get("std"), in_channels)
        )
        height, width = self._made.size
        self.notes = (f"{network.config.model_type} sees every frame at {width} x {height} pixels, whatever its shape",)
        if None in (self.input_spec.mean, self.input_spec.std):
            self.notes += (f"without {_PREPROCESSING} frames are normalised as they were fitted; give mean and std",)
        self.lr_factor = lr_factor
        self.spec = FeatureSpec("sequence", int(network.config.hidden_size))
        self.freeze(freeze)

    @classmethod
    def brings(cls, options: Mapping[str, Any]) -> Facts:
        """Its architecture, and how it wants frames to be normalised.

        Raises:
            WeftError: the hub is out of reach, the folder lacks something, or the network is of another kind.
        """
        source = _source(options.get("name"), options.get("revision", "main"), options.get("weights"))
        config = source.load("AutoConfig")
        _Made.of(config)
        return {"video_network": {"architecture": architecture(config), **_normalisation(source)}}

    def extract(self, inputs: Tensor, lengths: Tensor | None = None) -> Features:
        """See `Encoder.extract`: inputs (P, T, C, H, W); lengths in frames."""
        windows = Windows.of(inputs, lengths, self._made.window)
        with self.learning():
            frames = at_size(windows.frames, self._made.size)
            tokens = self.network(pixel_values=frames).last_hidden_state
        steps = self._made.steps(tokens)
        return windows.features(steps, tokens[:, 0] if self._pooling == "cls" else None)

    def layers(self) -> list[nn.Module]:
        """See `Encoder.layers`: the patches, then each layer."""
        return stages(self.network)


@dataclass(frozen=True)
class _Made:
    """What a network is made for, and how its tokens lie.

    Attributes:
        window: frames that it sees at once.
        size: (H, W) of a frame.
        num_steps: steps in time of a window.
        has_class_token: whether the first token is of the whole window.
        by_place: whether the tokens are those of a place, step after step, and then those of the next; otherwise those
            of a step, place after place.
    """

    window: int
    size: tuple[int, int]
    num_steps: int
    has_class_token: bool
    by_place: bool

    @classmethod
    def of(cls, config: Any) -> _Made:
        """Those of an architecture of the library.

        Raises:
            WeftError: it is not one of the three.
        """
        window, size = int(getattr(config, "num_frames", 0)), getattr(config, "image_size", 0)
        height, width = (size, size) if isinstance(size, int) else size
        if config.model_type == "videomae":
            return cls(window, (height, width), window // int(config.tubelet_size), False, False)
        if config.model_type == "vivit":
            return cls(window, (height, width), window // int(config.tubelet_size[0]), True, False)
        if config.model_type == "timesformer" and config.attention_type != "space_only":
            return cls(window, (height, width), window, True, True)
        what = "timesformer that looks at single frames" if config.model_type == "timesformer" else config.model_type
        raise WeftError(
            f"the network is a {what}; encoder huggingface_video takes videomae, vivit and timesformer over space and "
            "time. For frames by themselves choose `frames`, with timm"
        )

    def steps(self, tokens: Tensor) -> Tensor:
        """(n, t, D): the mean over the picture of each step, of all tokens (n, N, D) of windows."""
        places = tokens[:, 1:] if self.has_class_token else tokens
        if self.by_place:
            return places.unflatten(1, (-1, self.num_steps)).mean(1)
        return places.unflatten(1, (self.num_steps, -1)).mean(2)


def _for_each(values: Sequence[float] | None, num_channels: int) -> tuple[float, ...] | None:
    """One value for each channel, where there are any."""
    return None if values is None else tuple(values) * (num_channels if len(values) == 1 else 1)


def _source(name: str | None, revision: str, weights: str | None) -> Source:
    return Source("huggingface_video", name, revision, weights)


def _normalisation(source: Source) -> dict[str, list[float]]:
    """{mean, std} of values in [0, 1], to which the network's own preprocessing comes; empty where no file says it.

    That takes values v in [0, 255] to (v * factor - offset - mean) / std.
    """
    if source.local and not (Path(source.place) / _PREPROCESSING).is_file():
        return {}
    try:
        said, _ = source.load("ImageProcessingMixin", by="get_image_processor_dict")
    except WeftError:
        if source.local:
            raise
        return {}  # the hub was reached before: it has no such file
    whole = 255 * float(said.get("rescale_factor", 1 / 255)) if said.get("do_rescale", True) else 255.0
    offset = 1.0 if said.get("offset") else 0.0
    if not said.get("do_normalize", True):
        return {"mean": [offset / whole], "std": [1 / whole]}
    if "image_mean" not in said or "image_std" not in said:
        return {}
    return {"mean": [(m + offset) / whole for m in said["image_mean"]], "std": [s / whole for s in said["image_std"]]}
