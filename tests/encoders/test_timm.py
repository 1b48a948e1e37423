"""The timm encoder against timm itself, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from weft.encoders.stem import adapt_stem
from weft.encoders.timm import TimmEncoder
from weft.errors import WeftError

LOCAL = "data/weights/mobilenetv2_100.imagenet.bnstats.safetensors"


def saved(path: Path, name: str = "test_resnet", seed: int = 5) -> str:
    """A file of weights, as timm publishes them."""
    torch.manual_seed(seed)
    save_file(timm.create_model(name).state_dict(), path)
    return str(path)


@pytest.mark.parametrize(("name", "output_stride"), [("resnet18", 32), ("test_efficientnet", 16)])
def test_features_are_those_of_timm(name: str, output_stride: int) -> None:
    encoder = TimmEncoder(3, name=name, output_stride=output_stride).eval()
    reference = timm.create_model(name, features_only=True, output_stride=output_stride).eval()
    reference.load_state_dict(encoder.network.state_dict())
    images = torch.randn(2, 3, 64, 64)
    deepest_of = dict(zip(reference.feature_info.reduction(), reference(images), strict=True))
    assert encoder.spec.strides == tuple(deepest_of)
    for ours, theirs in zip(encoder(images).pyramid, deepest_of.values(), strict=True):
        assert torch.equal(ours, theirs)


def test_local_weights_give_what_their_readme_says(shared: Path) -> None:
    file = str(shared / LOCAL)
    half = (0.5, 0.5, 0.5)
    encoder = TimmEncoder(3, name="mobilenetv2_100", weights=file, padding="same", mean=half, std=half).eval()
    reference = timm.create_model(
        "mobilenetv2_100",
        pretrained=True,
        features_only=True,
        pad_type="same",
        pretrained_cfg_overlay={"file": file, "mean": half, "std": half},
    ).eval()
    assert (encoder.input_spec.mean, encoder.input_spec.std) == (half, half)
    assert encoder.spec.channels == (16, 24, 32, 96, 320)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for ours, theirs in zip(encoder(images).pyramid, reference(images), strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("stem", ["sum", "extend"])
def test_one_channel_is_seen_as_timm_sees_it(tmp_path: Path, stem: Any) -> None:
    file = saved(tmp_path / "weights.safetensors")
    ours = TimmEncoder(1, name="test_resnet", weights=file, stem=stem).network.state_dict()
    theirs = timm.create_model(
        "test_resnet", pretrained=True, features_only=True, in_chans=1, pretrained_cfg_overlay={"file": file}
    ).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in ours.items())


def test_repeated_stems_are_those_of_timm(tmp_path: Path) -> None:
    file = saved(tmp_path / "weights.safetensors")
    ours = TimmEncoder(5, name="test_resnet", weights=file, stem="repeat").network.conv1[0].weight
    theirs = (
        timm.create_model(
            "test_resnet", pretrained=True, features_only=True, in_chans=5, pretrained_cfg_overlay={"file": file}
        )
        .conv1[0]
        .weight
    )
    torch.testing.assert_close(ours, theirs)


def test_stems_for_other_channels_by_hand() -> None:
    red, green, blue = 1.0, 2.0, 4.0
    filters = torch.tensor([red, green, blue]).view(1, 3, 1, 1)

    def adapted(in_channels: int, stem: Any) -> list[float]:
        return adapt_stem(filters, in_channels, stem).flatten().tolist()

    assert adapted(1, "extend") == adapted(1, "sum") == [7]
    assert adapted(2, "extend") == [7, 0]
    assert adapted(4, "extend") == [1, 2, 4, 0]
    assert adapted(2, "sum") == [3.5, 3.5]
    assert adapted(6, "repeat") == [0.5, 1, 2, 0.5, 1, 2]


def test_a_fresh_stem_keeps_the_rest_of_the_weights(tmp_path: Path) -> None:
    file = saved(tmp_path / "weights.safetensors")
    fresh = TimmEncoder(1, name="test_resnet", weights=file, stem="fresh").network
    summed = TimmEncoder(1, name="test_resnet", weights=file, stem="sum").network
    assert not torch.equal(fresh.conv1[0].weight, summed.conv1[0].weight)
    assert torch.equal(fresh.layer4[0].conv2.weight, summed.layer4[0].conv2.weight)


def test_a_pth_file_is_read_and_never_unpickled(tmp_path: Path) -> None:
    torch.manual_seed(5)
    state = timm.create_model("test_resnet").state_dict()
    torch.save({"state_dict": state}, tmp_path / "good.pth")
    encoder = TimmEncoder(3, name="test_resnet", weights=str(tmp_path / "good.pth"))
    assert torch.equal(encoder.network.conv1[0].weight, state["conv1.0.weight"])
    torch.save(timm.create_model("test_resnet"), tmp_path / "object.pth")
    with pytest.raises(WeftError, match="cannot be read as weights"):
        TimmEncoder(3, name="test_resnet", weights=str(tmp_path / "object.pth"))


def test_a_file_of_another_network_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    file = saved(tmp_path / "weights.safetensors", "mobilenetv2_050")
    with pytest.raises(WeftError, match="size mismatch"):
        TimmEncoder(3, name="mobilenetv2_100", weights=file)
    half = timm.create_model("test_resnet").state_dict()
    save_file({k: v for k, v in half.items() if not k.startswith("layer4")}, tmp_path / "half.safetensors")
    with pytest.raises(WeftError, match=r"does not hold the weights of test_resnet: 3 of 15 .*\(in layer4\)"):
        TimmEncoder(3, name="test_resnet", weights=str(tmp_path / "half.safetensors"))


def test_a_broken_or_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeftError, match="are not there"):
        TimmEncoder(3, name="test_resnet", weights=str(tmp_path / "nothing.safetensors"))
    (tmp_path / "broken.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(WeftError, match="cannot be read as weights"):
        TimmEncoder(3, name="test_resnet", weights=str(tmp_path / "broken.safetensors"))


def test_loading_weights_leaves_the_random_state_alone(tmp_path: Path) -> None:
    file = saved(tmp_path / "weights.safetensors")
    torch.manual_seed(1)
    before = torch.get_rng_state()
    TimmEncoder(3, name="test_resnet", weights=file)
    assert torch.equal(torch.get_rng_state(), before)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(WeftError, match="resnet50"):
        TimmEncoder(3, name="resnet_50")


def test_nothing_is_downloaded_unless_asked_and_a_dead_hub_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def offline(name: str, pretrained: bool = False, **options: Any) -> Any:
        if pretrained:
            raise ConnectionError("no route to host")
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    TimmEncoder(3, name="test_resnet")
    with pytest.raises(WeftError, match="weights: FILE") as caught:
        TimmEncoder(3, name="test_resnet", pretrained=True)
    assert caught.value.code == "no-network"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pretrained": True, "weights": "x"}, "not both"),
        ({"padding": "same"}, "pad_type"),
        ({"mean": (0.5,)}, "1 values for 3 channels"),
        ({"name": "densenet121", "output_stride": 8}, "output_stride"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(WeftError, match=message):
        TimmEncoder(3, **{"name": "test_resnet", **options})


def test_statistics_are_the_networks_for_three_channels_and_the_datas_for_others() -> None:
    assert TimmEncoder(3, name="test_efficientnet").input_spec.mean == (0.485, 0.456, 0.406)
    assert TimmEncoder(1, name="test_resnet").input_spec.mean is None
    assert TimmEncoder(1, name="test_resnet", mean=(0.5,), std=(0.2,)).input_spec.mean == (0.5,)


@pytest.mark.parametrize(
    ("name", "strides"),
    [
        ("test_vit", (16,)),  # one map, in a network of fixed size
        ("swin_tiny_patch4_window7_224", (4, 8, 16, 32)),  # channels last, multiples of 4
        ("test_convnext", (4, 8, 16, 32)),  # rounds down
        ("inception_v3", (2, 4, 8, 16, 32)),  # does not pad
        ("hrnet_w18_small", (2, 4, 8, 16, 32)),  # multiples of 32
        ("test_maxvit", (2, 4, 8, 16, 32)),  # multiples of the size it is made for
    ],
)
def test_networks_of_all_kinds_give_exact_sizes(name: str, strides: tuple[int, ...]) -> None:
    encoder = TimmEncoder(3, name=name).eval()
    assert encoder.spec.strides == strides
    with torch.no_grad():
        pyramid = encoder(torch.randn(1, 3, 97, 110)).pyramid
    for level, level_map in enumerate(pyramid):
        assert level_map.shape[1] == encoder.spec.channels[level]
        assert tuple(level_map.shape[-2:]) == encoder.spec.level_size(level, (97, 110))


def test_padding_is_no_part_of_the_answer() -> None:
    encoder = TimmEncoder(3, name="swin_tiny_patch4_window7_224").eval()
    image = torch.randn(1, 3, 61, 64)
    padded = torch.nn.functional.pad(image, (0, 0, 0, 3))
    with torch.no_grad():
        for cut, whole in zip(encoder(image).pyramid, encoder(padded).pyramid, strict=True):
            assert torch.equal(cut, whole)  # 61 rows and 64 give as many cells


def test_frozen_norms_stand_still_while_the_rest_learns() -> None:
    encoder = TimmEncoder(3, name="test_resnet", freeze_bn=True).train()
    before = encoder.network.bn1.running_mean.clone()
    encoder(torch.randn(2, 3, 64, 64)).tokens.sum().backward()
    assert torch.equal(encoder.network.bn1.running_mean, before)
    assert encoder.network.bn1.weight.grad is None
    assert encoder.network.conv1[0].weight.grad is not None


def test_drop_path_is_passed_on() -> None:
    torch.manual_seed(0)
    encoder = TimmEncoder(3, name="test_resnet", drop_path=0.5).train()
    images = torch.randn(8, 3, 64, 64)
    with torch.no_grad():
        torch.nn.init.ones_(encoder.network.layer4[0].bn2.weight)
        assert not torch.equal(encoder(images).tokens, encoder(images).tokens)
