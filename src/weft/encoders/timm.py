"""Any timm network that gives maps, as an encoder of a raster."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import timm
import torch
from safetensors import SafetensorError
from timm.models import FeatureInfo
from torch import Tensor, nn

from weft.encoders.raster import RasterEncoder
from weft.encoders.stem import Stem, input_spec_of, load_adapted
from weft.errors import WeftError
from weft.modalities.base import NO_FACTS, Facts
from weft.registry import Range, register

#: Ways in which timm's networks of one fixed input size are asked to take any; the first that a network knows is used.
_ANY_SIZE: tuple[dict[str, Any], ...] = (
    {"dynamic_img_size": True, "dynamic_img_pad": True},
    {"strict_img_size": False},
    {},
)

#: Numbers that networks may insist on multiples of, tried in this order, and after them the size a network is made for.
_MULTIPLES = (1, 4, 8, 16, 32, 64, 128, 256)

#: So many characters of a library's reason are passed on; a list of a hundred tensors helps nobody.
_REASON = 200

#: Odd on purpose, and large enough for networks that do not pad (Inception needs 75 pixels).
_PROBE_SIZE = (129, 161)


@register("encoder", "timm")
class TimmEncoder(RasterEncoder):
    """A backbone of the timm library: ResNet, MobileNet, EfficientNet, ConvNeXt, DenseNet, VGG, Inception, ViT, Swin …

    Args:
        name: timm's name, such as `resnet50` or `resnet50.a1_in1k`.
        pretrained: start from timm's published weights. They are downloaded, unless they are in the cache.
        weights: start from a local file instead, .safetensors or .pth, in timm's layout for this network.
        mean: per channel, what the network expects to be subtracted, of values in [0, 1]; by default timm's for three
            channels, and what was measured on the training split for other numbers of channels.
        std: per channel, what the network expects to be divided by; by default as for `mean`.
        padding: same: pad convolutions as TensorFlow does. Some converted weights need it.
        output_stride: 8 or 16: dilate the last stages instead of striding. Not every network can.
        stem: what becomes of pretrained filters when the input has not three channels. extend: the first three
            channels (or one alone, with the sum of the filters) are seen as the picture, further ones start at zero;
            sum: every channel gets the sum of the filters divided by the number of channels; repeat: red, green,
            blue, red, … scaled to the same response; fresh: random.
        freeze: train nothing of it.
        freeze_stages: train nothing of the first so many stages.
        freeze_bn: keep statistics and factors of its BatchNorm layers as they are.
        drop_path: probability of skipping a residual branch in training, rising with depth; 0 leaves it out.
        lr_factor: factor on the learning rate of its parameters.
        vector: give one vector of this width instead of maps: the average over the deepest map, projected anew.
    """

    def __init__(
        self,
        in_channels: int,
        initialise: bool = True,
        facts: Facts = NO_FACTS,
        *,
        name: str,
        pretrained: bool = False,
        weights: str | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[Annotated[float, Range(0, open_low=True)], ...] | None = None,
        padding: Literal["default", "same"] = "default",
        output_stride: Literal[8, 16, 32] = 32,
        stem: Stem = "extend",
        freeze: bool = False,
        freeze_stages: Annotated[int, Range(0)] = 0,
        freeze_bn: bool = False,
        drop_path: Annotated[float, Range(0, 1, open_high=True)] = 0.0,
        lr_factor: Annotated[float, Range(0)] = 1.0,
        vector: Annotated[int, Range(1)] | None = None,
    ) -> None:
        _check_name(name)
        if pretrained and weights is not None:
            raise WeftError(f"encoder {name}: give `pretrained: true` or `weights: FILE`, not both")
        options: dict[str, Any] = {}
        if padding == "same":
            options["pad_type"] = "same"
        if output_stride != 32:  # 32 is what every network does by itself, if it gets that far
            options["output_stride"] = output_stride
        if drop_path:
            options["drop_path_rate"] = drop_path
        if not initialise:  # trained weights are loaded next: neither the hub nor the file is needed again
            pretrained, weights = False, None
        network = _build(name, options, in_channels, pretrained=pretrained, weights=weights, stem=stem)
        levels = cast(FeatureInfo, network.feature_info)
        super().__init__(
            network,
            channels=levels.channels(),
            strides=levels.reduction(),
            boundaries=levels.module_name(),
            input_spec=input_spec_of(name, in_channels, mean, std, default=_published_statistics(name)),
            multiple=_find_multiple(network, name, in_channels),
            freeze=freeze,
            freeze_stages=freeze_stages,
            freeze_bn=freeze_bn,
            lr_factor=lr_factor,
            vector=vector,
        )
        self._maps_end_with_channels = str(getattr(getattr(network, "output_fmt", None), "value", "NCHW")) == "NHWC"

    def maps(self, inputs: Tensor) -> list[Tensor]:
        """See `RasterEncoder.maps`."""
        maps = self.network(inputs)
        return [m.permute(0, 3, 1, 2) for m in maps] if self._maps_end_with_channels else maps


def _check_name(name: str) -> None:
    if timm.is_model(name):
        return
    near = get_close_matches(name, [*timm.list_models(), *timm.list_pretrained()], n=3)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    raise WeftError(f"timm {timm.__version__} has no network {name!r}{hint} `timm.list_models()` lists them all")


def _published_statistics(name: str) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    cfg = timm.get_pretrained_cfg(name)
    return (tuple(cfg.mean), tuple(cfg.std)) if cfg is not None else None


def _build(
    name: str, options: Mapping[str, Any], in_channels: int, *, pretrained: bool, weights: str | None, stem: Stem
) -> nn.Module:
    """The network with its starting weights, built for `in_channels`."""
    if not pretrained and weights is None:
        return _create(name, options, in_chans=in_channels)
    source = _from_hub(name, options) if weights is None else _from_file(name, options, Path(weights).expanduser())
    if in_channels == 3:
        return source
    network = _create(name, options, in_chans=in_channels)
    load_adapted(network, source.state_dict(), in_channels, stem)
    return network


def _create(name: str, options: Mapping[str, Any], **more: Any) -> nn.Module:
    """timm's network with its maps, made to take images of any size where it can be."""
    cfg = timm.get_pretrained_cfg(name)
    choices = _ANY_SIZE if cfg is not None and cfg.fixed_input_size else ({},)
    for any_size in choices:
        try:
            return timm.create_model(name, features_only=True, **options, **any_size, **more)
        except TypeError as error:  # an unknown keyword: the network has no such switch
            if not any(f"'{keyword}'" in str(error) for keyword in any_size):
                raise WeftError(f"timm's {name} cannot be built with {dict(options)}: {error}") from error
        except (AssertionError, NotImplementedError) as error:
            raise WeftError(f"timm's {name} cannot be built with {dict(options)}; leave the option out") from error
        except RuntimeError as error:
            raise WeftError(f"timm's {name} cannot be an encoder here: {error}") from error
    raise AssertionError("the last choice has no keyword to refuse")


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Keep timm from warning of the classifier's weights, which a backbone does not take."""
    logger = logging.getLogger("timm.models._builder")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _from_hub(name: str, options: Mapping[str, Any]) -> nn.Module:
    try:
        with _without_remarks():
            return _create(name, options, pretrained=True)
    except OSError as error:  # the hub's own errors are of this kind, too
        raise WeftError(
            f"the pretrained weights of {name} could not be fetched ({type(error).__name__}: {error}). Without a "
            "network, put the file on this machine and write `weights: FILE` instead of `pretrained: true`",
            code="no-network",
        ) from error


