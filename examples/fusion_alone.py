"""A fusion between networks of one's own; the second sample has no depth, and whatever stands there changes nothing."""

import torch

from weft import Features, FeatureSpec
from weft.fusion.gated import GatedFusion

fusion = GatedFusion(
    {"image": FeatureSpec("grid", 32, (16, 32), (4, 8)), "depth": FeatureSpec("grid", 8, (8, 8), (4, 8))}
)
image = Features.of_pyramid([torch.rand(2, 16, 24, 32), torch.rand(2, 32, 12, 16)])
depth = Features.of_pyramid([torch.rand(2, 8, 24, 32), torch.rand(2, 8, 12, 16)], torch.tensor([True, False]))

fused = fusion({"image": image, "depth": depth})["fused"]
depth.tokens[1] = float("nan")
again = fusion({"image": image, "depth": depth})["fused"]

assert torch.equal(fused.tokens, again.tokens)
print("fused levels", [tuple(level.shape) for level in fused.pyramid])
