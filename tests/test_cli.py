"""The command line: what each command hands on, what it says, and its exit codes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from weft.cli import commands, run
from weft.errors import DataFault, Interrupted, NumericFault, ResourceFault, WeftError

WHOLE = """\
name: rooms
data: {format: nyuv2, root: data/nyuv2, size: [240, 320]}
modalities:
  image: {encoder: {type: timm, name: resnet18}}
  depth: {encoder: {type: timm, name: resnet18}}
tasks:
  rooms: {type: segmentation, target: label}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my.yaml"
    path.write_text(WHOLE)
    return path


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "rooms" / "20260102-101500"
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text(WHOLE)
    return folder


class Calls(list[tuple[tuple[Any, ...], dict[str, Any]]]):
    """Stands in for a function; remembers what it was called with."""

    def __init__(self, result: Any = None) -> None:
        super().__init__()
        self.result = result

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.append((arguments, options))
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


def stand_in(monkeypatch: pytest.MonkeyPatch, module: str, name: str, result: Any = None) -> Calls:
    """Put `Calls` in the place of a function of a module that is not imported for it."""
    calls = Calls(result)
    whole = SimpleNamespace(**{name: calls})
    monkeypatch.setitem(sys.modules, module, whole)
    package, _, last = module.rpartition(".")
    __import__(package)
    monkeypatch.setattr(sys.modules[package], last, whole, raising=False)
    return calls


# --- help ------------------------------------------------------------------------------------------------------------


def test_help_names_the_commands_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    told = capsys.readouterr().out
    for name in (
        "check",
        "compare",
        "data",
        "demo",
        "evaluate",
        "init",
        "list",
        "predict",
        "report",
        "schema",
        "train",
    ):
        assert f"\n  {name} " in told
    assert "Exit codes: 0 done; 1 a mistake in what was asked; 2 usage" in told


@pytest.mark.parametrize("name", sorted(commands.commands))
def test_help_of_every_command_has_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert f"    weft {name}" in capsys.readouterr().out


def test_help_waits_for_nothing_heavy() -> None:
    code = "import sys, weft.cli; weft.cli.run(['--help']); print({'torch', 'numpy', 'yaml'} & set(sys.modules))"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")
    assert time.perf_counter() - start < 3  # 0.1 s on a quiet machine; not to fail on a busy one


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert "weft demo" in "".join(capsys.readouterr())


# --- exit codes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (WeftError("a mistake"), 1),
        (DataFault("a bad file"), 3),
        (NumericFault("not finite"), 4),
        (ResourceFault("no memory"), 5),
        (OSError(28, "No space left on device"), 5),
        (Interrupted("saved", signal_number=15), 143),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_become_exit_codes_and_words(
    error: BaseException, code: int, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch, "weft.engine.train", "train", error)
    assert run(["train", str(file)]) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert (str(error) or "interrupted") in told.err
    assert "Traceback" not in told.err


def test_debug_shows_the_traceback_wherever_it_stands(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "weft.engine.train", "train", DataFault("a bad file"))
    for arguments in (["--debug", "train", str(file)], ["train", str(file), "--debug"]):
        with pytest.raises(DataFault):
            run(arguments)


