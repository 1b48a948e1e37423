"""One experiment as `config.py` reads it from YAML. The signatures here are the schema of everything but the parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from weft.registry import Part, Range

Positive = Annotated[float, Range(0, open_low=True)]
Fraction = Annotated[float, Range(0, 1)]
Count = Annotated[int, Range(1)]


@dataclass(frozen=True, kw_only=True)
class CopyPaste:
    """Objects of some classes, cut out of another training sample and put over this one, in everything it shows.

    The other sample moves by a geometry of its own. Values are pasted as they are, depths among them, with hard edges.

    Reference: Ghiasi et al., CVPR 2021, arXiv:2012.07177.

    Args:
        task: whose masks say where objects are; by default nothing is pasted.
        classes: names of the classes, or rare: the third of them that has the fewest pixels in the training split.
        probability: of pasting something into a training sample that has a mask.
        min_pixels: a sample gives a class of which its mask has at least so many pixels, in the file.
    """

    task: str | None = None
    classes: Literal["rare"] | tuple[str, ...] = "rare"
    probability: Fraction = 0.5
    min_pixels: Count = 1


@dataclass(frozen=True, kw_only=True)
class Augment:
    """The joint geometry of a training sample, drawn once and applied by kind to all that is in it.

    Args:
        flip: probability of mirroring left and right. Set 0 where words speak of sides.
        scale: range of the random zoom, [low, high].
        rotate: largest angle in degrees, either way.
        crop: [height, width] of the training crop; by default the size of the data.
        copy_paste: objects of other samples put over this one.
    """

    flip: Fraction = 0.0
    scale: tuple[Positive, Positive] | None = None
    rotate: Annotated[float, Range(0, 180)] = 0.0
    crop: tuple[Count, Count] | None = None
    copy_paste: CopyPaste = field(default_factory=CopyPaste)


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Which frames of a sample's clips are taken: one choice for all that has frames in it, inputs and targets.

    Args:
        sampling: uniform: what is shown in the middle of each of `count` equal stretches; random: in training at a
            random moment of each; window: `count` frames in a row, every `stride`-th; rate: `rate` frames a second.
            A window, and `count` frames at a rate, begin at a random place in training. Outside training what is
            random lies in the middle.
        count: of frames that are taken; a clip with fewer gives those that it has. By default all.
        stride: from one frame of a window to the next.
        rate: frames a second, for `sampling: rate`.
    """

    sampling: Literal["uniform", "random", "window", "rate"] = "uniform"
    count: Count | None = None
    stride: Count = 1
    rate: Positive | None = None


@dataclass(frozen=True, kw_only=True)
class Validation:
    """How a validation part is cut from the training split where the data has none, or for k-fold.

    Args:
        fraction: share of the training samples.
        by: block: contiguous runs of samples in manifest order; group: whole groups of the `group` column;
            random: single samples, the same for one seed; stratified: with the shares that the classes of `stratify`
            have in the whole, and whole groups where there is a `group` column.
        stratify: column of the classes, or of several labels, for `by: stratified`.
        blocks: number of contiguous runs held out, for `by: block`.
        folds: k for k-fold; then `fraction` is 1 / k.
        fold: which fold is the validation part, from 0.
        divide: the splits that folds divide, as one.
        inner: with folds, set the fold apart as the split `fold`, to be scored and never looked at in training; the
            checkpoint is chosen by a split `val` that is not divided, or else by this share of the samples outside the
            fold; 0: by none, the last one counts. By default the fold itself is the validation part.
    """

    fraction: Annotated[float, Range(0, 1, open_low=True, open_high=True)] = 0.15
    by: Literal["block", "group", "random", "stratified"] = "random"
    stratify: str | None = None
    blocks: Count = 10
    folds: Annotated[int, Range(2)] | None = None
    fold: Annotated[int, Range(0)] = 0
    divide: tuple[Literal["train", "val"], ...] = ("train", "val")
    inner: Annotated[float, Range(0, 1, open_high=True)] | None = None


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Where decoded samples are kept between epochs.

    Args:
        where: none, memory, or disk.
        limit: largest size in GiB; what does not fit is decoded each time.
        folder: of the disk cache; by default below the user's cache folder.
    """

    where: Literal["none", "memory", "disk"] = "none"
    limit: Positive = 4.0
    folder: str | None = None


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the samples are and how they are brought in.

    Args:
        format: the data format with its own options beside it (`{format: nyuv2, root: …}`).
        size: [height, width] every sample is brought to; by default samples keep their own.
        augment: random geometry of the training samples.
        frames: which frames of clips are taken.
        sampling: how often each training sample comes in an epoch, by the classes it holds; by default once.
        validation: how a validation part is made where the data has none.
        group: column whose equal values belong together (patient, scene): in splits and intervals.
        subgroups: columns by whose values the report breaks results down.
        roots: folders that path cells may point into, besides the data's own root.
        on_bad: what training does with a sample that cannot be decoded.
        max_bad: largest share of samples that may be dropped.
        strict: refuse the same file or group in two splits instead of warning.
        cache: keep decoded samples.
        workers: processes that read and decode; by default chosen from the number of cores.
        limit: use only the first so many samples of every split.
        neighbours: so many training batches are sorted by the length of their texts or sounds and cut anew, so that a
            batch is padded little; 0: batches stay as they were shuffled.
    """

    format: Annotated[Part, "format"]
    size: tuple[Count, Count] | None = None
    augment: Augment = field(default_factory=Augment)
    frames: Frames = field(default_factory=Frames)
    sampling: Annotated[Part, "sampling"] | None = None
    validation: Validation = field(default_factory=Validation)
    group: str | None = None
    subgroups: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    on_bad: Literal["error", "drop"] = "error"
    max_bad: Fraction = 0.01
    strict: bool = False
    cache: Cache = field(default_factory=Cache)
    workers: Annotated[int, Range(0)] | None = None
    limit: Count | None = None
    neighbours: Annotated[int, Range(0)] = 32


