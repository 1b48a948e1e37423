"""Optimisers, one file each: functions (parameter_groups, *, options) → torch.optim.Optimizer."""
