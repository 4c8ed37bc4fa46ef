"""A share of a core for a process, as a container has it: the kernel's control groups, version 1 or 2."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Generator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_PERIOD = 100_000  # microseconds, the kernel's default
_numbers = itertools.count()


@contextlib.contextmanager
def quota(share: float) -> Generator[Callable[[int], None] | None, None, None]:
    """What confines a process to *share* of a core; ``None`` where this user may not do that.

    The process must have ended when this is left.

    Args:
        share: Of one core, from 0.01 to 1.
    """
    is_unified = (_ROOT / "cgroup.controllers").exists()
    group = (_ROOT if is_unified else _ROOT / "cpu") / f"benchmark-{os.getpid()}-{next(_numbers)}"
    allowed = str(int(share * _PERIOD))
    try:
        group.mkdir()
        if is_unified:
            (group / "cpu.max").write_text(f"{allowed} {_PERIOD}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD))
            (group / "cpu.cfs_quota_us").write_text(allowed)
    except OSError:
        with contextlib.suppress(OSError):
            group.rmdir()
        yield None
        return

    def confine(pid: int) -> None:
        (group / "cgroup.procs").write_text(str(pid))

    try:
        yield confine
    finally:
        with contextlib.suppress(OSError):  # busy as long as a process of it lives
            group.rmdir()
