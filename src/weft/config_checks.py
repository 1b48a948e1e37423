"""What options must agree on among themselves, told before anything is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from weft.registry import Part
from weft.schema import Schema, part_names, part_schema

#: A path in the configuration, and what is wrong there.
Finding = tuple[tuple[str, ...], str]

Values = Mapping[str, Any]

#: What modalities give whose encoders can give maps.
_RASTERS = ("raster", "video")


def cross_check(values: Values, schema: Schema) -> Iterator[Finding]:
    """Everything that is wrong between options.

    Args:
        values: the configuration with its defaults; what has been reported already is left out of it.
        schema: with what the parts say of themselves (`x-need`, `x-raster`, …).
    """
    yield from _check_name(values)
    yield from _check_shares(values.get("modalities", {}))
    yield from _check_kinds(values.get("modalities", {}), schema)
    yield from _check_columns(values.get("modalities", {}), schema)
    yield from _check_over(values, schema)
    yield from _check_decision(values, schema)
    yield from _check_maps(values, schema)
    yield from _check_places(values, schema)
    data = values.get("data", {})
    yield from _check_geometry(data)
    yield from _check_alone(values.get("modalities", {}), data)
    yield from _check_frames(data.get("frames", {}))
    yield from _check_validation(data)
    yield from _check_rare(data, values.get("tasks", {}))
    yield from _check_best(values, schema)
    yield from _check_features(values.get("train", {}).get("features", {}))


def _check_name(values: Values) -> Iterator[Finding]:
    name = values.get("name")
    if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        yield ("name",), f"{name!r} was given; allowed: letters, digits, '.', '_' and '-', as it names a folder"


def _check_shares(modalities: Values) -> Iterator[Finding]:
    borrowed = {(name, *path): other for name, one in modalities.items() for path, other in _borrowed(one)}
    borrowers = {name for name, *_ in borrowed}
    own = [one for one in modalities if one not in borrowers]
    there = f"those with an encoder of their own are {', '.join(own)}" if own else "none has an encoder of its own"
    for (name, *option), other in borrowed.items():
        path = ("modalities", name, "encoder", *option)
        if other not in modalities:
            yield path, f"there is no modality {other!r}; {there}"
        elif other in borrowers:
            yield path, f"{other!r} has no encoder of its own, it shares one; {there}"


def _borrowed(modality: Values) -> Iterator[tuple[tuple[str, ...], str]]:
    """(where in its `encoder`, the modality whose encoder stands there)."""
    encoder = modality.get("encoder")
    if _shares(encoder):
        yield ("share",), encoder["share"]  # type: ignore[index]  # a mapping, then
    for option, value in encoder.options.items() if isinstance(encoder, Part) else ():
        if _shares(value):
            yield (option, "share"), value["share"]


def _check_kinds(modalities: Values, schema: Schema) -> Iterator[Finding]:
    """An encoder reads one kind of input."""
    for name, one in modalities.items():
        encoder = _encoder_of(one, modalities)
        kind = part_schema(schema, "modality", one["type"]).get("x-input") if "type" in one else None
        if not isinstance(encoder, Part) or kind is None:
            continue
        says = part_schema(schema, "encoder", encoder.type)
        reads = says.get("x-reads", kind)
        if reads != kind and not (_shares(one.get("encoder")) and kind in says.get("x-lends_to", ())):
            fit = [
                part
                for part in part_names(schema, "encoder")
                if part_schema(schema, "encoder", part).get("x-reads") == kind
            ]
            message = f"{encoder.type} reads {reads} and {name} is {kind}; encoders that read it: {', '.join(fit)}"
            yield ("modalities", name, "encoder"), message


def _check_columns(modalities: Values, schema: Schema) -> Iterator[Finding]:
    """Only what reads rows reads several columns."""
    for name, one in modalities.items():
        cell = part_schema(schema, "modality", one["type"]).get("x-cell") if "type" in one else None
        if one.get("columns") and cell is not None and cell != "row":
            yield ("modalities", name, "columns"), f"{name} is {one['type']} and reads one; give its `column` instead"


def _check_over(values: Values, schema: Schema) -> Iterator[Finding]:
    views = _views(values, schema)
    chosen: dict[tuple[str, ...], Any] = {("over",): values.get("over")}
    chosen |= {("tasks", name, "over"): task.get("over") for name, task in values.get("tasks", {}).items()}
    for path, over in chosen.items():
        if over is not None and not over:
            yield path, f"empty; give one view at least; there are {', '.join(views)}"
        for index, view in enumerate(over or ()):
            if views and view not in views:
                yield path, f"there is no view {view!r}; there are {', '.join(views)}"
            elif view in over[:index]:
                yield path, f"{view!r} is given twice"


def _check_decision(values: Values, schema: Schema) -> Iterator[Finding]:
    """A rule that combines views has a meaning for some kinds of answers only."""
    decision, views = values.get("decision"), _views(values, schema)
    if not isinstance(decision, Part):
        return
    fused = "fused" in views
    default = values.get("over") or (("fused",) if fused else views)
    combines = part_schema(schema, "decision", decision.type).get("x-combines")
    for name, task in values.get("tasks", {}).items():
        answer = part_schema(schema, "task", task["type"]).get("x-answer")
        if len(task.get("over") or default) < 2 or answer is None or combines is None or answer in combines:
            continue
        fit = [
            rule
            for rule in part_names(schema, "decision")
            if answer in part_schema(schema, "decision", rule).get("x-combines", ())
        ]
        message = f"{decision.type} has no meaning for the {answer} of {name}; those that have: {', '.join(fit)}"
        yield ("decision",), f"{message}; or give {name} a single view by its `over`"


def _check_maps(values: Values, schema: Schema) -> Iterator[Finding]:
    """A dense task needs maps from every view it reads."""
    modalities, fusion = values.get("modalities", {}), values.get("fusion")
    if not modalities or not isinstance(fusion, Part):
        return
    gives = {name: _gives_maps(one, modalities, schema) for name, one in modalities.items()}
    fused = part_schema(schema, "fusion", fusion.type).get("x-gives_fused", True)
    default = values.get("over") or (("fused",) if fused else tuple(modalities))
    raster = [
        name
        for name in part_names(schema, "modality")
        if part_schema(schema, "modality", name).get("x-input") == "raster"
    ]
    for name, task in values.get("tasks", {}).items():
        if part_schema(schema, "task", task["type"]).get("x-need") != "maps":
            continue
        who = f"{'an' if task['type'][0] in 'aeiou' else 'a'} {task['type']} task needs maps"
        if not any(gives.values()):
            message = f"{who}, and no modality gives any ({', '.join(gives)}); add an image-like one"
            yield ("tasks", name), f"{message} ({', '.join(raster)}) with an encoder that gives maps"
            continue
        without = [view for view in task.get("over") or default if not gives.get(view, True)]
        if without:
            message = f"{who}, and the view {without[0]!r} has none; leave it out of its `over`, or choose a fusion"
            yield ("tasks", name), message
        clips = [view for view in task.get("over") or default if view in _clips(modalities, gives, schema)]
        if clips and not without and not part_schema(schema, "task", task["type"]).get("x-over_time"):
            message = f"a {task['type']} task answers for one picture, and the view {clips[0]!r} is a clip"
            yield ("tasks", name), f"{message}; name a view of pictures in its `over`, or {_over_time(schema)}"


def _clips(modalities: Values, gives_maps: Mapping[str, bool], schema: Schema) -> list[str]:
    """The views whose maps are those of clips: `fused` too, where there is one."""
    kinds = {name: part_schema(schema, "modality", one["type"]).get("x-input") for name, one in modalities.items()}
    clips = [name for name, gives in gives_maps.items() if gives and kinds[name] == "video"]
    return [*clips, "fused"] if clips else []


def _over_time(schema: Schema) -> str:
    """The tasks that answer for every frame, as advice."""
    tasks = [name for name in part_names(schema, "task") if part_schema(schema, "task", name).get("x-over_time")]
    return f"choose a task that answers for every frame: {', '.join(tasks)}"


def _check_places(values: Values, schema: Schema) -> Iterator[Finding]:
    """A fusion that compares modalities place by place takes those that have maps."""
    modalities, fusion = values.get("modalities", {}), values.get("fusion")
    if not isinstance(fusion, Part) or not part_schema(schema, "fusion", fusion.type).get("x-needs_maps"):
        return
    without = [name for name, one in modalities.items() if not _gives_maps(one, modalities, schema)]
    if without:
        others = [
            name
            for name in part_names(schema, "fusion")
            if (part := part_schema(schema, "fusion", name)).get("x-gives_fused") and not part.get("x-needs_maps")
        ]
        message = f"{fusion.type} needs maps from every modality, and has none from {', '.join(without)}"
        yield ("fusion",), f"{message}; those that take any modality: {', '.join(others)}"


def _gives_maps(modality: Values, modalities: Values, schema: Schema) -> bool:
    raster = part_schema(schema, "modality", modality["type"]).get("x-input", "raster") in _RASTERS
    encoder = _encoder_of(modality, modalities)
    if not isinstance(encoder, Part):
        return raster
    says = bool(part_schema(schema, "encoder", encoder.type).get("x-gives_maps", True))
    return raster and says and encoder.options.get("vector") is None


def _encoder_of(modality: Values, modalities: Values) -> Any:
    """The part of a modality's encoder, its own or the shared one."""
    encoder: Any = modality.get("encoder")
    if _shares(encoder):
        encoder = modalities.get(encoder["share"], {}).get("encoder")
    return encoder


