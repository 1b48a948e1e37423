"""A task on features of one's own: head, loss as (sum, count), records and figures."""

import torch

from weft import Features, FeatureSpec
from weft.tasks.classification import Classification

field = Classification.Target({}, classes=["kitchen", "office", "bedroom"])
task = Classification({"fused": FeatureSpec("vector", 16)}, field)
features = Features(torch.rand(6, 1, 16), torch.ones(6, 1, dtype=torch.bool), torch.ones(6, dtype=torch.bool))
target = torch.tensor([0, 1, 2, 0, 1, 2])

logits = task(features, view="fused", size=(0, 0))
total, count = task.loss(logits, target)
(total / count).backward()

records = task.records(task.predict(logits).detach(), target, ids=[f"sample {i}" for i in range(6)])
print({name: round(value, 3) for name, value in task.figures(records).items() if "/" not in name})
