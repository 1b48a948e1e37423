"""An encoder in a loop of one's own: any timm network, any number of channels, a pyramid out."""

import torch

from weft.encoders.timm import TimmEncoder

encoder = TimmEncoder(4, name="resnet18", output_stride=16)
optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-3)
pictures, classes = torch.rand(8, 4, 64, 96), torch.randint(0, encoder.spec.dim, (8,))

for _ in range(3):
    features = encoder(pictures)
    loss = torch.nn.functional.cross_entropy(features.pooled, classes)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

print("levels", [tuple(level.shape) for level in features.pyramid], f"loss {loss:.3f}")
