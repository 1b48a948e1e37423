"""BatchNorm in several processes: what it learns by looking on, whether it sees enough, and over all at once."""

from __future__ import annotations

import torch
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn

from weft.data.pipeline import Data
from weft.engine.distributed import Gathering
from weft.errors import ConfigError
from weft.experiment import Experiment
from weft.model import Model


def statistics(model: nn.Module) -> list[Tensor]:
    """What BatchNorm has learned by looking on, and not by gradients: its means and variances, where it still does and
    each process by itself.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._NormBase)]
    learned = [n for n in norms if n.training and n.track_running_stats and not isinstance(n, nn.SyncBatchNorm)]
    return [tensor for norm in learned for tensor in (norm.running_mean, norm.running_var) if tensor is not None]


def check_shares(model: nn.Module, batch_size: int, gathering: Gathering) -> None:
    """Whether each process gets enough of a batch to learn from.

    Raises:
        ConfigError: it does not.
    """
    needed = 2 * gathering.size if statistics(model) and gathering.size > 1 else gathering.size
    if batch_size < needed:
        reason = "two samples for each, as BatchNorm cannot learn from one" if needed > gathering.size else "one each"
        raise ConfigError(
            [
                f"train.batch_size: {batch_size} was given, and {gathering.size} processes share a batch; "
                f"give {needed} at least ({reason}), or start fewer processes"
            ]
        )


def synchronise(model: Model, experiment: Experiment, data: Data, device: torch.device, gathering: Gathering) -> None:
    """Put torch's SyncBatchNorm in the place of every BatchNorm; one process sees the whole batch as it is.

    Raises:
        ConfigError: it does not compute there, or some process might not come to a layer, for which all others would
            wait.
    """
    if gathering.size == 1:
        return
    reasons = []
    if device.type != "cuda":
        reasons.append(f"torch's SyncBatchNorm computes on GPUs alone, and this training is on the {device}")
    counts = data.counts["train"]
    for name, modality in experiment.modalities.items():
        if counts["modalities"][name] < counts["samples"] or modality.dropout:
            reasons.append(f"{name} is missing, or dropped, in some training samples")
    if experiment.data.on_bad == "drop":
        reasons.append("samples that cannot be read are dropped (data.on_bad)")
    if not data.shares_all("train"):
        reasons.append("the last batch of an epoch has too few samples for all")
    if reasons:
        raise ConfigError(
            [
                f"train.sync_batch_norm: in every step all processes must come to all layers; {'; '.join(reasons)}. "
                "Leave it out, and each process normalises its share; or freeze the statistics (freeze_bn)"
            ]
        )
    convert_sync_batchnorm(model)