def _check_geometry(data: Values) -> Iterator[Finding]:
    augment = data.get("augment", {})
    size, crop, scale = data.get("size"), augment.get("crop"), augment.get("scale")
    if scale and scale[0] > scale[1]:
        message = f"[{scale[0]:g}, {scale[1]:g}] was given; allowed: [low, high] with low <= high"
        yield ("data", "augment", "scale"), message
    zoom = max(1.0, scale[1]) if scale else 1.0
    if size and crop and any(part > whole * zoom for part, whole in zip(crop, size, strict=True)):
        message = f"[{crop[0]}, {crop[1]}] was given, larger than data.size [{size[0]}, {size[1]}]; give a smaller crop"
        yield ("data", "augment", "crop"), message


def _check_alone(modalities: Values, data: Values) -> Iterator[Finding]:
    """Pictures that are not brought to one size cannot be in one batch."""
    if "size" in data and data["size"] is None:
        for name, one in modalities.items():
            if one.get("aligned") is False:
                yield ("modalities", name, "aligned"), "false was given without data.size; give data.size as well"


def _check_frames(frames: Values) -> Iterator[Finding]:
    sampling, path = frames.get("sampling"), ("data", "frames")
    if (sampling == "rate") != (frames.get("rate") is not None) and "rate" in frames and sampling is not None:
        found = "given without sampling: rate; give both" if frames["rate"] else "sampling: rate needs frames a second"
        yield (*path, "rate"), found
    if sampling == "random" and "count" in frames and frames["count"] is None:
        yield (*path, "count"), "sampling: random needs the number of frames to take"
    if sampling not in (None, "window") and frames.get("stride", 1) > 1:
        yield (*path, "stride"), f"given with sampling: {sampling}, which has none; it is of sampling: window"


