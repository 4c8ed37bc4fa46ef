"""Who this server says it is: the segments of ``x-platform-server`` (contract, section 3)."""

from __future__ import annotations

import sys
from typing import Final

__version__: Final = "0.1.0"


def segment(name: str, version: str = __version__) -> str:
    """One segment, ``NAME/VERSION (python/3.11)``."""
    return f"{name}/{version} (python/{sys.version_info.major}.{sys.version_info.minor})"
