"""Any text network of the Hugging Face transformers library, with its own tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from weft.encoders.base import Encoder
from weft.encoders.transformers_library import FILES, Source, architecture, stages, untrained
from weft.errors import WeftError
from weft.modalities.base import NO_FACTS, Facts
from weft.registry import Range, register
from weft.types import Features, FeatureSpec

#: Tokens of a text for networks that set no limit.
_MAX_LENGTH = 512

#: A tokenizer without a limit says so by a number above this.
_NO_LIMIT = 1_000_000

#: Files of a folder, of each group one at least.
_FILES = {
    **FILES,
    "its tokenizer": ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model"),
}


@register("encoder", "huggingface")
class HuggingFaceEncoder(Encoder):
    """A text network of the transformers library: BERT, RoBERTa, ALBERT, MiniLM, DeBERTa, the encoder of T5 …

    Its tokenizer takes the place of the modality's own vocabulary. Tokenizer and architecture are kept in the run,
    which needs neither the hub nor the folder again. Weights are float32 whatever the file holds.

    Args:
        name: of a network on the Hugging Face hub, such as `sentence-transformers/all-MiniLM-L6-v2`. It is downloaded,
            unless it is in the cache.
        revision: of the network on the hub: a branch, tag or commit.
        weights: a local folder instead, as `save_pretrained` writes it, with the network and its tokenizer.
        pooling: the summary of a text: mean, of its tokens; cls, its first token.
        freeze: train nothing of it; it then runs without dropout.
        freeze_layers: train nothing of the word embeddings and the first so many layers.
        lr_factor: factor on the learning rate of its parameters.
        vector: give one vector of this width instead of tokens: the summary, projected anew.
    """

    reads: ClassVar[str] = "text"

    def __init__(
        self,
        in_channels: int,
        initialise: bool = True,
        facts: Facts = NO_FACTS,
        *,
        name: str | None = None,
        revision: str = "main",
        weights: str | None = None,
        pooling: Literal["mean", "cls"] = "mean",
        freeze: bool = False,
        freeze_layers: Annotated[int, Range(0)] = 0,
        lr_factor: Annotated[float, Range(0)] = 1.0,
        vector: Annotated[int, Range(1)] | None = None,
    ) -> None:
        super().__init__()
        if facts.get("num_tokens") != in_channels:
            raise ValueError("the texts were not numbered by this network's tokenizer; give every text its own encoder")
        whole = _source(name, revision, weights).network() if initialise else untrained(facts["transformer"])
        network: Any = _text_part(whole)
        self.network: nn.Module = network
        self.pooling = pooling
        self.lr_factor = lr_factor
        width = int(network.config.hidden_size)
        self.project = None if vector is None else nn.Linear(width, vector)
        self.spec = FeatureSpec("sequence", width) if vector is None else FeatureSpec("vector", vector)
        self._num_frozen = self._count_frozen(freeze, freeze_layers)
        for stage in self.layers()[: self._num_frozen]:
            stage.requires_grad_(False)
        self.train(self.training)

    def _count_frozen(self, freeze: bool, freeze_layers: int) -> int:
        num_layers = len(self.layers()) - 1
        if freeze_layers > num_layers:
            raise ValueError(f"freeze_layers is {freeze_layers}, but the network has {num_layers} layers")
        return num_layers + 1 if freeze else freeze_layers + 1 if freeze_layers else 0

    @classmethod
    def brings(cls, options: Mapping[str, Any]) -> Facts:
        """Its tokenizer, architecture and limits.

        Raises:
            WeftError: the hub is out of reach, or the folder lacks something.
        """
        return _facts(_source(options.get("name"), options.get("revision", "main"), options.get("weights")))

    def extract(self, inputs: Tensor, lengths: Tensor | None = None) -> Features:
        """See `Encoder.extract`: inputs (P, L) int64. With `vector`, (P, 1, D) summaries."""
        if lengths is None:
            lengths = inputs.new_full((len(inputs),), inputs.shape[1])
        real = torch.arange(inputs.shape[1], device=inputs.device) < lengths[:, None]
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.extract_frozen):
            tokens = self.network(input_ids=inputs, attention_mask=real.long()).last_hidden_state
        features = Features.of_sequence(tokens, lengths, vector=tokens[:, 0] if self.pooling == "cls" else None)
        return features if self.project is None else Features.of_vector(features.pooled)

    def finish(self, features: Features) -> Features:
        """See `Encoder.finish`: the projection of `vector`."""
        if self.project is None:
            return features
        return replace(features, tokens=self.project(features.tokens))

    @property
    def extract_frozen(self) -> bool:
        """See `Encoder.extract_frozen`: with `freeze`, or all layers frozen."""
        return self._num_frozen == len(self.layers())

    def layers(self) -> list[nn.Module]:
        """See `Encoder.layers`: the word embeddings, then each layer."""
        return stages(self.network)

    def train(self, mode: bool = True) -> HuggingFaceEncoder:
        """Training mode, except for what is frozen: its dropout stays off."""
        super().train(mode)
        if self.extract_frozen:
            self.network.eval()
        for stage in self.layers()[: self._num_frozen]:
            stage.eval()
        return self


def _source(name: str | None, revision: str, weights: str | None) -> Source:
    return Source("huggingface", name, revision, weights, _FILES)


def _facts(source: Source) -> dict[str, Any]:
    """What the run keeps of it."""
    config, tokenizer = source.load("AutoConfig"), source.load("AutoTokenizer")
    if not getattr(tokenizer, "is_fast", False):
        raise WeftError(
            f"the tokenizer of {source.place} has no fast form (tokenizer.json), the only one that is read; choose "
            "another network, or convert it with the transformers library"
        )
    num_tokens = int(getattr(config, "vocab_size", 0))
    if len(tokenizer) > num_tokens:
        raise WeftError(f"{source.place}: the tokenizer has {len(tokenizer)} tokens, the network only {num_tokens}")
    padding, empty = (
        next((int(token) for token in tokens if token is not None), 0)
        for tokens in (
            (tokenizer.pad_token_id, tokenizer.eos_token_id),
            (tokenizer.unk_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id),
        )
    )
    return {
        "tokenizer": tokenizer.backend_tokenizer.to_str(),
        "padding": padding,
        "empty": empty,
        "num_tokens": num_tokens,
        "max_length": _max_length(tokenizer, config),
        "transformer": architecture(config),
    }


def _text_part(network: Any) -> Any:
    """Of an encoder and decoder the encoder; of others all but a pooling layer, which nobody reads here."""
    part = network.get_encoder() if network.config.is_encoder_decoder else network
    if getattr(part, "pooler", None) is not None:
        part.pooler = None
    return part


def _max_length(tokenizer: Any, config: Any) -> int:
    """Tokens of a text that the network takes, with those that the tokenizer puts around it."""
    positions = getattr(config, "max_position_embeddings", None)
    limits = [tokenizer.model_max_length] if tokenizer.model_max_length < _NO_LIMIT else []
    if positions:
        limits.append(positions - positions % 8)  # RoBERTa's 514 are 512 and two that are never used
    return int(min(limits, default=_MAX_LENGTH))
