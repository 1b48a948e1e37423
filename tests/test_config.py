"""Configurations: what is read, what is refused, and how it is told."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from weft import registry
from weft.config import load_experiment, to_yaml
from weft.config_tree import resolve
from weft.errors import ConfigError
from weft.experiment import Experiment
from weft.registry import Part

REPOSITORY = Path(__file__).parents[1]

WHOLE = """\
name: rooms
data: {format: nyuv2, root: data/nyuv2, size: [240, 320]}
modalities:
  image: {encoder: {type: timm, name: resnet18}}
  depth:
    encoder: {type: timm, name: resnet18}
    dropout: 0.2
fusion: {type: concat}
tasks:
  rooms: {type: segmentation, target: label, decoder: unet, loss: cross_entropy, weight: 2}
  classification: {}
train: {epochs: 3, optimizer: {type: sgd, lr: 1e-2}, schedule: poly}
"""


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def to_file(text: str | bytes, name: str = "my.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return to_file


def changed(old: str, new: str) -> str:
    assert WHOLE.count(old) == 1
    return WHOLE.replace(old, new)


def problems_of(path: Path, *overrides: str) -> list[str]:
    """What is told, without the folder of the file."""
    with pytest.raises(ConfigError) as caught:
        load_experiment(path, overrides)
    return [problem.replace(str(path), path.name) for problem in caught.value.problems]


def problem_of(path: Path, *overrides: str) -> str:
    (problem,) = problems_of(path, *overrides)
    return problem


def test_an_experiment_is_read(write: Any) -> None:
    experiment = load_experiment(write(WHOLE))
    assert experiment.name == "rooms"
    assert experiment.data.format.type == "nyuv2"
    assert experiment.data.format.options["root"] == "data/nyuv2"
    assert experiment.data.size == (240, 320)
    assert experiment.modalities["depth"].encoder is not None
    assert experiment.modalities["depth"].encoder.options["name"] == "resnet18"
    assert experiment.modalities["depth"].dropout == 0.2
    assert experiment.fusion.type == "concat"
    assert experiment.train.optimizer.options["lr"] == 0.01
    assert experiment.tasks["rooms"].options["decoder"].type == "unet"
    assert experiment.tasks["rooms"].weight == 2.0


def test_a_mapping_is_read_as_its_yaml() -> None:
    mapping = {
        "name": "x",
        "data": {"format": "nyuv2", "root": Path("data/nyuv2"), "size": (240, 320)},
        "modalities": {"image": {"encoder": {"type": "timm", "name": "resnet18"}}},
        "tasks": {"rooms": "segmentation"},
    }
    assert load_experiment(mapping).data.size == (240, 320)
    assert load_experiment(mapping).data.format.options["root"] == "data/nyuv2"


def test_type_column_and_target_default_to_the_name(write: Any) -> None:
    experiment = load_experiment(write(WHOLE))
    assert (experiment.modalities["depth"].type, experiment.modalities["depth"].column) == ("depth", "depth")
    assert (experiment.tasks["classification"].type, experiment.tasks["classification"].target) == (
        "classification",
        "classification",
    )
    assert experiment.tasks["rooms"].target == "label"


def test_every_default_is_filled_in(write: Any) -> None:
    experiment = load_experiment(write(WHOLE))
    assert experiment.resolved["train"]["optimizer"] == {
        "type": "sgd",
        "lr": 0.01,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 1e-4,
    }
    assert experiment.resolved["decision"] == {"type": "mean"}
    assert experiment.resolved["data"]["augment"]["flip"] == 0.0


def test_options_without_a_type_change_the_default_part(write: Any) -> None:
    experiment = load_experiment(write(changed("optimizer: {type: sgd, lr: 1e-2}", "optimizer: {lr: 0.5}")))
    assert (experiment.train.optimizer.type, experiment.train.optimizer.options["lr"]) == ("adamw", 0.5)


def test_a_name_alone_is_a_part(write: Any) -> None:
    experiment = load_experiment(write(changed("{type: concat}", "concat")))
    assert experiment.fusion == load_experiment(write(WHOLE)).fusion


def test_an_encoder_can_be_shared(write: Any) -> None:
    text = changed("    encoder: {type: timm, name: resnet18}\n    dropout", "    encoder: {share: image}\n    dropout")
    experiment = load_experiment(write(text))
    assert (experiment.modalities["depth"].encoder, experiment.modalities["depth"].share) == (None, "image")
    assert experiment.resolved["modalities"]["depth"]["encoder"] == {"share": "image"}


def test_tuples_of_signatures_are_tuples(write: Any) -> None:
    adamw = load_experiment(write(WHOLE), ["train.optimizer=adamw"]).train.optimizer
    assert adamw.options["betas"] == (0.9, 0.999)


def test_resolved_loads_as_the_same_experiment(write: Any) -> None:
    experiment = load_experiment(write(WHOLE))
    assert load_experiment(write(to_yaml(experiment), "again.yaml")) == experiment
    assert load_experiment(experiment.resolved) == experiment


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").rglob("*.yaml")), ids=lambda path: path.name)
def test_shipped_configurations_load_and_load_again(path: Path, write: Any) -> None:
    experiment = load_experiment(path)
    assert load_experiment(write(to_yaml(experiment))) == experiment


@pytest.mark.parametrize(
    "text", ["no", "1e-3", "0o17", "~", "", ".inf", "*a", "a: b", "# c", " x ", "&a", "{", "é😀", "12"]
)
def test_text_that_looks_like_something_else_survives(text: str, write: Any) -> None:
    experiment = load_experiment(write(WHOLE), [f"data.root={_quoted(text)}"])
    assert experiment.data.format.options["root"] == text
    assert load_experiment(write(to_yaml(experiment))) == experiment


# --- overrides -------------------------------------------------------------------------------------------------------


def test_overrides_change_values_and_make_keys(write: Any) -> None:
    experiment = load_experiment(
        write(WHOLE),
        ["train.epochs=5", "data.size=[64, 96]", "data.augment.flip=0.5", "train.schedule=cosine", "train.clip=1"],
    )
    assert experiment.train.epochs == 5
    assert experiment.data.size == (64, 96)
    assert experiment.data.augment.flip == 0.5
    assert experiment.train.schedule.type == "cosine"
    assert experiment.train.clip == 1.0


def test_the_last_override_wins(write: Any) -> None:
    assert load_experiment(write(WHOLE), ["train.epochs=5", "train.epochs=6"]).train.epochs == 6


def test_an_override_puts_options_beside_a_name(write: Any) -> None:
    experiment = load_experiment(write(WHOLE), ["train.schedule.power=2", "tasks.rooms.loss.label_smoothing=0.1"])
    assert experiment.train.schedule.options["power"] == 2.0
    assert experiment.tasks["rooms"].options["loss"].options["label_smoothing"] == 0.1


def test_an_override_puts_options_on_a_default(write: Any) -> None:
    text = changed("optimizer: {type: sgd, lr: 1e-2}, ", "")
    assert load_experiment(write(text), ["train.optimizer.lr=3"]).train.optimizer == _optimizer("adamw", 3)


def test_an_override_may_hold_an_equals_sign(write: Any) -> None:
    assert load_experiment(write(WHOLE), ["data.root=a=b"]).data.format.options["root"] == "a=b"


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("train.epochs=x", "train.epochs: 'x' was given; allowed: a whole number (x >= 1)"),
        ("train.epoch=3", "train.epoch: unknown option; did you mean 'epochs'?"),
        ("train.epochs", "not of the form key=value, such as train.epochs=5"),
        ("=3", "not of the form key=value, such as train.epochs=5"),
        ("train..epochs=3", "not of the form key=value, such as train.epochs=5"),
        ("data.size.0=3", "data.size.0: data.size is a list; give it whole: data.size=[…]"),
        ("data.root=", "data.root: nothing was given; allowed: text"),
        ("data.root=@x", "not YAML: while scanning for the next token found character '@' that cannot start any token"),
        ("name.x=3", "name: a mapping was given; allowed: text"),
    ],
)
def test_problems_of_overrides_are_told_with_the_override(override: str, problem: str, write: Any) -> None:
    told = problem_of(write(WHOLE), override)
    assert told.startswith(f"override '{override}': {problem}")


# --- places ----------------------------------------------------------------------------------------------------------


def test_a_problem_has_its_line_path_and_bounds(write: Any) -> None:
    text = changed("dropout: 0.2", "dropout: 1.5")
    assert problem_of(write(text)) == "my.yaml:7: modalities.depth.dropout: 1.5 was given; allowed: 0 <= x < 1"


def test_all_problems_are_told_together_in_the_order_of_the_lines(write: Any) -> None:
    text = changed("size: [240, 320]", "sise: [240, 320]")
    text = (
        text.replace("dropout: 0.2", "dropout: x")
        .replace("epochs: 3", "epochs: 0")
        .replace("type: concat", "type: conct")
    )
    assert problems_of(write(text), "train.seed=-1") == [
        "my.yaml:2: data.sise: unknown option; did you mean 'size'?",
        "my.yaml:7: modalities.depth.dropout: 'x' was given; allowed: a number (0 <= x < 1)",
        "my.yaml:8: fusion.type: there is no fusion 'conct'; did you mean 'concat'?",
        "my.yaml:12: train.epochs: 0 was given; allowed: x >= 1",
        "override 'train.seed=-1': train.seed: -1 was given; allowed: x >= 0",
    ]


def test_the_message_counts_the_problems(write: Any) -> None:
    with pytest.raises(ConfigError, match=r"my\.yaml: 1 problem\n") as caught:
        load_experiment(write(changed("epochs: 3", "epochs: 0")))
    assert caught.value.exit_code == 2


# --- YAML ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("1e-3", 0.001), ("1.", 1.0), (".5", 0.5), ("-2", -2), ("+3", 3), ("0o17", 15), ("0x1F", 31), ("010", 10)],
        *[("true", True), ("False", False), ("no", "no"), ("on", "on"), ("y", "y"), ("null", None), ("~", None)],
        *[("1_000", "1_000"), ("12:30", "12:30"), ("2026-01-01", "2026-01-01"), ("1e400", float("inf"))],
        *[("-.inf", float("-inf")), (".", "."), ("e3", "e3"), ("=", "="), ("<<", "<<")],
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("epochs: 3", "epochs: !!int 3", "my.yaml:12: train.epochs: the tag tag:yaml.org,2002:int is not allowed"),
        ("epochs: 3", "epochs: &a 3", "my.yaml:12: train.epochs: the anchor &a is not allowed"),
        ("root: data/nyuv2", "root: *a", "my.yaml:2: data.root: the alias *a is not allowed"),
        ("epochs: 3", "epochs: 3, epochs: 4", "my.yaml:12: train.epochs: given twice; the first is my.yaml:12"),
        ("name: rooms\n", "name: rooms\n? [a]\n: 3\n", "my.yaml:2: a list or mapping cannot be a key"),
        ("name: rooms\n", "name: rooms\n<<: {a: 1}\n", "my.yaml:2: <<: unknown option"),
        ("name: rooms\n", "name: rooms\n\tx: 1\n", "my.yaml:2: not YAML: "),
        ("name: rooms\n", "name: 'rooms\n", "my.yaml:13: not YAML: while scanning a quoted scalar (line 1)"),
        ("root: data/nyuv2", 'root: "a\\0b"', "my.yaml:2: data.root: 'a\\x00b' has a control character in it"),
    ],
)
def test_yaml_beyond_plain_values_is_refused(old: str, new: str, problem: str, write: Any) -> None:
    assert problem_of(write(changed(old, new))).startswith(problem)


def test_an_alias_bomb_is_refused_at_once(write: Any) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    start = time.perf_counter()
    assert any("the alias *a0 is not allowed" in problem for problem in problems_of(write("\n".join(lines))))
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "my.yaml: nothing was given"),
        (b"just text", "my.yaml:1: 'just text' was given; allowed: a mapping"),
        (b"- a\n- b\n", "my.yaml:1: a list was given; allowed: a mapping"),
        (b"a: 1\n---\nb: 2\n", "my.yaml:2: a second document begins here"),
        (b"name: x\nroot: \xff\xfe\n", "my.yaml:2: byte 0xff is not UTF-8"),
        (b"name: x\x00\n", "my.yaml:1: the character #x0000 is not allowed"),
        (b"[" * 5000, "my.yaml: nested deeper than 32 levels"),
        (b"{a: " * 5000, "my.yaml: nested deeper than 32 levels"),
        (b"#" * 300_000, "my.yaml: 300000 characters; a configuration has at most"),
        (b'a: "\\Uffffffff"', "my.yaml: not YAML"),
    ],
)
def test_files_that_are_no_configuration_are_refused(content: bytes, problem: str, write: Any) -> None:
    assert any(told.startswith(problem) for told in problems_of(write(content)))


def test_a_byte_order_mark_is_read_over(write: Any) -> None:
    assert load_experiment(write(b"\xef\xbb\xbf" + WHOLE.encode())).name == "rooms"


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    assert problem_of(tmp_path / "none.yaml") == "none.yaml: there is no such file"
    assert problem_of(tmp_path).endswith("is a folder; give a YAML file")


def test_a_mapping_that_holds_itself_is_refused() -> None:
    mapping: dict[str, Any] = {"name": "x"}
    mapping["data"] = mapping
    with pytest.raises(ConfigError, match="nested deeper"):
        load_experiment(mapping)


def test_an_object_in_a_mapping_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="name: an object of type object was given; allowed: text, numbers, lists and mappings"
    ):
        load_experiment({"name": object()})


# --- types -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("train.compile=no", "'no' was given; allowed: true or false; write false"),
        ("train.compile=ON", "'ON' was given; allowed: true or false; write true"),
        ("train.compile=1", "1 was given; allowed: true or false"),
        ("train.epochs=1e3", "1e3 was given; allowed: a whole number (x >= 1); write 1000"),
        ("train.epochs=1_000", "'1_000' was given; allowed: a whole number (x >= 1); write 1000"),
        ("train.epochs='5'", "'5' was given; allowed: a whole number (x >= 1); write 5"),
        ("train.epochs=true", "true was given; allowed: a whole number (x >= 1)"),
        ("train.seed=99999999999999999999", "99999999999999999999 was given; allowed: numbers below 2 ** 63"),
        ("train.optimizer.lr=.nan", ".nan was given; allowed: a number (x > 0), finite"),
        ("train.optimizer.lr=1e999", "1e999 was given; allowed: a number (x > 0), finite"),
        ("train.optimizer.lr=0", "0 was given; allowed: x > 0"),
        ("train.clip=x", "'x' was given; allowed: a number (x > 0) or null"),
        ("train.precision=fp16", "'fp16' was given; allowed: one of auto, fp32, bf16; did you mean 'bf16'?"),
        ("name=2024", '2024 was given; allowed: text; write "2024" in quotes'),
        ("over=image", "'image' was given; allowed: a list of text or null; write [image]"),
        ("data.size=[240]", "1 value was given; allowed: [a whole number (x >= 1), a whole number (x >= 1)]"),
        ("data.size=[240, x]", "data.size.1: 'x' was given; allowed: a whole number (x >= 1)"),
        ("train.lr=0.1", "train.lr: unknown option; did you mean optimizer.lr?"),
        ("train.optimizer.typ=sgd", "train.optimizer.typ: unknown option; did you mean 'type'?"),
        (
            "train.optimizer=[sgd]",
            "a list was given; allowed: an optimizer with its options; there are adam",
        ),
        ("modalities.image.encoder.type=tim", "there is no encoder 'tim'; did you mean 'timm'?"),
        ("modalities.image.encoder=timm", "modalities.image.encoder.name: missing; allowed: text"),
        ("modalities.thermal.encoder=timm", "modalities.thermal.type: missing; there are audio, depth, flow, image"),
        ("modalities.thermal.type=depth", "modalities.thermal.encoder: missing"),
        ("tasks.boxes=detekt", "tasks.boxes: there is no task 'detekt'"),
        ("tasks={}", "tasks: empty; give a task at least"),
        ("data.format=nyuv1", "data.format: there is no format 'nyuv1'; did you mean 'nyuv2'?"),
        ("modalities.a-b={type: image, encoder: {share: image}}", "modalities.a-b: not a name"),
        ("modalities.fused={type: image, encoder: {share: image}}", "modalities.fused: weft or torch has that name"),
        ("tasks.keys=segmentation", "tasks.keys: weft or torch has that name; choose another, such as keys_1"),
    ],
)
def test_wrong_values_are_told_with_what_is_allowed(override: str, told: str, write: Any) -> None:
    assert told in problem_of(write(WHOLE), override)


def test_missing_sections_are_told(write: Any) -> None:
    told = problems_of(write("train: {epochs: 1}"))
    assert [problem.split(": ")[1] for problem in told] == ["data", "modalities", "name", "tasks"]


# --- cross checks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["name=a/../b"], "name: 'a/../b' was given; allowed: letters, digits, '.', '_' and '-'"),
        (["over=[imge]"], "over: there is no view 'imge'; there are fused, image, depth"),
        (["over=[fused]", "fusion=none"], "over: there is no view 'fused'; there are image, depth"),
        (["over=[image, image]"], "over: 'image' is given twice"),
        (["over=[]"], "over: empty; give one view at least"),
        (
            ["modalities.depth.encoder={share: thermal}"],
            "depth.encoder.share: there is no modality 'thermal'; those",
        ),
        (["modalities.depth.encoder={share: depth}"], "'depth' has no encoder of its own, it shares one"),
        (["data.augment.crop=[300, 300]"], "[300, 300] was given, larger than data.size [240, 320]"),
        (["data.augment.scale=[2, 1]"], "data.augment.scale: [2, 1] was given; allowed: [low, high] with low <= high"),
        (
            ["data.validation={folds: 3, fold: 3}"],
            "fold: 3 was given; allowed: 0 <= x < 3, the number of folds",
        ),
        (["data.validation.fold=1"], "data.validation.fold: 1 was given without folds; give folds: k as well"),
        (["data.validation.by=group"], "group was given, and data.group names no column; give data.group"),
        (["train.best=room/mIoU"], "train.best: there is no task 'room'; there are rooms, classification"),
        (["train.best=rooms"], "train.best: 'rooms' was given; allowed: task/figure"),
        (["train.best=rooms/miou"], "train.best: rooms has no figure 'miou'; there are mIoU"),
    ],
)
def test_options_that_do_not_go_together_are_told(overrides: list[str], told: str, write: Any) -> None:
    assert told in problem_of(write(WHOLE), *overrides)


def test_cross_checks_are_told_with_other_problems(write: Any) -> None:
    told = problems_of(write(WHOLE), "train.epochs=x", "over=[imge]")
    assert len(told) == 2


@pytest.mark.parametrize(
    "overrides",
    [
        ["decision=mean", "fusion=none"],
        ["over=[fused, image, depth]"],
        ["data.augment.crop=[300, 300]", "data.augment.scale=[0.5, 2]"],
        ["data.validation={folds: 3, fold: 2}"],
        ["train.best=rooms/mIoU"],
        ["train.best=rooms/IoU/chair"],
        ["data.validation.by=group", "data.group=scene"],
    ],
)
def test_options_that_go_together_are_taken(overrides: list[str], write: Any) -> None:
    assert isinstance(load_experiment(write(WHOLE), overrides), Experiment)


# --- parts of the user's own -----------------------------------------------------------------------------------------

OWN_PARTS = '''
from weft import register

@register("modality", "words_of_mine")
class Words:
    """Words.

    Args:
        limit: how many.
    """

    raster = False

    def __init__(self, facts, *, limit: int = 5):
        self.limit = limit

@register("encoder", "bag_of_mine")
class Bag:
    """A bag of words."""

    gives_maps = False

    def __init__(self, in_channels): ...
'''

WORDS = "{type: words_of_mine, limit: 7, encoder: bag_of_mine}"


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setattr(registry, "_parts", {kind: dict(parts) for kind, parts in registry._parts.items()})


@pytest.mark.usefixtures("own_registry")
def test_parts_of_ones_own_are_found_beside_the_file(write: Any, tmp_path: Path) -> None:
    write(OWN_PARTS, "own.py")
    experiment = load_experiment(write(WHOLE), ["imports=[own.py]", f"modalities.words={WORDS}"])
    assert experiment.modalities["words"].options == {"limit": 7}
    assert experiment.modalities["words"].encoder == Part("encoder", "bag_of_mine")
    assert experiment.imports == (str(tmp_path / "own.py"),)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert load_experiment(write(to_yaml(experiment), "elsewhere/experiment.yaml")) == experiment
    assert "unknown option; did you mean 'limit'?" in problem_of(
        write(WHOLE), "imports=[own.py]", f"modalities.words={WORDS.replace('limit', 'limt')}"
    )
    _dense_tasks_without_maps_are_refused(write(WHOLE))


@pytest.mark.usefixtures("own_registry")
def test_a_part_of_ones_own_cannot_take_a_name_of_wefts(write: Any) -> None:
    write("from weft import register\n@register('encoder', 'timm')\ndef mine(in_channels): ...\n", "own.py")
    registry._parts["encoder"].pop("timm", None)  # as in a process that has not needed it yet
    told = problem_of(write(WHOLE), "imports=[own.py]")
    assert "registers the encoder 'timm', which weft has; choose another name" in told


def _dense_tasks_without_maps_are_refused(path: Path) -> None:
    assert problem_of(path, f"modalities={{words: {WORDS}}}").endswith(
        "tasks.rooms: a segmentation task needs maps, and no modality gives any (words); "
        "add an image-like one (depth, image) with an encoder that gives maps"
    )
    assert "the view 'words' has none; leave it out of its `over`, or choose a fusion" in problem_of(
        path, f"modalities.words={WORDS}", "fusion=none"
    )
    load_experiment(path, [f"modalities.words={WORDS}"])
    load_experiment(path, [f"modalities={{words: {WORDS}}}", "tasks={classification: {}}"])


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (None, "imports: "),
        ("def broken(:\n", "cannot be imported: invalid syntax"),
        ("import a_package_that_is_not_there\n", "cannot be imported: No module named 'a_package_that_is_not_there'"),
        (
            "from weft import register\n@register('fusoin', 'x')\ndef x(): ...\n",
            "there is no extension point 'fusoin'",
        ),
    ],
)
def test_files_that_cannot_be_imported_are_told(source: str | None, told: str, write: Any) -> None:
    if source is not None:
        write(source, "broken.py")
    problem = problem_of(write(WHOLE), "imports=[broken.py]")
    assert told in problem
    assert problem.startswith("override 'imports=[broken.py]': imports: ")


# --- speed -----------------------------------------------------------------------------------------------------------


def test_configuration_errors_do_not_wait_for_torch(write: Any) -> None:
    code = (
        "import sys\n"
        "import weft.cli, weft.config, weft.registry, weft.experiment, weft.errors\n"
        f"code = weft.cli.run(['check', {str(write(changed('epochs: 3', 'epochs: 0')))!r}])\n"
        "heavy = {'torch', 'numpy', 'pyarrow', 'PIL', 'cv2'} & set(sys.modules)\n"
        "print(code, sorted(heavy))"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2 []\n"
    assert "train.epochs: 0 was given" in done.stderr
    assert time.perf_counter() - start < 5  # under 0.2 s on a quiet machine; not to fail on a busy one


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _optimizer(name: str, lr: float) -> Part:
    options = {"lr": float(lr), "betas": (0.9, 0.999), "weight_decay": 0.01}
    return Part("optimizer", name, options)