def _check_validation(data: Values) -> Iterator[Finding]:
    validation = data.get("validation", {})
    path = ("data", "validation")
    fold, folds = validation.get("fold"), validation.get("folds")
    if fold and "folds" in validation:
        if folds is None:
            yield (*path, "fold"), f"{fold} was given without folds; give folds: k as well"
        elif fold >= folds:
            yield (*path, "fold"), f"{fold} was given; allowed: 0 <= x < {folds}, the number of folds"
    if validation.get("inner") is not None and "folds" in validation and folds is None:
        yield (*path, "inner"), f"{validation['inner']:g} was given without folds; give folds: k as well"
    if "divide" in validation and "train" not in validation["divide"]:
        yield (*path, "divide"), "folds divide train, alone or with val; give [train] or [train, val]"
    if validation.get("by") == "stratified" and "stratify" in validation and validation["stratify"] is None:
        yield (*path, "by"), "stratified was given, and stratify names no column; give the column of the classes"
    if validation.get("by") == "group" and "group" in data and data["group"] is None:
        yield (*path, "by"), "group was given, and data.group names no column; give data.group"


def _check_rare(data: Values, tasks: Values) -> Iterator[Finding]:
    """Rules for rare classes go by a task's classes."""
    sampling, pasting = data.get("sampling"), data.get("augment", {}).get("copy_paste", {})
    asked: dict[tuple[str, ...], Any] = {("data", "augment", "copy_paste", "task"): pasting.get("task")}
    if isinstance(sampling, Part):
        asked["data", "sampling", "task"] = sampling.options.get("task")
    for path, task in asked.items():
        if task is not None and tasks and task not in tasks:
            near = get_close_matches(task, tasks, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(tasks)}"
            yield path, f"there is no task {task!r}; {hint}"
    if "task" in pasting and pasting["task"] is None and pasting.get("classes", "rare") != "rare":
        yield ("data", "augment", "copy_paste", "classes"), "given without a task; give the task whose masks hold them"


def _check_best(values: Values, schema: Schema) -> Iterator[Finding]:
    best, tasks = values.get("train", {}).get("best"), values.get("tasks", {})
    if best is None or not tasks:
        return
    path = ("train", "best")
    task, slash, figure = best.partition("/")
    if not slash or not figure:
        yield path, f"{best!r} was given; allowed: task/figure, such as {next(iter(tasks))}/…"
    elif task not in tasks:
        yield path, f"there is no task {task!r}; there are {', '.join(tasks)}"
    else:
        figures = part_schema(schema, "task", tasks[task]["type"]).get("x-higher_is_better")
        if figures is not None and figure.split("/")[0] not in figures:
            yield path, f"{task} has no figure {figure!r}; there are {', '.join(figures)}"


def _shares(encoder: Any) -> bool:
    return isinstance(encoder, Mapping) and "share" in encoder


def _views(values: Values, schema: Schema) -> list[str]:
    """All views that a task can read, as far as what was given is sound."""
    fusion = values.get("fusion")
    if not isinstance(fusion, Part) or not values.get("modalities"):
        return []
    fused = part_schema(schema, "fusion", fusion.type).get("x-gives_fused", True)
    return [*(["fused"] if fused else []), *values["modalities"]]


def _check_features(features: Values) -> Iterator[Finding]:
    """Versions that are not kept could not come again."""
    if features.get("copies") and features.get("where") == "none":
        yield ("train", "features", "copies"), "copies are kept nowhere with `where: none`; give memory or disk, or 0"