def test_our_own_mistakes_keep_their_traceback(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "weft.engine.train", "train", ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        run(["train", str(file)])


def test_a_missing_package_is_named_with_what_brings_it(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.metadata

    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["torch>=2", 'onnx-runtime>=1; extra == "export"'])
    stand_in(
        monkeypatch, "weft.engine.train", "train", ModuleNotFoundError("No module named 'x'", name="onnx_runtime.y")
    )
    assert run(["train", str(file)]) == 1
    assert "'onnx_runtime' is missing or broken" in (told := capsys.readouterr().err)
    assert "pip install 'weft[export]'" in told


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["train"],
        ["train", "FILE", "--resum", "auto"],
        ["evaluate", "no-such-run"],
        ["compare", "RUN"],
        ["list", "fusin"],
        ["list", "fusion", "conct"],
        ["init", "no-such-folder"],
        ["predict", "RUN"],
        ["predict", "RUN", "--image"],
        ["predict", "RUN", "--image", "no-such-file.jpg"],
        ["predict", "RUN", "--imagee", "FILE"],
        ["predict", "RUN", "FILE"],
        ["predict", "RUN", "--image", "FILE", "--image", "FILE"],
        ["predict", "RUN", "--image", "FILE", "--manifest", "FILE"],
    ],
)
def test_wrong_usage_exits_2_with_words(
    arguments: list[str], file: Path, run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"FILE": str(file), "RUN": str(run_folder)}
    assert run([places.get(word, word) for word in arguments]) == 2
    told = capsys.readouterr()
    assert "Error: " in told.err
    assert told.out == ""


def test_a_wrong_configuration_exits_2_with_all_problems(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", str(file), "train.epochs=0", "over=[x]"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{file}: 2 problems",
        "  override 'train.epochs=0': train.epochs: 0 was given; allowed: x >= 1",
        "  override 'over=[x]': over: there is no view 'x'; there are image, depth",
    ]


# --- commands --------------------------------------------------------------------------------------------------------


