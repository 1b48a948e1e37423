"""torchvision's networks over space and time, as encoders of a clip."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, cast

import torch
from safetensors import SafetensorError
from timm.models import load_state_dict
from torch import Tensor, nn
from torchvision import models
from torchvision.models.video import S3D, SwinTransformer3d

from weft.encoders.base import Encoder
from weft.errors import WeftError
from weft.modalities.base import NO_FACTS, Facts
from weft.registry import Range, register
from weft.types import Features, FeatureSpec, InputSpec

Name = Literal["r3d_18", "mc3_18", "r2plus1d_18", "s3d", "swin3d_t", "swin3d_s", "swin3d_b"]


@register("encoder", "torchvision_video")
class TorchvisionVideoEncoder(Encoder):
    """A network of torchvision that sees motion: ResNets with convolutions over time, S3D, and Video Swin.

    A clip is cut into windows of one length, each seen by itself, as these networks were trained on short clips; the
    last window is filled up with the last frame. So a clip's features depend on nothing else in its batch. The map is
    averaged over its pixels: its steps in time are the tokens.

    Args:
        name: r3d_18, mc3_18 and r2plus1d_18 are ResNets; swin3d_t, _s and _b are transformers of three sizes.
        pretrained: start from torchvision's weights of Kinetics-400. They are downloaded, unless they are in the cache.
        weights: start from a local file instead, .safetensors or .pth, in torchvision's layout.
        window: frames that are seen at once.
        freeze: train nothing of it.
        lr_factor: factor on the learning rate of its parameters.

    References: Tran et al., CVPR 2018, arXiv:1711.11248 (the ResNets); Xie et al., ECCV 2018, arXiv:1712.04851 (S3D);
    Liu et al., CVPR 2022, arXiv:2106.13230 (Video Swin).
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
        preset = models.get_model_weights(name).DEFAULT.transforms()
        self.input_spec = InputSpec(tuple(preset.mean), tuple(preset.std))
        self.window = window
        self.lr_factor = lr_factor
        head = [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv3d)][-1]
        self.spec = FeatureSpec("sequence", head.in_features if isinstance(head, nn.Linear) else head.in_channels)
        self._frozen = freeze
        self.requires_grad_(not freeze)
        self.train(self.training)

    def extract(self, inputs: Tensor, lengths: Tensor | None = None) -> Features:
        """See `Encoder.extract`: inputs (P, T, 3, H, W); lengths in frames."""
        num_rows, num_frames = inputs.shape[:2]
        if lengths is None:
            lengths = torch.full((num_rows,), num_frames)
        lengths = lengths.to(inputs.device)
        begins = torch.arange(0, num_frames, self.window, device=inputs.device)
        places = (begins[:, None] + torch.arange(self.window, device=inputs.device)).expand(num_rows, -1, -1)
        places = places.minimum(lengths[:, None, None] - 1)  # (P, n, window), the last real frame again at the end
        used = begins < lengths[:, None]  # (P, n): a window beyond the end of its row is not encoded
        rows = torch.arange(num_rows, device=inputs.device)[:, None, None].expand_as(places)
        steps = self._seen(inputs[rows[used], places[used]])  # (used, t, D)
        tokens = steps.new_zeros(*used.shape, *steps.shape[1:])
        tokens[used] = steps
        per_window = steps.shape[1]
        rest = -(-(lengths % self.window) * per_window // self.window)
        return Features.of_sequence(tokens.flatten(1, 2), lengths // self.window * per_window + rest)

    def _seen(self, windows: Tensor) -> Tensor:
        """(n, t, D): what each step in time of windows (n, T, 3, H, W) holds on average over the pixels."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._frozen):
            maps = windows.transpose(1, 2)
            for stage in self.stages:
                maps = stage(maps)
        if self._ends_with_channels:  # (n, t, h, w, D), else (n, D, t, h, w)
            return maps.mean((2, 3))
        return maps.mean((3, 4)).transpose(1, 2)

    @property
    def extract_frozen(self) -> bool:
        """See `Encoder.extract_frozen`."""
        return self._frozen

    def layers(self) -> list[nn.Module]:
        """See `Encoder.layers`."""
        return list(self.stages)

    def train(self, mode: bool = True) -> TorchvisionVideoEncoder:
        """Training mode; a frozen one stays in evaluation mode."""
        super().train(mode and not self._frozen)
        return self


def _stages(network: nn.Module) -> list[nn.Module]:
    """The network without its classifier, in order."""
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
