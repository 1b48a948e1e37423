"""Video transformers of the transformers library small enough for tests: folders as `save_pretrained` writes them."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Literal

Kind = Literal["videomae", "vivit", "timesformer"]

#: Of every one of them: frames of a window, and the side of a frame.
WINDOW, SIDE = 4, 16


def write_tiny_video(folder: Path, kind: Kind) -> Path:
    """A network of two layers, 12 numbers wide, with patches of 8 x 8 pixels, written to `folder`."""
    import torch
    from transformers import (
        TimesformerConfig,
        TimesformerModel,
        VideoMAEConfig,
        VideoMAEModel,
        VivitConfig,
        VivitImageProcessor,
        VivitModel,
    )

    sizes: dict[str, Any] = {
        "image_size": SIDE,
        "num_frames": WINDOW,
        "hidden_size": 12,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        networks = {
            "videomae": lambda: VideoMAEModel(VideoMAEConfig(**sizes, patch_size=8, tubelet_size=2)),
            "vivit": lambda: VivitModel(VivitConfig(**sizes, tubelet_size=[2, 8, 8])),
            "timesformer": lambda: TimesformerModel(TimesformerConfig(**sizes, patch_size=8)),
        }
        network = networks[kind]()
        for parameter in network.parameters():  # what begins at zero must tell places and steps apart
            torch.nn.init.normal_(parameter, std=0.3)
        network.save_pretrained(folder)
    VivitImageProcessor().save_pretrained(folder)
    return folder


@cache
def tiny_video(kind: Kind) -> Path:
    """The folder of one such network for the whole test run."""
    return write_tiny_video(Path(tempfile.mkdtemp(prefix=f"weft-tiny-{kind}-")), kind)