@dataclass(frozen=True, kw_only=True)
class SetConfig:
    """One of several data sets in one training. The options of its own format stand beside these.

    Args:
        share: its share of the training samples of an epoch, of the sum of all shares: 3 beside 1 is three quarters.
            Give it for all sets or for none; then every set gives what it has.
        rename: other names for its columns, {name in the set: name here}, where two sets call different things alike,
            or the same thing differently.
        splits: those of its splits that are used; by default all.
    """

    share: Positive | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    splits: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class ModalityConfig:
    """One input. The options of the modality's own type stand beside these.

    Args:
        type: a registered modality; by default the name itself.
        column: its column in the manifest; by default the name itself.
        columns: several columns that it reads together, as a table does; then `column` is of no matter.
        encoder: its encoder, or `{share: other}` to use the encoder of another modality.
        dropout: probability of hiding it in a training sample; one modality always stays.
    """

    type: str
    column: str
    encoder: Annotated[Part, "encoder"] | None
    share: str | None = None
    columns: tuple[str, ...] = ()
    dropout: Annotated[float, Range(0, 1, open_high=True)] = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)

    def source(self, name: str) -> str:
        """The column that its cells stand in; several are joined under its own `name`."""
        return name if self.columns else self.column


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """One task. The options of the task's own type and of its target stand beside these.

    Args:
        type: a registered task; by default the name itself.
        target: its column in the manifest; by default the name itself.
        weight: factor on its loss.
        over: the views that it reads: `fused`, or modalities by name; by default those of the experiment.
    """

    type: str
    target: str
    weight: Annotated[float, Range(0)] = 1.0
    over: tuple[str, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """One loss of a task. The options of its own type stand beside these.

    Args:
        weight: factor on it in a list of losses that are added up.
    """

    weight: Annotated[float, Range(0, open_low=True)] = 1.0


@dataclass(frozen=True, kw_only=True)
class FrozenFeatures:
    """Where that is kept which frozen encoders give, so that they run once for each sample.

    It is found again by all that decides it: what the file or cell holds, how it is read and resized, and the weights.

    Args:
        where: disk, where later runs find it, too; memory; or none: every epoch runs the encoders anew.
        limit: largest size in GiB; what was used longest ago makes room.
        folder: of the disk; by default below the user's cache folder.
        copies: of training samples that are changed at random (geometry, colours, masks) so many versions are drawn and
            kept, and come again in turn; 0: each epoch draws its own, and their encoders run in every epoch.
    """

    where: Literal["none", "memory", "disk"] = "disk"
    limit: Positive = 4.0
    folder: str | None = None
    copies: Annotated[int, Range(0)] = 0


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How the network is trained.

    Args:
        epochs: passes over the training split.
        batch_size: samples a step reads at once, whatever the number of processes that share them.
        accumulate: batches whose gradients make one step.
        optimizer: the optimiser.
        schedule: how the learning rate goes on over the steps.
        warmup: epochs in which the learning rate rises from zero; may be a fraction.
        lr_factors: factor on the learning rate by the start of a parameter's name (`{encoders.image: 0.1}`); the
            longest wins.
        layer_decay: factor on the learning rate per encoder stage away from the output.
        clip: largest norm of the gradient.
        ema: decay of the exponential moving average of the weights that is evaluated and saved as best.
        sync_batch_norm: of several processes, normalise over the samples of all, where every sample has every
            modality; on GPUs.
        early_stopping: stop after so many evaluations without a better one.
        best: the validation figure that the best checkpoint is chosen by, `task/figure`; by default the mean over the
            tasks of each one's main figure.
        evaluate_every: epochs between evaluations on the validation part.
        checkpoint_every: keep a checkpoint every so many epochs, besides last and best.
        save_every: steps between saves of the last checkpoint within an epoch; by default it is saved once an epoch.
        precision: auto measures what is faster here, and takes bf16 where it is.
        compile: compile the network with torch.compile.
        conflict_every: steps between looks at how far the tasks' gradients of all they share point apart; such a step
            takes a backward pass through encoders and fusion for every task. 0: never.
        features: where that is kept which frozen encoders give.
        on_nonfinite: stop at a loss or gradient that is not finite, or skip that step and count it.
        start_from: a run folder whose weights are taken over where they fit.
        seed: of everything random.
        device: auto, cpu, or as torch names it.
        output: folder that holds the runs.
    """

    epochs: Count = 20
    batch_size: Count = 8
    accumulate: Count = 1
    optimizer: Annotated[Part, "optimizer"] = Part("optimizer", "adamw")
    schedule: Annotated[Part, "schedule"] = Part("schedule", "poly")
    warmup: Annotated[float, Range(0)] = 0.0
    lr_factors: Mapping[str, Annotated[float, Range(0)]] = field(default_factory=dict)
    layer_decay: Annotated[float, Range(0, 1, open_low=True)] = 1.0
    clip: Positive | None = None
    ema: Annotated[float, Range(0, 1, open_low=True, open_high=True)] | None = None
    sync_batch_norm: bool = False
    early_stopping: Count | None = None
    best: str | None = None
    evaluate_every: Count = 1
    checkpoint_every: Count | None = None
    save_every: Count | None = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool = False
    conflict_every: Annotated[int, Range(0)] = 50
    features: FrozenFeatures = field(default_factory=FrozenFeatures)
    on_nonfinite: Literal["stop", "skip"] = "stop"
    start_from: str | None = None
    seed: Annotated[int, Range(0)] = 0
    device: str = "auto"
    output: str = "runs"


@dataclass(frozen=True, kw_only=True)
class Inference:
    """What is averaged at test time, over all modalities together.

    Args:
        flip: also predict the mirrored sample.
        scales: zooms of the sample to predict at.
        window: [height, width] of a sliding window for dense tasks; by default the whole sample at once.
        overlap: share of a window that the next one covers again.
    """

    flip: bool = False
    scales: tuple[Positive, ...] = (1.0,)
    window: tuple[Count, Count] | None = None
    overlap: Annotated[float, Range(0, 1, open_high=True)] = 0.5


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One model, its data and its training.

    Args:
        name: of the experiment and its run folders.
        data: where the samples are.
        modalities: the inputs, by names of the user's.
        fusion: feature-level fusion.
        decision: how a task's answers from several views are combined.
        over: the views that every task reads, unless it says otherwise: `fused`, or modalities by name; by default
            those of the fusion.
        sharing: what each task makes of the features that it shares with the others.
        tasks: the outputs, by names of the user's.
        balancing: how the task losses become one step.
        train: how it is trained.
        inference: what is averaged at test time.
        imports: Python files that register parts of the user's own, beside this file.
        resolved: the whole as plain values with every default filled in, as written to the run folder.
    """

    name: str
    data: DataConfig
    modalities: Mapping[str, ModalityConfig]
    tasks: Mapping[str, TaskConfig]
    fusion: Annotated[Part, "fusion"] = Part("fusion", "none")
    decision: Annotated[Part, "decision"] = Part("decision", "mean")
    over: tuple[str, ...] | None = None
    sharing: Annotated[Part, "sharing"] = Part("sharing", "hard")
    balancing: Annotated[Part, "balancing"] = Part("balancing", "fixed")
    train: TrainConfig = field(default_factory=TrainConfig)
    inference: Inference = field(default_factory=Inference)
    imports: tuple[str, ...] = ()
    resolved: Mapping[str, Any] = field(default_factory=dict)
