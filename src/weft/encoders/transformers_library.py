"""Networks of the Hugging Face transformers library, from its hub or from folders: what several encoders share."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from weft.errors import WeftError
from weft.optional import require

#: Files of a folder, of each group one at least.
FILES = {
    "its configuration": ("config.json",),
    "its weights": (
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    ),
}

#: How the library says that it cannot use what it was given.
_REFUSALS = (OSError, ValueError, ImportError, KeyError, RuntimeError)

#: So many characters of the library's reason are passed on.
_REASON = 300


class Source:
    """Where a network comes from: the hub, or a local folder.

    Args:
        encoder: which asks, for messages.
        name, revision: of the hub.
        weights: the folder.
        files: {what: names of which a folder has one at least}.

    Attributes:
        place: the name or the folder.

    Raises:
        WeftError: not exactly one of name and folder is given, or the folder lacks something.
    """

    def __init__(
        self,
        encoder: str,
        name: str | None,
        revision: str,
        weights: str | None,
        files: Mapping[str, tuple[str, ...]] = FILES,
    ) -> None:
        if (name is None) == (weights is None):
            given = "neither was given" if name is None else "both were given"
            raise WeftError(f"encoder {encoder}: give `name` of the hub or `weights: FOLDER`; {given}")
        self.place = str(name)
        self.options: dict[str, Any] = {"revision": revision}
        self.local = weights is not None
        if weights is not None:
            folder = Path(weights).expanduser()
            _check_folder(encoder, folder, files)
            self.place, self.options = str(folder), {"local_files_only": True}

    def network(self) -> Any:
        """The network with its weights, in float32.

        Raises:
            WeftError: the hub is out of reach, or the files cannot be used.
        """
        network, loaded = self.load("AutoModel", dtype=torch.float32, output_loading_info=True)
        lacking = sorted(key for key in loaded["missing_keys"] if "pooler" not in key)
        if lacking:
            raise WeftError(
                f"the weights of {self.place} lack {len(lacking)} tensors of the network, such as {lacking[0]}; "
                "check that weights and config.json belong together"
            )
        return network

    def load(self, kind: str, *, by: str = "from_pretrained", **options: Any) -> Any:
        """What a method of one of the library's classes makes of the place.

        Raises:
            WeftError: the hub is out of reach, or the files cannot be used.
        """
        library = require("transformers", extra="text")
        try:
            with _without_remarks(library):
                return getattr(getattr(library, kind), by)(self.place, **self.options, **options)
        except (*_REFUSALS, SafetensorError, UnpicklingError) as error:
            reason = " ".join(str(error).split())[:_REASON]
            if isinstance(error, OSError) and not self.local:
                raise WeftError(
                    f"{self.place} could not be fetched from the Hugging Face hub ({reason}). Check the name; without "
                    "a network, put its files into a folder on this machine and write `weights: FOLDER` instead",
                    code="no-network",
                ) from error
            raise WeftError(f"{self.place} cannot be read by transformers' {kind}: {reason}") from error


def architecture(config: Any) -> dict[str, Any]:
    """What the run keeps of a network, JSON-able: what `untrained` makes one of."""
    kept: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    kept.pop("_name_or_path", None)
    return kept


def untrained(architecture: Mapping[str, Any]) -> Any:
    """The network from what the run knows of it; trained weights are loaded next."""
    library = require("transformers", extra="text")
    options = {key: value for key, value in architecture.items() if key != "model_type"}
    config = library.AutoConfig.for_model(architecture["model_type"], **options)
    return library.AutoModel.from_config(config, dtype=torch.float32)


def stages(network: nn.Module) -> list[nn.Module]:
    """What comes before the layers of a network, such as embeddings, then each layer; the last has what comes after."""
    blocks = max((m for m in network.modules() if isinstance(m, nn.ModuleList)), key=len)
    before, after = _around(network, blocks)
    return [nn.ModuleList(before), *list(blocks)[:-1], nn.ModuleList([blocks[-1], *after])]


def _check_folder(encoder: str, folder: Path, files: Mapping[str, tuple[str, ...]]) -> None:
    if not folder.is_dir():
        raise WeftError(f"the folder {folder} of encoder {encoder} is not there; give `weights: FOLDER`")
    for what, names in files.items():
        if not any((folder / name).is_file() for name in names):
            raise WeftError(
                f"{folder} lacks {what} ({' or '.join(names)}); write all of the network there with "
                "`save_pretrained`, or copy all files of its page on the hub"
            )


def _around(module: nn.Module, blocks: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """The submodules before and after `blocks`, as large as they come; loose parameters come before."""
    own = list(module.parameters(recurse=False))
    before: list[nn.Module] = [nn.ParameterList(own)] if own else []
    after: list[nn.Module] = []
    side = before
    for child in module.children():
        if child is blocks:
            side = after
        elif blocks in set(child.modules()):
            inner_before, inner_after = _around(child, blocks)
            before, side = [*before, *inner_before], after
            after.extend(inner_after)
        else:
            side.append(child)
    return before, after


@contextmanager
def _without_remarks(library: Any) -> Iterator[None]:
    """Keep the library's progress bars and reports of loading to itself."""
    logging = library.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
