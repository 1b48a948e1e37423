"""Fusion of tokens: the base of the fusions in which the tokens of all modalities attend to each other.

A subclass says only who attends to whom. Here the modalities' tokens are brought to one width and told what and where
they are; afterwards they become `Features` again, with maps where any modality has them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weft.fusion.attention import learned_tokens
from weft.fusion.base import Fusion
from weft.fusion.bridge import Bridge
from weft.fusion.dam import by_modality, by_step
from weft.fusion.dtl_block import DualModalBlock
from weft.fusion.levels import clips_among, common_strides, frames_in, in_every_frame, view_layout, weighted_sum
from weft.fusion.places import Places
from weft.fusion.positions import grid_positions, sequence_positions
from weft.fusion.weighted import WeightedFusion
from weft.types import Features, FeatureSpec

Pool = Literal["class", "mean"]

#: Positions start at this strength beside tokens of variance one, so that they do not hide what the encoders say.
_POSITION = 0.1

#: To explain, so many attention weights are held at once: those of all tokens on all others are many.
_MOST_WEIGHTS = 2**25


class TokenFusion(Fusion):
    """One view, `fused`, from the tokens of one or more modalities of any layouts.

    The tokens of a map are its deepest level, a vector is one token. Tokens that are not real are attended to by
    nobody. Where any modality has maps, so has the view: the modalities' fused maps are brought to the finest of their
    grids and averaged over those present; finer levels are averaged likewise, and changed by a `Bridge`. Where a row
    has no picture at all, learned tokens stand at its places and ask the modalities that are there. Without maps the
    view is the sequence of all tokens. Its vector is what became of the class token, or the mean of all real tokens.

    Args:
        specs: {modality: spec}.
        dim: width of the tokens and of the view.
        heads: of every attention.
        pool: what the view's vector is.
        known: modalities of sequences that are given whole before the first step of time; see `Places`.
        told_time: whether tokens that come in steps are told the number of their step.

    Attributes:
        timed: clips, and sequences that are not known.
        block: what the tokens go through before they are attended to, if anything.
    """

    def __init__(
        self,
        specs: Mapping[str, FeatureSpec],
        *,
        dim: int,
        heads: int,
        pool: Pool,
        known: Collection[str] = (),
        told_time: bool = True,
    ) -> None:
        super().__init__()
        if dim % heads or dim % 4:
            raise ValueError(f"dim is {dim} with {heads} heads; give a multiple of the heads and of 4")
        self.modalities = tuple(specs)
        self.timed = _timed(specs, known)
        self.block: DualModalBlock | None = None
        self.heads = heads
        self.pool = pool
        mapped = {m: spec for m, spec in specs.items() if spec.has_maps}
        self._mapped, self._clips = tuple(mapped), clips_among(specs)
        *finer, deepest = common_strides(spec.strides for spec in mapped.values()) or [1]
        self._sized_by = next((m for m, spec in mapped.items() if spec.strides[-1] == deepest), self.modalities[0])
        pictureless = len(mapped) < len(specs)  # there can be rows without any picture
        self.embed = nn.ModuleDict(
            {
                m: TokenEmbedding(
                    spec,
                    dim,
                    step=spec.strides[-1] / deepest if spec.has_maps else 1.0,
                    stand_in=spec.has_maps and pictureless,
                    told_time=told_time or m not in self.timed,
                )
                for m, spec in specs.items()
            }
        )
        self.norm = nn.LayerNorm(dim)
        self.finer: WeightedFusion | None = None
        self.bridge: Bridge | None = None
        widths: tuple[int, ...] = ()
        if finer:
            mode: Literal["learned", "fixed"] = "learned" if len(mapped) > 1 else "fixed"
            self.finer = WeightedFusion(mapped, mode=mode, strides=tuple(finer))
            widths = self.finer.specs["fused"].channels
            self.bridge = Bridge(widths, finer, deepest_stride=deepest, dim=dim, heads=heads)
        levels = ((*widths, dim), (*finer, deepest)) if mapped else ()
        layout = view_layout(specs.values()) if mapped else "sequence"
        self.specs = {"fused": FeatureSpec(layout, dim, *levels)}

    @abstractmethod
    def attend(
        self, tokens: dict[str, Tensor], masks: dict[str, Tensor], places: Places
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The tokens after they have attended to each other, {modality: (B, N_m, D)}, and the class token (B, D).

        Args:
            tokens: {modality: (B, N_m, D)}.
            masks: {modality: (B, N_m) bool}, the real ones; where a modality is absent there is none. The others are
                finite, may ask, and must not be attended to.
            places: of the tokens of all modalities, in their order.
        """

    @abstractmethod
    def trace(self, tokens: dict[str, Tensor], masks: dict[str, Tensor], places: Places) -> dict[str, Tensor]:
        """{modality: (B, N_m)} how much of the view's vector comes from each token, zero where it is not real.

        Arguments are those of `attend`.
        """

    def traced_from(self, mask: Tensor) -> Tensor:
        """(B, 1 + N) where a trace begins: at a class token, or at all real tokens (B, N) after it alike."""
        if self.pool == "mean":
            return F.pad(mask.float(), (1, 0))
        return torch.cat([mask.any(1, keepdim=True), torch.zeros_like(mask)], dim=1).float()

    def forward(self, features: dict[str, Features]) -> dict[str, Features]:
        """See `Fusion.forward`."""
        tokens, masks, places = self.embedded(features)
        if self.block is not None:
            tokens = self.split(self.block(self.joined(tokens), places), tokens)
        attended, class_token = self.attend(tokens, masks, places)
        return {"fused": self.view(attended, class_token, places, features)}

    def embedded(self, features: dict[str, Features]) -> tuple[dict[str, Tensor], dict[str, Tensor], Places]:
        """The tokens at one width, {modality: (B, N_m, D)}, which are real, (B, N_m) bool, and where all stand."""
        masks = {m: features[m].mask & features[m].present[:, None] for m in self.modalities}
        tokens = {m: self.embed[m](features[m], masks[m]) for m in self.modalities}
        return tokens, masks, Places.of({m: features[m] for m in self.modalities}, self.timed)

    def view(
        self,
        attended: dict[str, Tensor],
        class_token: Tensor,
        places: Places,
        features: dict[str, Features],
    ) -> Features:
        """The view from what `attend` gives, of tokens with these places, that were these features."""
        present = torch.stack([features[m].present for m in self.modalities]).any(0)
        fused = {m: self.norm(attended[m]) for m in self.modalities}
        joined = self.joined(fused)
        vector = self.norm(class_token) if self.pool == "class" else Features(joined, places.mask, present).pooled
        if not self._mapped:
            return Features(*self.sequence(joined, places), present, vector=vector)
        return self._with_maps(fused, joined, vector, places, features)

    def joined(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """(B, N, ...) the tokens of all modalities, one modality after the other."""
        return torch.cat([tokens[m] for m in self.modalities], dim=1)

    def split(self, joined: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{modality: (B, N_m, ...)} from (B, N, ...), with as many tokens of each as in `like`."""
        sizes = [like[m].shape[1] for m in self.modalities]
        return dict(zip(self.modalities, joined.split(sizes, dim=1), strict=True))

    def sequence(self, tokens: Tensor, places: Places) -> tuple[Tensor, Tensor]:
        """The view's tokens and their mask where there are no maps, from all tokens (B, N, D): these, by default."""
        return tokens, places.mask

    def seen_from(self, tokens: Tensor, vector: Tensor, places: Places, num_frames: int) -> tuple[Tensor, Tensor]:
        """What each frame of the finer maps may attend to: all tokens, and one that is always there, the vector.

        Args:
            tokens: (B, N, D).
            vector: (B, D).
            places: of the tokens.
            num_frames: T, 1 of stills.

        Returns:
            (B * T, K, D), and (B * T, K) bool which are real, one at least in every row.
        """
        keys = torch.cat([vector[:, None].to(tokens.dtype), tokens], dim=1)
        real = F.pad(places.mask, (1, 0), value=True)
        return keys.repeat_interleave(num_frames, 0), real.repeat_interleave(num_frames, 0)

    def explain(self, features: dict[str, Features]) -> dict[str, Tensor]:
        """See `Fusion.explain`: `attention/<modality>` and `share`. Meant for evaluation mode."""
        present = features[self.modalities[0]].present
        rows = torch.arange(len(present), device=present.device)
        num_tokens = sum(f.tokens.shape[1] for f in features.values())
        at_once = max(1, _MOST_WEIGHTS // (self.heads * num_tokens**2))
        with torch.no_grad():
            explained = [
                self._explain({m: f.select(part) for m, f in features.items()}) for part in rows.split(at_once)
            ]
        return {name: torch.cat([part[name] for part in explained]) for name in explained[0]}

    def compared(self, features: dict[str, Features]) -> dict[str, dict[str, Tensor]]:
        """See `Fusion.compared`: the means of the modalities' tokens before and after the exchange, if there is one."""
        if self.block is None or self.block.exchange is None:
            return {}
        tokens, masks, places = self.embedded(features)
        exchanged = self.split(self.block.exchanged(self.joined(tokens), places), tokens)
        return {
            stage: {m: Features(one[m], masks[m], features[m].present).pooled for m in self.modalities}
            for stage, one in (("before the exchange", tokens), ("after the exchange", exchanged))
        }

    def _explain(self, features: dict[str, Features]) -> dict[str, Tensor]:
        tokens, masks, places = self.embedded(features)
        looked: dict[str, Tensor] = {}
        through: dict[str, Tensor] = {}
        if self.block is None:
            relevance = self.trace(tokens, masks, places)
        else:
            joined = self.joined(tokens)
            looked = self.block.looked(joined, places)
            after = self.trace(self.split(self.block(joined, places), tokens), masks, places)
            before, through = self.block.trace(self.joined(after), joined, places)
            relevance = self.split(torch.where(places.mask, before, 0), tokens)
        sums = torch.stack([relevance[m].sum(1) for m in self.modalities], dim=1)
        total = sums.sum(1, keepdim=True).clamp(min=torch.finfo(sums.dtype).tiny)  # clamp: nothing is present
        return {
            **{f"attention/{m}": relevance[m] / total for m in self.modalities},
            **{f"part/{name}": by_modality(weights, places) for name, weights in looked.items()},
            **{f"time/{name}": by_step(one, places) for name, one in through.items() if places.num_steps},
            **({"time": (places.of_step & places.mask[:, None]).any(2)} if through and places.num_steps else {}),
            "share": sums / total,
        }

    def _with_maps(
        self,
        fused: dict[str, Tensor],
        joined: Tensor,
        vector: Tensor,
        places: Places,
        features: dict[str, Features],
    ) -> Features:
        present = torch.stack([features[m].present for m in self.modalities]).any(0)
        num_rows = len(present)
        there = frames_in(features, self._clips)
        frames = torch.stack([there[m] for m in self.modalities]).any(0)
        num_frames = frames.shape[1]
        deepest = self._deepest(fused, features, there)
        maps: list[Tensor] = []
        if self.finer is not None and self.bridge is not None:
            keys, real = self.seen_from(joined, vector, places, num_frames)
            maps = self.bridge(self.finer(features)["fused"].pyramid, deepest, keys, real)
        height, width = deepest.shape[-2:]
        return Features(
            tokens=deepest.flatten(2).transpose(1, 2).reshape(num_rows, num_frames * height * width, -1),
            mask=frames[:, :, None].expand(-1, -1, height * width).flatten(1),
            present=present,
            grid=(num_frames, height, width),
            maps=tuple(level.unflatten(0, (num_rows, num_frames)) for level in maps),
            vector=vector,
        )

    def _deepest(self, fused: dict[str, Tensor], features: dict[str, Features], frames: Mapping[str, Tensor]) -> Tensor:
        """(B * T, D, h, w): the mean of the fused maps that are there; of all, stood in for, where none is."""
        grids = {m: cast(tuple[int, int, int], features[m].grid) for m in self._mapped}
        size = grids[self._sized_by][1:]
        maps = {}
        for m in self._mapped:
            level = fused[m].unflatten(1, grids[m]).flatten(0, 1).permute(0, 3, 1, 2)
            if level.shape[-2:] != size:
                level = F.interpolate(level, size, mode="bilinear", align_corners=False)
            maps[m] = in_every_frame(level, *frames[m].shape)
        there = torch.stack([frames[m].flatten() for m in self._mapped], dim=1)
        counted = there | ~there.any(1, keepdim=True)
        return weighted_sum(maps, (counted / counted.sum(1, keepdim=True))[:, :, None, None])


class TokenEmbedding(nn.Module):
    """One modality's tokens at the common width, with what they are and where they stand.

    Args:
        spec: of the modality.
        dim: the common width.
        step: distance of neighbours of a map; see `grid_positions`.
        stand_in: whether a learned token stands where there is no real one.
        told_time: whether tokens are told the number of their frame, or in a sequence their own.

    Reference: the learned strength of the positions is that of Li et al., AAAI 2019, arXiv:1809.08895, section 3.2.
    """

    def __init__(self, spec: FeatureSpec, dim: int, *, step: float, stand_in: bool, told_time: bool = True) -> None:
        super().__init__()
        self.step, self.in_time = step, told_time and spec.layout == "clip"
        self.project = nn.Sequential(nn.Linear(spec.dim, dim), nn.LayerNorm(dim))
        self.modality = learned_tokens(dim)
        self.stand_in = learned_tokens(dim) if stand_in else None
        placed = spec.has_maps or (told_time and spec.layout == "sequence")
        self.strength = nn.Parameter(torch.tensor(_POSITION)) if placed else None

    def forward(self, features: Features, mask: Tensor) -> Tensor:
        """(B, N, dim); `mask` (B, N) says which tokens are real."""
        real = mask[:, :, None]
        tokens = self.project(torch.where(real, features.tokens, 0))
        tokens = torch.where(real, tokens, 0 if self.stand_in is None else self.stand_in.to(tokens.dtype))
        tokens = tokens + self.modality.to(tokens.dtype)
        if self.strength is None:
            return tokens
        num_tokens, dim, device = tokens.shape[1], tokens.shape[2], tokens.device
        positions = (
            sequence_positions(num_tokens, dim, device=device)
            if features.grid is None
            else grid_positions(features.grid, dim, step=self.step, in_time=self.in_time, device=device)
        )
        return tokens + (self.strength * positions).to(tokens.dtype)


def _timed(specs: Mapping[str, FeatureSpec], known: Collection[str]) -> tuple[str, ...]:
    """The modalities that come in steps."""
    sequences = [m for m, spec in specs.items() if spec.layout == "sequence"]
    wrong = [m for m in known if m not in sequences]
    if wrong:
        there = f"those are {', '.join(sequences)}" if sequences else "there are none"
        raise ValueError(f"known names {', '.join(wrong)}; only sequences can be given whole, and {there}")
    return tuple(m for m, spec in specs.items() if spec.layout in ("sequence", "clip") and m not in known)


def mean_of_present(values: Sequence[Tensor], present: Sequence[Tensor]) -> Tensor:
    """(B, ...) mean of M values (B, ...) over those whose (B,) is True; zero where none is."""
    rows = torch.stack(list(present))
    stacked = torch.stack(list(values))
    known = torch.where(rows.view(*rows.shape, *[1] * (stacked.dim() - 2)), stacked, 0).sum(0)
    count = rows.sum(0).clamp(min=1).to(known.dtype)  # clamp: nothing is present
    return known / count.view(-1, *[1] * (known.dim() - 1))
