"""The command line: thin commands over the Python interface. Nothing here imports torch before a command needs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from weft.cli_inputs import modality_cells, one_of, read_inputs
from weft.errors import DataFault, WeftError

_EXIT_CODES = """\
\b
Exit codes: 0 done; 1 a mistake in what was asked; 2 usage or configuration;
3 data fault; 4 numeric fault; 5 resources; 130 or 143 interrupted.
"""

#: Commands that several processes, started by torchrun, do together.
_TOGETHER = ("train", "evaluate")

_FILE = click.argument("file", type=click.Path(path_type=Path))
_RUN = click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
_OVERRIDES = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
_CHECKPOINT = click.option("--checkpoint", default="best", show_default=True, metavar="best|last|NAME")
_QUIET = click.option("--quiet", is_flag=True, help="Print no progress.")


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=_EXIT_CODES,
)
@click.version_option(package_name="weft")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def commands(debug: bool) -> None:
    """Train one model from many modalities for many tasks.

    \b
    weft demo                              train, evaluate and report on built-in data
    weft init DIR                          write a configuration for your own data
    weft check FILE                        say what is wrong with it, and what it builds
    weft train FILE key=value ...          train; then: evaluate, report, predict
    """


@commands.command(short_help="Train, evaluate and report on built-in data.")
@_OVERRIDES
@_QUIET
def demo(overrides: tuple[str, ...], quiet: bool) -> None:
    """Train, evaluate and report on the built-in scenes, in about three minutes.

    \b
    Examples:
      weft demo
      weft demo train.epochs=2 train.output=/tmp/runs
    """
    from importlib.resources import as_file, files

    from weft.config import load_experiment
    from weft.engine.evaluate import evaluate
    from weft.engine.reporting import write_report
    from weft.engine.train import train

    with as_file(files("weft") / "demo.yaml") as file:
        experiment = load_experiment(file, overrides)
    run = train(experiment, progress=not quiet)
    evaluate(run, progress=not quiet)
    page = write_report(run)
    click.echo(f"\nThe report is {page}\n\nNext:")
    for line in (f"weft evaluate {run} --without depth", "weft list", "weft init DIR   # a folder of your own data"):
        click.echo(f"  {line}")


@commands.command(short_help="Look at a folder and write a configuration.")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Where to; by default DIR's name.yaml here."
)
@click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
def init(folder: Path, out: Path | None, force: bool) -> None:
    """Look at a folder of data, print guesses with reasons, and write a configuration.

    \b
    Examples:
      weft init data/flowers
      weft init data/rooms --out rooms.yaml
    """
    out = out or Path(f"{folder.resolve().name or 'experiment'}.yaml")
    if out.exists() and not force:
        raise WeftError(f"{out} exists; give another --out, or --force to overwrite it", code="exists")
    from weft.data.guess import guess

    guessed = guess(folder)
    for reason in guessed.reasons:
        click.echo(f"- {reason}")
    out.write_text(guessed.config_text, encoding="utf-8")
    click.echo(f"\nwrote {out}; read it, then: weft check {out}")


@commands.command(short_help="Say what is wrong with a configuration, and what it builds.")
@_FILE
@_OVERRIDES
def check(file: Path, overrides: tuple[str, ...]) -> None:
    """Say everything that is wrong with a configuration; build it, run one batch and print what it is made of.

    \b
    Examples:
      weft check my.yaml
      weft check my.yaml train.batch_size=16
    """
    from weft.config import load_experiment

    experiment = load_experiment(file, overrides)
    from weft.engine import check as checking  # after the configuration is known to be sound: this imports torch

    rows = [("module", "output", "parameters", "ms")]
    for row in checking.check(experiment):
        milliseconds = "" if row.milliseconds is None else f"{row.milliseconds:.1f}"
        rows.append((row.module, row.output, f"{row.parameters:,}", milliseconds))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for module, output, parameters, milliseconds in rows:
        line = f"{module:{widths[0]}}  {output:{widths[1]}}  {parameters:>{widths[2]}}  {milliseconds:>{widths[3]}}"
        click.echo(line.rstrip())


@commands.command(short_help="Train an experiment.")
@_FILE
@_OVERRIDES
@click.option(
    "--resume", metavar="auto|RUN", help="Go on with a run; auto: the newest of this experiment, or a new one."
)
@click.option("--task", "tasks", multiple=True, metavar="TASK", help="Only this task; may be given again.")
@click.option("--apart", is_flag=True, help="A network for every task by itself, each with the whole budget.")
@_QUIET
def train(
    file: Path, overrides: tuple[str, ...], resume: str | None, tasks: tuple[str, ...], apart: bool, quiet: bool
) -> None:
    """Train an experiment; prints the run folder, or those of the tasks.

    \b
    Examples:
      weft train configs/nyuv2_rgbd.yaml data.root=data/nyuv2
      weft train my.yaml train.epochs=5 "data.size=[240, 320]"
      weft train my.yaml --resume auto
      weft train my.yaml --apart             # what a joint network is measured against
      torchrun --nproc-per-node 4 -m weft train my.yaml      # in four processes; so does evaluate
    """
    from weft.config import load_experiment

    experiment = load_experiment(file, overrides)
    from weft.engine import apart as alone
    from weft.engine import train as training

    if apart:
        if resume not in (None, "auto"):
            raise click.UsageError("with --apart there is a run for every task; give --resume auto")
        runs = alone.train_apart(experiment, tasks=tasks, go_on=resume == "auto", progress=not quiet)
        _say("\n".join(map(str, runs.values())))
        return
    if tasks:
        experiment = alone.only(experiment, tasks)
    run = training.train(experiment, resume=resume, progress=not quiet)
    _say(f"{run}\nNext: weft evaluate {run}" if not quiet else str(run))


@commands.command(short_help="Train and score every fold of an experiment.")
@_FILE
@_OVERRIDES
@click.option("--folds", default=5, show_default=True, type=click.IntRange(2), help="Parts that take turns.")
@click.option("--repeats", default=1, show_default=True, type=click.IntRange(1), help="Divisions into folds.")
@click.option(
    "--inner",
    default=0.1,
    show_default=True,
    type=click.FloatRange(0, 1, max_open=True),
    help="Share of the samples outside a fold that chooses its checkpoint, where no val does; 0: take the last.",
)
@click.option("--with-val", is_flag=True, help="Divide val together with train.")
@_QUIET
def crossvalidate(
    file: Path, overrides: tuple[str, ...], folds: int, repeats: int, inner: float, with_val: bool, quiet: bool
) -> None:
    """Train once for every fold and score it; folds are cut as data.validation says. What is done is not done again.

    \b
    Examples:
      weft crossvalidate my.yaml data.validation.by=stratified data.validation.stratify=label
      weft crossvalidate my.yaml --folds 5 --repeats 2 --with-val
    """
    from weft.config import load_experiment

    experiment = load_experiment(file, overrides)
    from weft.engine import crossvalidate as crossvalidation

    result = crossvalidation.crossvalidate(
        experiment, folds=folds, repeats=repeats, inner=inner, with_val=with_val, progress=not quiet
    )
    click.echo(f"Next: weft compare OTHER {result['folder']}" if not quiet else result["folder"])


@commands.command(short_help="Score a run, from every subset of its modalities.")
@_RUN
@_OVERRIDES
@click.option("--without", multiple=True, metavar="MODALITY", help="Leave a modality out; may be given again.")
@click.option("--split", help="Split to score; by default test, or else val.")
@_CHECKPOINT
@click.option("--quick", is_flag=True, help="Only all modalities together, without subsets and corruptions.")
@_QUIET
def evaluate(
    run: Path,
    overrides: tuple[str, ...],
    without: tuple[str, ...],
    split: str | None,
    checkpoint: str,
    quick: bool,
    quiet: bool,
) -> None:
    """Score a run: every task, from every subset of the modalities, with intervals.

    \b
    Examples:
      weft evaluate runs/rooms/20260102-101500
      weft evaluate RUN --without depth
      weft evaluate RUN --split val --checkpoint last data.root=/elsewhere
    """
    from weft.engine import evaluate as evaluation

    evaluation.evaluate(
        run,
        split=split,
        without=without,
        checkpoint=checkpoint,
        quick=quick,
        overrides=overrides,
        progress=not quiet,
    )
    if not quiet:
        _say(f"Next: weft report {run}")


@commands.command(
    short_help="Answer for new inputs.", context_settings={"ignore_unknown_options": True}, options_metavar=""
)
@_RUN
@click.argument("inputs", nargs=-1, type=click.UNPROCESSED, metavar="(--MODALITY FILE... | --manifest TABLE) [OPTIONS]")
@click.option("--manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A table of samples.")
@click.option("--split", help="A split of the run's own data, instead of files.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Where to; by default RUN/predictions.")
@_CHECKPOINT
@_QUIET
def predict(
    run: Path,
    inputs: tuple[str, ...],
    manifest: Path | None,
    split: str | None,
    out: Path | None,
    checkpoint: str,
    quiet: bool,
) -> None:
    """Answer for new inputs and write the answers; any of the run's modalities may be left out.

    There is an option for every modality of the run, under its name: a file, a text, or a row of columns.

    \b
    Examples:
      weft predict RUN --image a.jpg --depth a.png --out answers
      weft predict RUN --image a.jpg --text "what a day" --row age=63,sex=F
      weft predict RUN --manifest new.csv --out answers
      weft predict RUN --split test data.root=/elsewhere
    """
    given, overrides = read_inputs(run, inputs)
    if sum((bool(given), manifest is not None, split is not None)) != 1:
        names = " ".join(f"--{name} {cell.upper()}" for name, cell in modality_cells(run).items())
        raise click.UsageError(f"give what to answer for, one of: {names}; --manifest TABLE; --split SPLIT")
    from weft.engine import predict as prediction

    written = prediction.predict(
        run,
        inputs=given or None,
        manifest=manifest,
        split=split,
        out=out,
        checkpoint=checkpoint,
        overrides=overrides,
        progress=not quiet,
    )
    click.echo(str(written))


@commands.command(short_help="Write a run's report.")
@_RUN
def report(run: Path) -> None:
    """Write RUN/report.html: what was each modality, and each task, worth? One file, opens offline.

    \b
    Example:
      weft report runs/rooms/20260102-101500
    """
    from weft.engine import reporting

    click.echo(str(reporting.write_report(run)))


@commands.command(short_help="Set runs side by side.")
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="The page; by default beside the first run."
)
def compare(runs: tuple[Path, ...], out: Path | None) -> None:
    """Set evaluated runs beside the first of them, with paired intervals: a page and tables.

    \b
    Examples:
      weft compare runs/rgb/20260102-101500 runs/rgbd/20260102-120000
      weft compare RUN RUN RUN --out compared.html
    """
    if len(runs) < 2:
        raise click.UsageError("give two runs at least")
    from weft.engine import reporting

    compared = reporting.compare(runs, out=out)
    click.echo(f"{compared.text}\n\n{compared.page}")


@commands.command(short_help="Read all data once and tell what is in it.")
@_FILE
@_OVERRIDES
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for a page with pictures of samples."
)
def data(file: Path, overrides: tuple[str, ...], out: Path | None) -> None:
    """Read and decode all data once: counts, class balance, faults, pictures of samples.

    Exit code 3 where training would refuse something.

    \b
    Examples:
      weft data my.yaml
      weft data my.yaml data.root=/elsewhere --out looked_at
    """
    from weft.config import load_experiment

    experiment = load_experiment(file, overrides)
    from weft.data.inspect import inspect

    found = inspect(experiment, out)
    click.echo(str(found))
    if not found.ok:
        raise click.exceptions.Exit(DataFault.exit_code)


@commands.command("list", short_help="List the parts and their options.")
@click.argument("kind", required=False)
@click.argument("name", required=False)
def list_(kind: str | None, name: str | None) -> None:
    """List the parts that there are, those of a kind, or the options of one.

    \b
    Examples:
      weft list
      weft list fusion
      weft list fusion gated
    """
    from weft import reference
    from weft.schema import part_names, shipped

    schema = shipped()
    if kind is None:
        click.echo(reference.list_kinds(schema))
        return
    one_of("kind of part", kind, reference.kinds(schema))
    if name is None:
        click.echo(reference.list_parts(schema, kind))
        return
    one_of(kind, name, part_names(schema, kind))
    click.echo(reference.list_options(schema, kind, name))


@commands.command(short_help="Print the JSON schema, for editors.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it here instead of printing it.")
def schema(out: Path | None) -> None:
    """Print the JSON schema of configurations, for editors.

    Begin a configuration with `# yaml-language-server: $schema=schema.json`.

    \b
    Example:
      weft schema --out schema.json
    """
    from weft.schema import FILE

    text = FILE.read_text(encoding="utf-8")
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors go to stderr in words.

    Args:
        arguments: without the program's name.
    """
    debug = "--debug" in arguments  # anywhere: people add it at the end
    try:
        words = [word for word in arguments if word != "--debug"]
        _check_launch(words)
        code = commands.main(words, prog_name="weft", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except (WeftError, ImportError, OSError) as error:
        words_for_it = _in_words(error)
        if debug or not words_for_it:
            raise
        click.echo(words_for_it, err=True)
        return error.exit_code if isinstance(error, WeftError) else 5 if isinstance(error, OSError) else 1


def _say(text: str) -> None:
    """Print what several processes have done together once."""
    if os.environ.get("RANK", "0") == "0":
        click.echo(text)


def _check_launch(words: Sequence[str]) -> None:
    """Refuse to do in several processes what would be done as often."""
    command = next((word for word in words if word in commands.commands), None)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and command not in (None, *_TOGETHER):
        raise click.UsageError(
            f"weft {command} runs in one process, and torchrun has started {os.environ['WORLD_SIZE']}; start it by "
            f"itself. In several run: {', '.join(_TOGETHER)}"
        )


def main() -> None:
    """The program `weft`."""
    sys.exit(run(sys.argv[1:]))


def _in_words(error: WeftError | ImportError | OSError) -> str:
    """What to tell the user; nothing where it is our own mistake."""
    if not isinstance(error, ImportError):
        return str(error)
    package = (error.name or "").partition(".")[0]
    if package in ("", "weft"):
        return ""
    install = f"pip install {_extra_of(package) or package}"
    return f"the package {package!r} is missing or broken: {error}; install it with: {install}"


def _extra_of(package: str) -> str:
    """The extra of weft that brings a package, such as `weft[dev]`; empty where none does."""
    import re
    from importlib.metadata import requires

    for requirement in requires("weft") or ():
        found = re.match(r"""([\w.-]+).*;.*extra\s*==\s*["']([\w-]+)["']""", requirement)
        if found and found[1].lower().replace("-", "_") == package.lower():
            return f"'weft[{found[2]}]'"
    return ""
