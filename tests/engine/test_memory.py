"""Freed memory is kept."""

from __future__ import annotations

import platform
import resource

import pytest
import torch

from weft.engine.memory import keep_freed_memory

PAGE = 4096


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_a_freed_tensor_is_used_again_without_asking_the_system() -> None:
    keep_freed_memory()
    num_bytes, times = 2**26, 10  # above what glibc keeps by itself
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.zeros(num_bytes, dtype=torch.uint8)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults < times * num_bytes / PAGE / 2  # the heap may grow a few times, and then no more
