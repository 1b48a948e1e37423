"""Text networks of the transformers library: the same numbers as there, and nothing fetched that is not needed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.encoders.tiny_transformer import tiny_bert, write_tiny_bert
from weft.encoders.huggingface import HuggingFaceEncoder
from weft.errors import WeftError
from weft.modalities.base import Facts

NUM_TOKENS = 29


def facts(folder: Path) -> Facts:
    return HuggingFaceEncoder.brings({"weights": str(folder)})


def build(folder: Path, **options: object) -> HuggingFaceEncoder:
    torch.manual_seed(0)
    return HuggingFaceEncoder(NUM_TOKENS, True, facts(folder), weights=str(folder), **options)  # type: ignore[arg-type]


def test_tokens_and_summaries_are_the_library_s() -> None:
    from transformers import AutoModel, AutoTokenizer

    theirs = AutoModel.from_pretrained(tiny_bert()).eval()
    batch = AutoTokenizer.from_pretrained(tiny_bert())(
        ["the cat sat on the mat", "a dog"], padding="longest", return_tensors="pt"
    )
    lengths = batch["attention_mask"].sum(1)
    expected = theirs(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    features = build(tiny_bert()).eval()(batch["input_ids"], lengths)
    torch.testing.assert_close(features.tokens[features.mask], expected[features.mask], rtol=1e-5, atol=1e-6)
    mean = torch.stack([expected[row, :length].mean(0) for row, length in enumerate(lengths.tolist())])
    torch.testing.assert_close(features.pooled, mean, rtol=1e-5, atol=1e-6)
    first = build(tiny_bert(), pooling="cls").eval()(batch["input_ids"], lengths).pooled
    torch.testing.assert_close(first, expected[:, 0], rtol=1e-5, atol=1e-6)


def test_mini_lm_finds_paraphrases(shared: Path) -> None:
    from weft.modalities.text import TextModality

    folder = shared / "data" / "weights" / "all-MiniLM-L6-v2"
    brought = facts(folder)
    modality = TextModality({**brought, "texts": {}}, max_length=256)
    encoder = HuggingFaceEncoder(modality.num_channels, True, brought, weights=str(folder), freeze=True).train()
    assert all(parameter.dtype == torch.float32 for parameter in encoder.parameters())  # the file is float16
    texts = ["A man is playing a guitar.", "Someone plays a guitar", "The stock market fell today"]
    rows = [torch.from_numpy(modality.read(text, lambda cell: cell)) for text in texts]  # type: ignore[arg-type,return-value]
    lengths = torch.tensor([len(row) for row in rows])
    pooled = encoder(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths).pooled
    unit = torch.nn.functional.normalize(pooled)
    assert float(unit[0] @ unit[1]) > 0.6
    assert float(unit[0] @ unit[2]) < 0.15


def test_weights_are_float32_whatever_the_file_holds(tmp_path: Path) -> None:
    folder = write_tiny_bert(tmp_path, dtype="float16")
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {torch.float16}
    for initialise in (True, False):
        encoder = HuggingFaceEncoder(NUM_TOKENS, initialise, facts(folder), weights=str(folder))
        assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}


def test_a_run_needs_the_folder_no_more(tmp_path: Path) -> None:
    folder = write_tiny_bert(tmp_path / "model")
    known = facts(folder)
    assert str(tmp_path) not in str(known)
    first = HuggingFaceEncoder(NUM_TOKENS, True, known, weights=str(folder)).eval()
    shutil.rmtree(folder)
    second = HuggingFaceEncoder(NUM_TOKENS, False, known, weights=str(folder)).eval()
    second.load_state_dict(first.state_dict())
    ids = torch.randint(4, NUM_TOKENS, (2, 7))
    assert torch.equal(first(ids).tokens, second(ids).tokens)


def test_the_first_layers_alone_can_be_frozen() -> None:
    encoder = build(tiny_bert(), freeze_layers=1).train()
    encoder(torch.randint(4, NUM_TOKENS, (2, 7))).tokens.sum().backward()
    embeddings, first, second = encoder.layers()
    assert all(p.grad is None for stage in (embeddings, first) for p in stage.parameters())
    assert all(p.grad is not None for p in second.parameters())
    network = encoder.network
    assert not any(
        module.training for part in (network.embeddings, network.encoder.layer[0]) for module in part.modules()
    )
    assert network.encoder.layer[1].training
    assert not encoder.extract_frozen
    with pytest.raises(ValueError, match="the network has 2 layers"):
        build(tiny_bert(), freeze_layers=3)


def test_a_projection_is_new_and_learns_while_the_network_is_frozen() -> None:
    encoder = build(tiny_bert(), freeze=True, vector=5).train()
    features = encoder(torch.randint(4, NUM_TOKENS, (3, 7)))
    assert features.tokens.shape == (3, 1, 5)
    features.pooled.sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is not None] == ["project.weight", "project.bias"]
    assert encoder.spec.layout == "vector"


@pytest.mark.parametrize("kind", ["albert", "distilbert", "roberta", "t5", "gpt2"])
def test_other_architectures_are_taken(kind: str) -> None:
    from transformers import AutoConfig

    small = {"vocab_size": 40, "hidden_size": 16, "embedding_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    small |= {"intermediate_size": 32, "max_position_embeddings": 34}
    other_names = {
        "distilbert": {"vocab_size": 40, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
        "t5": {"vocab_size": 40, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2},
        "gpt2": {"vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32},
    }
    config = AutoConfig.for_model(kind, **other_names.get(kind, small))
    known = {"num_tokens": 40, "transformer": config.to_dict()}
    encoder = HuggingFaceEncoder(40, False, known, name="not-fetched").eval()
    ids, lengths = torch.randint(4, 40, (3, 9)), torch.tensor([4, 9, 1])
    features = encoder(ids, lengths)
    assert features.tokens.shape == (3, 9, 16)
    alone = encoder(ids[:1, :4], lengths[:1])
    torch.testing.assert_close(alone.pooled, features.pooled[:1], rtol=1e-4, atol=1e-5)
    by_layer = [id(p) for layer in encoder.layers() for p in layer.parameters()]
    assert sorted(set(by_layer)) == sorted(id(p) for p in encoder.parameters())


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("config.json", "lacks its configuration"),
        ("tokenizer.json", "lacks its tokenizer"),
        ("model.safetensors", "lacks its weights"),
    ],
)
def test_a_folder_that_lacks_a_file_is_refused_by_its_name(tmp_path: Path, file: str, said: str) -> None:
    folder = write_tiny_bert(tmp_path / "model")
    (folder / file).unlink()
    with pytest.raises(WeftError, match=f"{said}.*{file}"):
        facts(folder)


def test_weights_that_lack_tensors_are_refused(tmp_path: Path) -> None:
    folder = write_tiny_bert(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layer.1.attention.self.query.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeftError, match=r"lack 1 tensors of the network, such as encoder\.layer\.1"):
        build(folder)


def test_a_damaged_file_is_refused_with_its_folder(tmp_path: Path) -> None:
    folder = write_tiny_bert(tmp_path / "model")
    known = facts(folder)
    (folder / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(WeftError, match="cannot be read"):
        HuggingFaceEncoder(NUM_TOKENS, True, known, weights=str(folder))


def test_a_folder_that_is_not_there_and_a_wrong_choice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeftError, match="nowhere of encoder huggingface is not there"):
        HuggingFaceEncoder.brings({"weights": str(tmp_path / "nowhere")})
    for options in ({}, {"name": "a/b", "weights": str(tmp_path)}):
        with pytest.raises(WeftError, match="give `name` of the hub or `weights: FOLDER`"):
            HuggingFaceEncoder.brings(options)


def test_without_a_network_the_hub_is_not_reached_and_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoConfig

    def refuse(*_: object, **__: object) -> None:
        raise OSError("We couldn't connect to the hub")

    monkeypatch.setattr(AutoConfig, "from_pretrained", refuse)
    with pytest.raises(WeftError, match=r"could not be fetched.*write `weights: FOLDER`") as caught:
        HuggingFaceEncoder.brings({"name": "some/model"})
    assert caught.value.code == "no-network"


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(WeftError, match=r"weft\[text\]"):
        HuggingFaceEncoder.brings({"weights": str(tiny_bert())})


def test_numbers_of_another_vocabulary_are_refused() -> None:
    with pytest.raises(ValueError, match="not numbered by this network's tokenizer"):
        HuggingFaceEncoder(NUM_TOKENS + 1, True, facts(tiny_bert()), weights=str(tiny_bert()))
