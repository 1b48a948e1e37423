"""torchvision's networks over space and time, as encoders of a clip."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal, cast

from safetensors import SafetensorError
from timm.models import load_state_dict
from torch import Tensor, nn
from torchvision import models
from torchvision.models.video import S3D, MViT, SwinTransformer3d

from weft.encoders.frozen import WholeEncoder
from weft.encoders.windows import Windows, at_size
from weft.errors import WeftError
from weft.modalities.base import NO_FACTS, Facts
from weft.registry import Range, register
from weft.types import Features, FeatureSpec, InputSpec

Name = Literal["r3d_18", "mc3_18", "r2plus1d_18", "s3d", "swin3d_t", "swin3d_s", "swin3d_b", "mvit_v1_b", "mvit_v2_s"]


@register("encoder", "torchvision_video")
class TorchvisionVideoEncoder(WholeEncoder):
    """A network of torchvision that sees motion: ResNets with convolutions over time, S3D, Video Swin and MViT.

    A clip is cut into windows of one length, each seen by itself, as these networks were trained on short clips; the
    last window is filled up with the last frame. So a clip's features depend on nothing else in its batch. The map is
    averaged over its pixels: its steps in time are the tokens. An MViT sees windows of 16 frames of 224 x 224 pixels
    and no others: frames are brought to that size, whatever their shape. The vector of a clip is then the class token,
    averaged over its windows; of other networks it is the mean of the tokens.

    Args:
        name: r3d_18, mc3_18 and r2plus1d_18 are ResNets; swin3d_t, _s and _b are transformers of three sizes; so are
            mvit_v1_b and mvit_v2_s, multiscale ones.
        pretrained: start from torchvision's weights of Kinetics-400. They are downloaded, unless they are in the cache.
        weights: start from a local file instead, .safetensors or .pth, in torchvision's layout.
        window: frames that are seen at once; of an MViT 16.
        freeze: train nothing of it.
        lr_factor: factor on the learning rate of its parameters.

    References: Tran et al., CVPR 2018, arXiv:1711.11248 (the ResNets); Xie et al., ECCV 2018, arXiv:1712.04851 (S3D);
    Liu et al., CVPR 2022, arXiv:2106.13230 (Video Swin); Fan et al., ICCV 2021, arXiv:2104.11227, and Li et al., CVPR
    2022, arXiv:2112.01526 (MViT).
    """

    reads: ClassVar[str] = "video"

    def __init__(
        self,
        in_channels: int,
        initialise: bool = True,
        facts: Facts = NO_FACTS,
        *,
        name: Name,
        pretrained: bool = False,
        weights: str | None = None,
        window: Annotated[int, Range(8)] = 16,
        freeze: bool = False,
        lr_factor: Annotated[float, Range(0)] = 1.0,
    ) -> None:
        super().__init__()
        if in_channels != 3:
            raise ValueError(
                f"{name} takes frames of 3 channels, and these have {in_channels}; choose `frames`, with timm"
            )
        if pretrained and weights is not None:
            raise WeftError(f"encoder {name}: give `pretrained: true` or `weights: FILE`, not both")
        network = models.get_model(name)
        if initialise and (pretrained or weights is not None):
            _load(network, name, None if weights is None else Path(weights).expanduser())
        self.stages = nn.ModuleList(_stages(network))
        self._ends_with_channels = isinstance(network, SwinTransformer3d)
        self._multiscale = _Multiscale.of(network) if isinstance(network, MViT) else None
        if self._multiscale is not None:
            if window != self._multiscale.window:
                raise ValueError(f"{name} sees {self._multiscale.window} frames at once, and window is {window}")
            height, width = self._multiscale.size
            self.notes = (f"{name} sees every frame at {width} x {height} pixels, whatever its shape",)
        preset = models.get_model_weights(name).DEFAULT.transforms()
        self.input_spec = InputSpec(tuple(preset.mean), tuple(preset.std))
        self.window = window
        self.lr_factor = lr_factor
        head = [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv3d)][-1]
        self.spec = FeatureSpec("sequence", head.in_features if isinstance(head, nn.Linear) else head.in_channels)
        self.freeze(freeze)

    def extract(self, inputs: Tensor, lengths: Tensor | None = None) -> Features:
        """See `Encoder.extract`: inputs (P, T, 3, H, W); lengths in frames."""
        windows = Windows.of(inputs, lengths, self.window)
        with self.learning():
            seen = self._seen if self._multiscale is None else self._seen_at_scales
            return windows.features(*seen(windows.frames))

    def _seen(self, frames: Tensor) -> tuple[Tensor, None]:
        """(n, t, D): what each step in time of windows (n, T, 3, H, W) holds on average over the pixels."""
        maps = frames.transpose(1, 2)
        for stage in self.stages:
            maps = stage(maps)
        if self._ends_with_channels:  # (n, t, h, w, D), else (n, D, t, h, w)
            return maps.mean((2, 3)), None
        return maps.mean((3, 4)).transpose(1, 2), None

    def _seen_at_scales(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """The same of an MViT, whose places are tokens; and (n, D) its class token, which is what it answers from."""
        assert self._multiscale is not None
        project, place, *blocks, norm = self.stages
        tokens = place(project(at_size(frames, self._multiscale.size).transpose(1, 2)).flatten(2).transpose(1, 2))
        shape = self._multiscale.shape
        for block in blocks:
            tokens, shape = block(tokens, shape)
        tokens = norm(tokens)
        return tokens[:, 1:].unflatten(1, (shape[0], -1)).mean(2), tokens[:, 0]

    def layers(self) -> list[nn.Module]:
        """See `Encoder.layers`."""
        return list(self.stages)


@dataclass(frozen=True)
class _Multiscale:
    """What an MViT is made for.

    Attributes:
        window: frames that it sees at once.
        size: (H, W) of a frame.
        shape: (t, h, w) of its tokens before the first block.
    """

    window: int
    size: tuple[int, int]
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, network: MViT) -> _Multiscale:
        """Those of a network."""
        place, (every, down, right) = network.pos_encoding, cast(tuple[int, int, int], network.conv_proj.stride)
        height, width = place.spatial_size
        return cls(place.temporal_size * every, (height * down, width * right), (place.temporal_size, height, width))


def _stages(network: nn.Module) -> list[nn.Module]:
    """The network without its classifier, in order."""
    if isinstance(network, MViT):
        return [network.conv_proj, network.pos_encoding, *network.blocks, network.norm]
    if isinstance(network, SwinTransformer3d):
        return [network.patch_embed, network.pos_drop, *network.features, network.norm]
    if isinstance(network, S3D):
        return list(network.features)
    return [cast(nn.Module, getattr(network, name)) for name in ("stem", "layer1", "layer2", "layer3", "layer4")]


def _load(network: nn.Module, name: str, path: Path | None) -> None:
    """Load the weights of a network from a file, or from the hub where `path` is None.

    Raises:
        WeftError: they cannot be fetched or read, or are those of another network.
    """
    state = _from_hub(name) if path is None else _from_file(name, path)
    wanted = network.state_dict()
    bad = [key for key, tensor in wanted.items() if key not in state or state[key].shape != tensor.shape]
    if bad:
        raise WeftError(
            f"{path or 'the published file'} does not hold the weights of {name}: {len(bad)} of {len(wanted)} tensors "
            f"are missing or of another shape, such as {bad[0]}"
        )
    network.load_state_dict({key: state[key] for key in wanted})


def _from_hub(name: str) -> Mapping[str, Tensor]:
    try:
        return cast(
            Mapping[str, Tensor], models.get_model_weights(name).DEFAULT.get_state_dict(progress=False, check_hash=True)
        )
    except OSError as error:
        raise WeftError(
            f"the pretrained weights of {name} could not be fetched ({error}). Without a network, put the file on this "
            "machine and write `weights: FILE` instead of `pretrained: true`",
            code="no-network",
        ) from error


def _from_file(name: str, path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise WeftError(f"the weights {path} of encoder {name} are not there; give the path of a file")
    try:
        return cast(Mapping[str, Tensor], load_state_dict(str(path)))
    except (SafetensorError, pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise WeftError(f"{path} cannot be read as weights: {type(error).__name__}: {error}") from error
