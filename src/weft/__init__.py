"""weft: train one model from many modalities for many tasks.

Everything public is imported when it is first used: `weft --help` and configuration errors do not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Batch": "weft.types",
    "Features": "weft.types",
    "FeatureSpec": "weft.types",
    "Experiment": "weft.experiment",
    "Model": "weft.model",
    "Part": "weft.registry",
    "Predictor": "weft.engine.predict",
    "StreamingPredictor": "weft.engine.stream",
    "WeftError": "weft.errors",
    "ConfigError": "weft.errors",
    "build_data": "weft.data.pipeline",
    "build_model": "weft.engine.build",
    "check": "weft.engine.check",
    "compare": "weft.engine.reporting",
    "crossvalidate": "weft.engine.crossvalidate",
    "evaluate": "weft.engine.evaluate",
    "load_experiment": "weft.config",
    "load_run": "weft.engine.loading",
    "predict": "weft.engine.predict",
    "register": "weft.registry",
    "train": "weft.engine.train",
    "write_report": "weft.engine.reporting",  # not `report`: importing the package of that name would hide it
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'weft' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