def test_train_hands_on_overrides_and_resume(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = stand_in(monkeypatch, "weft.engine.train", "train", Path("runs/rooms/1"))
    assert run(["train", str(file), "train.epochs=5", "data.size=[64, 96]", "--resume", "auto", "--quiet"]) == 0
    ((experiment,), options) = calls[0]
    assert (experiment.train.epochs, experiment.data.size) == (5, (64, 96))
    assert options == {"resume": "auto", "progress": False}
    assert capsys.readouterr().out == "runs/rooms/1\n"


def test_evaluate_hands_on_what_was_asked(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stand_in(monkeypatch, "weft.engine.evaluate", "evaluate", {})
    words = ["--without", "depth", "--split", "val", "--checkpoint", "last", "data.root=x"]
    assert run(["evaluate", str(run_folder), *words]) == 0
    assert calls == [
        (
            (run_folder,),
            {
                "split": "val",
                "without": ("depth",),
                "checkpoint": "last",
                "quick": False,
                "overrides": ("data.root=x",),
                "progress": True,
            },
        )
    ]


def test_predict_has_an_option_for_every_modality(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = stand_in(monkeypatch, "weft.engine.predict", "predict", tmp_path)
    image, depth = tmp_path / "a.jpg", tmp_path / "a.png"
    image.touch()
    depth.touch()
    assert run(["predict", str(run_folder), "--image", str(image), f"--depth={depth}", "--out", "answers"]) == 0
    ((given,), options) = calls[0]
    assert given == run_folder
    assert options["inputs"] == {"image": image, "depth": depth}
    assert options["out"] == Path("answers")


def test_predict_takes_parts_of_sounds_and_not_of_pictures(
    run_folder: Path, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = stand_in(monkeypatch, "weft.engine.predict", "predict", Path("out"))
    sound = "\n  sound: {type: audio, encoder: {type: conv_rnn}}\nfusion: concat\ntasks:"
    (run_folder / "experiment.yaml").write_text(WHOLE.replace("\ntasks:", sound))
    assert run(["predict", str(run_folder), "--sound", f"{file}#t=2,5"]) == 0
    assert calls[0][1]["inputs"] == {"sound": f"{file}#t=2,5"}
    assert run(["predict", str(run_folder), "--image", f"{file}#t=2,5"]) == 2
    assert "there is no file" in capsys.readouterr().err


def test_predict_takes_a_table_or_a_split(run_folder: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stand_in(monkeypatch, "weft.engine.predict", "predict", Path("out"))
    assert run(["predict", str(run_folder), "--manifest", str(file)]) == 0
    assert run(["predict", str(run_folder), "--split", "test", "data.root=x"]) == 0
    assert (calls[0][1]["manifest"], calls[0][1]["inputs"]) == (file, None)
    assert (calls[1][1]["split"], calls[1][1]["overrides"]) == ("test", ("data.root=x",))


def test_predict_names_the_runs_modalities(run_folder: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["predict", str(run_folder), "--thermal", str(file)])
    assert "there is no option --thermal; there are --image, --depth" in capsys.readouterr().err
    run(["predict", str(run_folder), "--dpth", str(file)])
    assert "there is no option --dpth; did you mean --depth?" in capsys.readouterr().err


def test_check_prints_a_table(file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        SimpleNamespace(
            module="encoders.image", output="tokens (2, 4, 512)", parameters=11_176_512, milliseconds=12.34
        ),
        SimpleNamespace(module="step", output="", parameters=11_176_512, milliseconds=None),
    ]
    stand_in(monkeypatch, "weft.engine.check", "check", rows)
    assert run(["check", str(file)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "module          output              parameters    ms",
        "encoders.image  tokens (2, 4, 512)  11,176,512  12.3",
        "step                                11,176,512",
    ]


def test_report_and_compare_print_where_they_wrote(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch, "weft.engine.reporting", "write_report", Path("report.html"))
    assert run(["report", str(run_folder)]) == 0
    compared = SimpleNamespace(text="A is better", page=Path("compared.html"))
    calls = stand_in(monkeypatch, "weft.engine.reporting", "compare", compared)
    assert run(["compare", str(run_folder), str(run_folder)]) == 0
    assert calls == [(((run_folder, run_folder),), {"out": None})]
    assert capsys.readouterr().out == "report.html\nA is better\n\ncompared.html\n"


def test_demo_trains_evaluates_and_reports(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    trained = stand_in(monkeypatch, "weft.engine.train", "train", Path("runs/demo/1"))
    evaluated = stand_in(monkeypatch, "weft.engine.evaluate", "evaluate")
    stand_in(monkeypatch, "weft.engine.reporting", "write_report", Path("runs/demo/1/report.html"))
    assert run(["demo", "train.epochs=1"]) == 0
    assert trained[0][0][0].train.epochs == 1
    assert evaluated[0][0] == (Path("runs/demo/1"),)
    told = capsys.readouterr().out
    assert "The report is runs/demo/1/report.html" in told
    assert told.count("\n  weft ") == 3


def test_init_prints_reasons_and_writes_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guessed = SimpleNamespace(config_text="name: flowers\n", reasons=["two folders: classes"])
    stand_in(monkeypatch, "weft.data.guess", "guess", guessed)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flowers").mkdir()
    assert run(["init", "flowers"]) == 0
    assert (tmp_path / "flowers.yaml").read_text() == "name: flowers\n"
    assert "- two folders: classes\n" in capsys.readouterr().out
    assert run(["init", "flowers"]) == 1
    assert "flowers.yaml exists" in capsys.readouterr().err
    assert run(["init", "flowers", "--force"]) == 0


class Found(SimpleNamespace):
    """An inspection."""

    def __str__(self) -> str:
        return "two faults"


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 3)])
def test_data_exits_3_where_training_would_refuse(
    ok: bool, code: int, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch, "weft.data.inspect", "inspect", Found(ok=ok))
    assert run(["data", str(file)]) == code
    assert capsys.readouterr().out == "two faults\n"


def test_list_shows_kinds_parts_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list"]) == 0
    assert "fusion " in capsys.readouterr().out
    assert run(["list", "optimizer"]) == 0
    assert "Adam with decoupled weight decay." in capsys.readouterr().out
    assert run(["list", "optimizer", "sgd"]) == 0
    assert "momentum: a number (0 <= x < 1); by default 0.9" in capsys.readouterr().out


def test_schema_is_printed_or_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith('{\n "$schema": "https://json-schema.org/draft/2020-12/schema"')
    assert run(["schema", "--out", str(tmp_path / "schema.json")]) == 0
    assert (tmp_path / "schema.json").read_text(encoding="utf-8") == printed
