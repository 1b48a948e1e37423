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
    num_bytes, times = 2**25 + 2**20, 20  # above what glibc keeps by itself
    for _ in range(2 * times):  # the heap grows a few times, round what is small and stays between two large blocks
        torch.zeros(num_bytes, dtype=torch.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.zeros(num_bytes, dtype=torch.uint8)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults < times * num_bytes / PAGE / 4  # by itself it would be all of them, each time