def _from_file(name: str, options: Mapping[str, Any], path: Path) -> nn.Module:
    """The network with the weights of a file, every one of its tensors replaced.

    timm rewrites the layouts of many publishers and then loads what fits without a word. So that a wrong file is not
    taken for a right one, the network is built twice from one seed: a tensor that is equal in both was not in the file.
    """
    if not path.is_file():
        raise WeftError(f"the weights {path} of encoder {name} are not there; give the path of a file")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        untouched = _create(name, options).state_dict()
        torch.manual_seed(0)
        try:
            with _without_remarks():
                network = _create(name, options, pretrained=True, pretrained_cfg_overlay={"file": str(path)})
        except (WeftError, SafetensorError, pickle.UnpicklingError, EOFError, KeyError) as error:
            # A WeftError here is a RuntimeError of the loading: the network itself was built a moment ago.
            reason = " ".join(str(error.__cause__ or error).split())
            raise WeftError(f"{path} cannot be read as weights of {name}: {reason[:_REASON]}") from error
    loaded = network.state_dict()
    # Only matrices and filters start at random; factors and statistics may be equal by right.
    random = [key for key, tensor in loaded.items() if tensor.dim() >= 2 and tensor.numel() > 1]
    missing = [key for key in random if torch.equal(loaded[key], untouched[key])]
    if missing:
        parts = sorted({key.split(".")[0] for key in missing})
        raise WeftError(
            f"{path} does not hold the weights of {name}: {len(missing)} of {len(random)} weight tensors are not in it "
            f"(in {', '.join(parts)}); check that the file and `name` belong together"
        )
    return network


@torch.no_grad()
def _find_multiple(network: nn.Module, name: str, in_channels: int) -> int:
    """The smallest multiple that heights and widths must be of, found by trying."""
    cfg = timm.get_pretrained_cfg(name)
    own_size = (cfg.input_size[-1],) if cfg is not None else ()
    training = network.training
    network.eval()
    for multiple in (*_MULTIPLES, *own_size):
        height, width = (-(-size // multiple) * multiple for size in _PROBE_SIZE)
        try:
            network(torch.zeros(1, in_channels, height, width))
        except (RuntimeError, AssertionError, ValueError):  # how networks refuse a size
            continue
        network.train(training)
        return multiple
    raise WeftError(
        f"timm's {name} takes only images of its own fixed size; choose a network that takes any, such as resnet50"
    )
