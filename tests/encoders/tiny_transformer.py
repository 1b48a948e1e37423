"""A pretrained text network small enough for tests: a folder as `save_pretrained` writes it."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["a", "ball", "box", "cone", "the", "at", "in", "is", "left", "right", "red", "cat", "dog", "sat", "on", "mat"]
PIECES = ["##s", "##ing", ".", ",", "!", "http", "user", "@"]


def write_tiny_bert(folder: Path, *, dtype: str = "float32", max_positions: int = 24, seed: int = 0) -> Path:
    """A BERT of two layers, 16 numbers wide, with a WordPiece tokenizer, written to `folder`."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS, *PIECES])}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.enable_padding(length=20)  # as published files have it; weft must not follow it
    tokenizer.enable_truncation(7)
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=max_positions,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertModel(config).to(getattr(torch, dtype)).save_pretrained(folder)
    return folder


@cache
def tiny_bert() -> Path:
    """The folder of one such network for the whole test run."""
    return write_tiny_bert(Path(tempfile.mkdtemp(prefix="weft-tiny-bert-")))
