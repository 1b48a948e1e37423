"""Tables from CSV, JSON lines, Parquet and Arrow files; large ones are kept as Arrow files and mapped into memory."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from weft.errors import DataFault

#: Files above this many bytes are converted once and then mapped; smaller ones are read each time.
LARGE = 64 * 1024 * 1024

#: Bytes that are parsed at once; no row may be longer.
BLOCK = 16 * 1024 * 1024

#: Part of the key under which a converted table is kept: another number, and all are converted again.
_VERSION = 1


def read_table(
    path: Path, *, delimiter: str | None = None, encoding: str = "utf-8", null_values: Sequence[str] = ("",)
) -> pa.Table:
    """All rows of a file, by its ending: .csv, .tsv, .jsonl, .ndjson, .parquet, .arrow, .feather.

    All columns of CSV are text. NaN, and text that is one of `null_values`, is null.

    Args:
        path: the file.
        delimiter: between the cells of CSV; by default a comma, in .tsv a tab.
        encoding: of CSV.
        null_values: what stands for an absent cell in text.

    Raises:
        DataFault: it is missing, empty, of another type or damaged, or has a column twice.
    """
    kind = path.suffix.lower()
    if not path.is_file():
        raise DataFault(f"{path} does not exist", code="missing-file")
    if path.stat().st_size == 0:
        raise DataFault(f"{path} is empty (0 bytes)", code="empty-file")
    readers: dict[str, Callable[[], pa.Table]] = {
        ".csv": lambda: _read_csv(path, delimiter or ",", encoding),
        ".tsv": lambda: _read_csv(path, delimiter or "\t", encoding),
        ".txt": lambda: _read_csv(path, delimiter or "\t", encoding),
        **dict.fromkeys((".jsonl", ".ndjson"), lambda: _read_json(path)),
        **dict.fromkeys((".parquet", ".pq"), lambda: pyarrow.parquet.read_table(path, memory_map=True)),
        **dict.fromkeys((".arrow", ".feather"), lambda: open_arrow(path)),
    }
    if kind not in readers:
        raise DataFault(
            f"{path} is no table that is read; its name must end in {', '.join(readers)}", code="wrong-type"
        )
    try:
        table = readers[kind]()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, UnicodeError, LookupError) as error:
        raise DataFault(f"{path} cannot be read as {kind}: {error}", code="bad-table") from error
    twice = [name for name, count in Counter(table.column_names).items() if count > 1]
    if twice:
        raise DataFault(f"{path} has the column {twice[0]!r} twice; rename one", code="duplicate-column")
    return _with_nulls(table, null_values)


def open_arrow(path: Path) -> pa.Table:
    """A table mapped from an Arrow IPC file: nothing is read before it is asked for."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def keep(key: object, sources: Sequence[Path], make: Callable[[], pa.Table]) -> tuple[pa.Table, tuple[str, ...]]:
    """What `make` returns, from the Arrow file that an earlier call has left, where the sources are large.

    Args:
        key: JSON-able, all that `make` depends on besides the files.
        sources: the files; another size or time of change is another table.
        make: reads and converts them.

    Returns:
        the table, and notes.
    """
    found = [path for path in sources if path.is_file()]
    if sum(path.stat().st_size for path in found) <= LARGE:
        return make(), ()
    stamps = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in found]
    digest = hashlib.blake2b(json.dumps([_VERSION, key, stamps]).encode(), digest_size=16).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "weft", "tables", f"{digest}.arrow")
    if cache.is_file():
        return open_arrow(cache), ()
    table = make()
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache.parent) as folder:
            part = Path(folder, "table.arrow")
            with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table, max_chunksize=1 << 20)
            part.replace(cache)  # in one step: a table cut off half-way is never seen
    except OSError as error:
        return table, (f"the table could not be kept as an Arrow file and is read again each time: {error}",)
    return open_arrow(cache), (f"the table was converted once and is mapped from {cache} from now on",)


def _read_csv(path: Path, delimiter: str, encoding: str) -> pa.Table:
    if len(delimiter) != 1:
        raise DataFault(f"the delimiter is {delimiter!r}; it is one character", code="bad-table")
    names = _header(path, delimiter, encoding)
    read = pyarrow.csv.ReadOptions(encoding=encoding, block_size=BLOCK)
    parse = pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    convert = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), null_values=[])
    try:
        return pyarrow.csv.read_csv(path, read_options=read, parse_options=parse, convert_options=convert)
    except pa.ArrowInvalid:
        read.use_threads = False  # read in one go, the reader knows the number of the row it complains of
        return pyarrow.csv.read_csv(path, read_options=read, parse_options=parse, convert_options=convert)


def _header(path: Path, delimiter: str, encoding: str) -> list[str]:
    """The names of the columns; a quote that is never closed would swallow all rows after it, so it is looked for."""
    quotes = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            quotes += block.count(b'"')
    if quotes % 2 and not encoding.lower().startswith(("utf-16", "utf-32")):  # there, other letters hold that byte too
        raise DataFault(
            f"{path} has an odd number of double quotes ({quotes}): one is not closed, or stands in a cell without "
            "being doubled",
            code="bad-table",
        )
    # With more threads, a complaint about a row would not say which one it is.
    read = pyarrow.csv.ReadOptions(encoding=encoding, block_size=BLOCK, use_threads=False)
    parse = pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    with pyarrow.csv.open_csv(path, read_options=read, parse_options=parse) as reader:
        return list(reader.schema.names)


def _read_json(path: Path) -> pa.Table:
    try:
        return pyarrow.json.read_json(path, read_options=pyarrow.json.ReadOptions(block_size=BLOCK))
    except pa.ArrowInvalid:
        table = _read_mixed(path)
        if table is None:
            raise
        return table


def _read_mixed(path: Path) -> pa.Table | None:
    """JSON lines with lists of several types, such as `[10, 20, 30, 40, "dog"]`, which Arrow has none of: those columns
    are JSON texts then, as in CSV. None where something else is wrong with the file.
    """
    try:
        rows = [json.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
    except ValueError:
        return None
    if not all(isinstance(row, dict) for row in rows):
        return None
    columns = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        cells = [row.get(name) for row in rows]
        try:
            columns[name] = pa.array(cells)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            if not all(isinstance(cell, list | dict | None) for cell in cells):
                return None
            columns[name] = pa.array([None if cell is None else json.dumps(cell) for cell in cells], pa.string())
    return pa.table(columns)


def _with_nulls(table: pa.Table, null_values: Sequence[str]) -> pa.Table:
    """NaN and the texts that stand for nothing become null; columns without them are not copied."""
    nothing = pa.array(list(null_values), pa.string())
    for place, name in enumerate(table.column_names):
        cells = table.column(name)
        if pa.types.is_floating(cells.type):
            absent = pc.is_nan(cells)
        elif pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
            absent = pc.is_in(cells, pc.cast(nothing, cells.type), skip_nulls=True)
        else:
            continue
        if pc.any(absent).as_py():
            table = table.set_column(place, name, pc.if_else(absent, None, cells))
    return table
