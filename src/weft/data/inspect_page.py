"""The page and the pictures that `weft data` leaves behind."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from jinja2 import Environment
from PIL import Image, ImageDraw

from weft.data import frames
from weft.data.inspection import Inspection
from weft.data.manifest import Manifest
from weft.data.sources import Source, row_timeline
from weft.experiment import Frames
from weft.modalities.base import BadCell
from weft.spreadsheet import quoted

#: Samples of a split that are drawn, and the largest side of a drawing in pixels.
_SAMPLES = 6
_SIDE = 200
#: Width of the strip of a clip.
_STRIP = 600
_GAP = 8
_LINE = 16

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{{ found.name }}: data</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: .5rem 0 1.5rem } td, th { padding: .2rem .8rem .2rem 0; text-align: left }
th { border-bottom: 1px solid #999 } td.number { text-align: right; font-variant-numeric: tabular-nums }
.bar { display: inline-block; height: .7rem; background: #4a7ba6; vertical-align: middle }
.fault, .warning { border-left: 4px solid #b3261e; padding-left: .8rem }
.warning { border-color: #d9a400 } img { max-width: 100% }
</style>
<h1>{{ found.name }}: the data</h1>
<p>{% for split, count in found.counts.items() %}{{ split }} {{ count }}{{ ", " if not loop.last }}{% endfor %} samples.
{% if found.ok %}<b>No faults.</b>{% else %}<b>{{ found.faults | length }} faults</b>, all in
<a href="faults.csv">faults.csv</a>.{% endif %}</p>
{% for (level, column, code), faults in found.grouped().items() %}
<div class="{{ level }}"><h3>{{ level }}: {{ code }}{{ " in " + column if column }}: {{ faults | length }}</h3>
<ul>{% for fault in faults[:10] %}<li>{{ fault.split }} {{ fault.id }}: {{ fault.message }}</li>{% endfor %}</ul></div>
{% endfor %}
<h2>Columns</h2>
<table><tr><th>column<th>split<th>cells<th>size<th>values</tr>
{% for row in found.rows() %}<tr>{% for cell in row %}<td>{{ cell }}{% endfor %}</tr>{% endfor %}</table>
{% for name, names in found.classes.items() %}
<h2>Classes of {{ name }}</h2>
{% set balance, holding = dict(found.balance(name)), found.holding(name) %}
<table><tr><th>class{% for split in (balance.values() | first) or () %}<th>{{ split }}{% endfor %}<th>train samples</tr>
{% for one, shares in balance.items() %}<tr><td>{{ one }}{% for split, share in shares.items() %}
<td class="number"><span class="bar" style="width: {{ (80 * share) | round(1) }}px"></span>
{{ "%.2f" | format(100 * share) }} %{% endfor %}<td class="number">{{ holding[one] }}</tr>{% endfor %}</table>
{% if found.imbalance(name) %}<p>In train: {{ found.imbalance(name) }}.</p>{% endif %}
{% endfor %}
{% if found.notes %}<h2>Notes</h2><ul>{% for note in found.notes %}<li>{{ note }}</li>{% endfor %}</ul>{% endif %}
{% for split, picture in found.pictures.items() %}<h2>Samples of {{ split }}</h2>
<img src="{{ picture }}" alt="samples of {{ split }}">{% endfor %}
</html>
"""


def write_page(found: Inspection, path: Path) -> None:
    """All of it as HTML; whatever stands in names and messages is escaped."""
    template = Environment(autoescape=True).from_string(_PAGE)
    path.write_text(template.render(found=found), encoding="utf-8")


def write_faults(found: Inspection, path: Path) -> None:
    """A row of CSV for each fault and warning."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["level", "code", "split", "id", "column", "message"])
        for (level, column, code), faults in found.grouped().items():
            for fault in faults:
                row = (level, code, fault.split, fault.id, column, fault.message)
                writer.writerow([quoted(cell) for cell in row])


def write_pictures(manifest: Manifest, sources: Mapping[str, Source], taken: Frames, folder: Path) -> dict[str, str]:
    """{split: file} of sheets: a row for each of some samples, evenly spaced, a column for each input and target."""
    pictures: dict[str, str] = {}
    for split in manifest.splits:
        rows = list(_drawn(manifest.split(split), sources, taken))
        if rows:
            name = f"samples-{len(pictures)}.png"  # a split's name may hold anything
            _sheet(rows, list(sources)).save(folder / name)
            pictures[split] = name
    return pictures


def _drawn(
    split: Manifest, sources: Mapping[str, Source], taken: Frames
) -> Iterator[tuple[str, dict[str, Image.Image]]]:
    """(id, {modality or task: drawing}) of samples; what cannot be read is not drawn."""
    places = np.unique(np.linspace(0, len(split) - 1, min(_SAMPLES, len(split))).astype(int))
    for place in places:
        row, member = split.row(int(place)), split.set_of(int(place))
        drawings = {}
        try:
            whole = row_timeline(sources, row, split, member)
            known = None if whole is None else frames.choose(whole[1], taken)
        except BadCell:
            continue
        for name, source in sources.items():
            if row.get(source.column) is None:
                continue
            try:
                value = source.of(member).field.read_frames(row[source.column], split.resolver(member), known)
                drawing = source.field.draw(value).convert("RGB")
            except BadCell:
                continue
            width = _STRIP if source.field.geometry.has_frames else _SIDE
            drawing.thumbnail((width, _SIDE), Image.Resampling.NEAREST)
            drawings[name] = drawing
        yield str(row["id"]), drawings


def _sheet(rows: list[tuple[str, dict[str, Image.Image]]], names: list[str]) -> Image.Image:
    """All drawings with the names above and the ids beside."""
    heights = [max([_LINE, *(drawing.height for drawing in drawings.values())]) + _LINE + _GAP for _, drawings in rows]
    widths = {name: max([_SIDE, *(drawings[name].width for _, drawings in rows if name in drawings)]) for name in names}
    lefts = {name: _GAP + sum(widths[other] + _GAP for other in names[:place]) for place, name in enumerate(names)}
    width = sum(widths.values()) + (len(names) + 1) * _GAP
    sheet = Image.new("RGB", (width, sum(heights) + _LINE + _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for name in names:
        pen.text((lefts[name], 2), name[:30], fill="black")
    top = _LINE + _GAP
    for (sample, drawings), height in zip(rows, heights, strict=True):
        pen.text((_GAP, top), sample[:60].encode("latin-1", "replace").decode("latin-1"), fill="grey")
        for name, drawing in drawings.items():
            sheet.paste(drawing, (lefts[name], top + _LINE))
        top += height
    return sheet
