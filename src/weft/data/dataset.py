"""One sample at a time: read, check, move by one geometry. Everything random is a function of (seed, epoch, sample)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from weft.data import frames, geometry
from weft.data.cache import Cache
from weft.data.clipcell import split_cell
from weft.data.collate import Sample
from weft.data.copypaste import Paster
from weft.data.features import FeatureReader, Given, Wanted
from weft.data.manifest import Manifest
from weft.data.sources import BadColumn, Dropped, Source, common_size, extent, row_timeline
from weft.data.timeline import Timeline
from weft.experiment import Augment, Frames
from weft.modalities.base import BadCell


@dataclass(frozen=True)
class Key:
    """Which sample, and how.

    Attributes:
        row: of the manifest.
        epoch: of training; None is without anything random.
        repeat: 0, or k where the sample comes for the k-th time again in this epoch.
    """

    row: int
    epoch: int | None = None
    repeat: int = 0

    def version(self, copies: int = 0) -> str | None:
        """Which drawing of what is random in the sample: another each time it comes.

        Args:
            copies: so many drawings come in turn; 0: none comes again.
        """
        if self.epoch is None:
            return None
        if copies:
            return str((self.epoch + self.repeat) % copies)
        return f"{self.epoch}.{self.repeat}" if self.repeat else str(self.epoch)


@dataclass(frozen=True)
class _Row:
    """A row of the manifest, the cells of the modalities that stay after dropout, the key it was asked for by, the
    place of its data set, and the frames that are taken of its clips, or why they cannot be told.
    """

    content: Mapping[str, Any]
    cells: dict[str, Any]
    key: Key
    place: int
    frames: Timeline | None = None
    fault: BadColumn | None = None


@dataclass(frozen=True)
class SampleReader:
    """Samples of a manifest by `Key`.

    Attributes:
        manifest: all splits.
        inputs: {modality: Source}.
        targets: {task: Source}.
        size: (H, W) that samples are brought to; None: their own.
        augment: of training samples.
        frames: which frames of clips are taken.
        seed: of everything random.
        cache: of decoded cells.
        copies: the geometry of a training sample comes again after so many epochs; 0: never.
        features: looks up what frozen encoders gave for a sample.
        paste: puts objects of other samples over training samples; None: nothing.
    """

    manifest: Manifest
    inputs: Mapping[str, Source]
    targets: Mapping[str, Source]
    size: tuple[int, int] | None
    augment: Augment
    seed: int
    cache: Cache
    frames: Frames = field(default_factory=Frames)
    copies: int = 0
    features: FeatureReader = field(default_factory=FeatureReader)
    paste: Paster | None = None
    _made: dict[int, tuple[str, Timeline] | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __getitem__(self, key: Key) -> Sample | Dropped:
        """The sample, read from its files, or why there is none."""
        return self._read_row(self._draw(key), Given())

    def batch(self, keys: Sequence[Key], *, stored: bool) -> list[Sample | Dropped]:
        """The samples of a batch, or why there is none.

        Args:
            keys: of the samples.
            stored: leave out what frozen encoders need not see again.
        """
        rows = [self._draw(key) for key in keys]
        given = [Given()] * len(rows)
        if stored:
            given = self.features.find([self._wanted(row) for row in rows])
        found = [self._read_row(row, known) for row, known in zip(rows, given, strict=True)]
        return [one for row, sample in zip(rows, found, strict=True) for one in self._pasted(row, sample)]

    def of_cells(self, sample: str, cells: Mapping[str, Any]) -> Sample:
        """A sample that is in no manifest, of {modality: file, array, text or row}.

        Raises:
            BadCell: a file or array cannot be used.
        """
        fields = {name: self.inputs[name].field for name in self.inputs if name in cells}
        lines = (field.timeline(cells[name], _as_given) for name, field in fields.items())
        whole = next((line for line in lines if line is not None), None)
        taken = None if whole is None else frames.choose(whole, self.frames)
        values = {name: field.read_frames(cells[name], _as_given, taken) for name, field in fields.items()}
        names = {n: str(cell) if isinstance(cell, Path | str) else f"the array of {n}" for n, cell in cells.items()}
        return self._moved(sample, values, {}, names, None, Given(), taken=taken)

    def _wanted(self, row: _Row) -> Wanted:
        """What the features of a row are looked up by."""
        return Wanted(
            id=str(row.content["id"]),
            cells=row.cells,
            version=row.key.version(self.copies),
            resolve=self.manifest.resolver(row.place),
            # what is read as all others has nothing to tell it apart
            keys={name: self.inputs[name].of(row.place).key for name in row.cells if self.inputs[name].sets},
            frames=row.frames,
        )

    def _draw(self, key: Key) -> _Row:
        """A row of the manifest, after modality dropout."""
        content = self.manifest.row(key.row)
        cells = {name: content.get(source.column) for name, source in self.inputs.items()}
        present = [name for name, cell in cells.items() if cell is not None]
        version = key.version()
        kept = present if version is None else self._undropped(str(content["id"]), version, present)
        row = _Row(content, {name: cells[name] for name in kept}, key, self.manifest.set_of(key.row))
        try:
            return replace(row, frames=self._taken(row))
        except BadColumn as error:
            return replace(row, fault=error)

    def _taken(self, row: _Row) -> Timeline | None:
        """The frames that are taken of a row's clips, the same whichever modalities are hidden."""
        whole = self._timeline(row)
        version = row.key.version(self.copies)
        if whole is None:
            return None
        random = None
        if version is not None and frames.is_random(self.frames):
            random = geometry.generator(self.seed, version, row.content["id"], "frames")
        column, timeline = whole
        try:
            return frames.choose(timeline, self.frames, random)
        except BadCell as error:
            raise BadColumn(column, error.code, str(error)) from error

    def _timeline(self, row: _Row) -> tuple[str, Timeline] | None:
        """See `row_timeline`. Remembered where the format makes the clips: to count the frames it makes them all."""
        if row.key.row in self._made:
            return self._made[row.key.row]
        sources = {**self.inputs, **{f"target {name}": source for name, source in self.targets.items()}}
        whole = row_timeline(sources, row.content, self.manifest, row.place)
        if self.manifest.data_set(row.place).arrays is not None:
            self._made[row.key.row] = whole
        return whole

    def _read_row(self, row: _Row, given: Given) -> Sample | Dropped:
        content = row.content
        try:
            if row.fault is not None:
                raise row.fault
            return self._sample(row, given)
        except BadColumn as error:
            return Dropped(str(content["id"]), str(content["split"]), error.column, error.code, str(error))

    def _sample(self, row: _Row, given: Given) -> Sample:
        content = row.content
        unread = {name: cell for name, cell in row.cells.items() if name not in given.stored}
        inputs = {name: self._read(self.inputs[name], cell, row.place, row.frames) for name, cell in unread.items()}
        targets = {
            name: self._read(source, content[source.column], row.place, row.frames)
            for name, source in self.targets.items()
            if content.get(source.column) is not None
        }
        names = {
            **{name: str(cell) for name, cell in row.cells.items()},
            **{name: str(content[self.targets[name].column]) for name in targets},
        }
        version = row.key.version(self.copies)
        return self._moved(
            str(content["id"]), inputs, targets, names, version, given, place=row.place, taken=row.frames
        )

    def _pasted(self, row: _Row, sample: Sample | Dropped) -> list[Sample | Dropped]:
        """A sample with what is pasted over it; where its donor cannot be read, without, and the donor's fault."""
        version = row.key.version(self.copies)
        if self.paste is None or version is None or isinstance(sample, Dropped):
            return [sample]
        donor = self.paste.donor(sample, row.key.row, version)
        if donor is None:
            return [sample]
        found = self._donor(donor, sample, version)
        return [sample, found] if isinstance(found, Dropped) else [self.paste.paste(sample, found)]

    def _donor(self, row: int, receiver: Sample, version: str) -> Sample | Dropped:
        """What a donor shows of the kinds that a receiver has, moved by a draw of its own to the receiver's size."""
        assert self.paste is not None
        content, place = self.manifest.row(row), self.manifest.set_of(row)
        inputs = {name: self.inputs[name] for name in receiver.inputs if name in self.paste.inputs}
        targets = {name: self.targets[name] for name in receiver.targets if name in self.paste.targets}
        names = {name: str(content[source.column]) for name, source in {**inputs, **targets}.items()}
        cropped = replace(self, augment=replace(self.augment, crop=receiver.size))
        try:
            return cropped._moved(
                f"{receiver.id} over {content['id']}",
                {name: self._read(source, content[source.column], place) for name, source in inputs.items()},
                {name: self._read(source, content[source.column], place) for name, source in targets.items()},
                names,
                version,
                Given(),
                place=place,
            )
        except BadColumn as error:
            return Dropped(str(content["id"]), str(content["split"]), error.column, error.code, str(error))

    def _undropped(self, sample: str, version: str, present: list[str]) -> list[str]:
        """The modalities that stay after modality dropout; at least one."""
        if not any(self.inputs[name].dropout for name in present):
            return present
        random = geometry.generator(self.seed, version, sample, "dropout")
        draws = {name: random.random() for name in self.inputs}
        spared = random.integers(len(present))
        kept = [name for name in present if draws[name] >= self.inputs[name].dropout]
        return kept or [present[spared]]

    def _read(self, source: Source, cell: Any, place: int, taken: Timeline | None = None) -> np.ndarray:
        own, resolve = source.of(place), self.manifest.resolver(place)
        try:
            if own.field.decodes and isinstance(cell, str):
                return self.cache.read(own.field, own.key, cell, resolve, taken)
            return own.field.read_frames(cell, resolve, taken)
        except BadCell as error:
            raise BadColumn(source.column, error.code, str(error)) from error

    def _moved(
        self,
        sample: str,
        inputs: dict[str, np.ndarray],
        targets: dict[str, np.ndarray],
        names: Mapping[str, str],
        version: str | None,
        given: Given,
        *,
        place: int = 0,
        taken: Timeline | None = None,
    ) -> Sample:
        sizes: dict[str, Any] = {name: extent(self.inputs[name], value) for name, value in inputs.items()}
        sizes.update({name: stored.original_size for name, stored in given.stored.items()})
        fields = [(self.inputs[name], name, size) for name, size in sizes.items()]
        fields += [(self.targets[name], name, extent(self.targets[name], value)) for name, value in targets.items()]
        original = common_size(fields, names)
        kinds = {name: self.inputs[name].field.geometry for name in sizes}
        alone = {
            name: self._warp(sample, version, (size[0], size[1]), name)
            for name, size in sizes.items()
            if kinds[name].has_pixels and not kinds[name].aligned
        }
        together = None if original is None else self._warp(sample, version, original)
        warp = together or next(iter(alone.values()), None)
        features = {name: stored.features for name, stored in given.stored.items()}
        if warp is None:
            return Sample(sample, inputs, targets, (0, 0), (0, 0), features, given.slots, taken)
        return Sample(
            id=sample,
            inputs={name: geometry.apply(alone.get(name, warp), value, kinds[name]) for name, value in inputs.items()},
            targets={
                name: geometry.apply(
                    warp, _placed(self.targets[name].of(place), value, warp), self.targets[name].field.geometry
                )
                for name, value in targets.items()
            },
            size=warp.size,
            original_size=warp.source,
            features=features,
            slots={
                name: replace(slot, original_size=sizes[name]) if kinds[name].has_pixels else slot
                for name, slot in given.slots.items()
            },
            frames=taken,
        )

    def _warp(self, sample: str, version: str | None, source: geometry.Size, *words: str) -> geometry.Warp:
        """How a sample's images move, or one of them that its name, as `words`, tells apart."""
        if version is None:
            return geometry.resize(source, self.size)
        random = geometry.generator(self.seed, version, sample, "geometry", *words)
        return geometry.draw(source, self.size, self.augment, random)


def _placed(source: Source, value: np.ndarray, warp: geometry.Warp) -> np.ndarray:
    """A target beside the sample's images as they are in their files."""
    try:
        return source.field.placed(value, warp.source)
    except BadCell as error:
        raise BadColumn(source.column, error.code, str(error)) from error


def _as_given(cell: Any) -> Path | np.ndarray:
    """The file that a path names, whichever part of it is meant; files and arrays as they are."""
    source: Path | np.ndarray = Path(split_cell(cell)[0]) if isinstance(cell, str) else cell
    return source
