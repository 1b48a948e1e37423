"""An epoch of posts through a text network: batches of neighbours in length, beside everything padded to 128 tokens.

All sides go through weft's own data path and a frozen network with a new projection; `--train` trains it whole. Without
`--posts` the texts are made up: 4 to 40 words, one in twenty of up to 120. Without `--weights` the network is a BERT of
MiniLM's size with random weights.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import pad

from weft import load_experiment
from weft.data.pipeline import Data, build_data
from weft.encoders.huggingface import HuggingFaceEncoder

LENGTH = 128
NUM_POSTS = 512
BATCH = 32

WORDS = ["the", "day", "is", "so", "good", "with", "my", "new", "dog", "at", "home", "and", "we", "love", "it", "cold"]


def write_posts(root: Path, posts: Path | None) -> None:
    """A table of posts, in two classes that mean nothing."""
    if posts is not None:
        texts = [path.read_text(encoding="utf-8") for path in sorted(posts.glob("*.txt"))[:NUM_POSTS]]
    else:
        generator = np.random.default_rng(0)
        lengths = [generator.integers(*((40, 120) if generator.random() < 0.05 else (4, 40))) for _ in range(NUM_POSTS)]
        texts = [" ".join(generator.choice(WORDS, length)) for length in lengths]
    rows = [{"id": str(i), "split": "train", "text": text, "mood": "ab"[i % 2]} for i, text in enumerate(texts)]
    (root / "posts.jsonl").write_text("\n".join(map(json.dumps, rows)))


def random_weights(root: Path) -> Path:
    """A folder with a BERT of MiniLM's size and a tokenizer of whole words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    posts = [json.loads(line)["text"] for line in (root / "posts.jsonl").read_text().splitlines()]
    known = ["[PAD]", "[UNK]", *sorted({word for post in posts for word in post.split()})]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(known)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(root)
    config = BertConfig(
        vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    )
    BertModel(config).save_pretrained(root)
    return root


def open_data(root: Path, weights: Path, *, neighbours: int) -> Data:
    """The posts, as weft's batches."""
    return build_data(
        load_experiment(
            {
                "name": "padding",
                "data": {
                    "format": "table",
                    "root": str(root),
                    "file": "posts.jsonl",
                    "neighbours": neighbours,
                    "validation": {"fraction": 0.01},
                },
                "modalities": {
                    "text": {"max_length": LENGTH, "encoder": {"type": "huggingface", "weights": str(weights)}}
                },
                "tasks": {"mood": {"type": "classification"}},
                "train": {"batch_size": BATCH, "device": "cpu"},
            }
        )
    )


def epoch(data: Data, encoder: HuggingFaceEncoder, number: int, *, whole: bool) -> tuple[float, int]:
    """Seconds of an epoch, and the tokens that the network saw.

    Args:
        data: of the posts.
        encoder: trained or frozen.
        number: of the epoch.
        whole: pad every batch to `LENGTH`.
    """
    start, seen = time.perf_counter(), 0
    for batch in data.batches("train", training=True, epoch=number):
        tokens = batch.inputs["text"]
        if whole:
            tokens = pad(tokens, (0, LENGTH - tokens.shape[1]), value=data.modalities["text"].geometry.fill)
        seen += tokens.numel()
        encoder(tokens, batch.lengths["text"]).pooled.sum().backward()
        encoder.zero_grad()
    return time.perf_counter() - start, seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, help="a local folder of a Hugging Face network")
    parser.add_argument("--posts", type=Path, help="a folder of text files")
    parser.add_argument("--train", action="store_true", help="train the network, not only a projection")
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp())
    write_posts(root, arguments.posts)
    weights = arguments.weights or random_weights(root)
    sides = {
        "neighbours, longest of the batch": (open_data(root, weights, neighbours=32), False),
        "shuffled, longest of the batch": (open_data(root, weights, neighbours=0), False),
        f"shuffled, all to {LENGTH}": (open_data(root, weights, neighbours=0), True),
    }
    modality = next(iter(sides.values()))[0].modalities["text"]
    encoder = HuggingFaceEncoder(
        modality.num_channels, True, modality.facts, weights=str(weights), freeze=not arguments.train, vector=64
    ).train()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    seen: dict[str, int] = {}
    for turn in range(arguments.turns):
        for name, (data, whole) in sides.items():
            taken, seen[name] = epoch(data, encoder, turn, whole=whole)
            seconds[name].append(taken)
    *_, over = sides
    how = "trained whole" if arguments.train else "frozen"
    print(f"{NUM_POSTS} posts in batches of {BATCH}, {how}, {torch.get_num_threads()} threads")
    for name, times in seconds.items():
        ratios = sorted(slow / fast for slow, fast in zip(seconds[over], times, strict=True))
        print(
            f"  {name:34} median {statistics.median(times):7.2f} s, {seen[name]:7} tokens, "
            f"{statistics.median(ratios):.2f}x [{ratios[0]:.2f}, {ratios[-1]:.2f}] as fast"
        )


if __name__ == "__main__":
    main()
