"""Who this server says it is: the segments of ``x-platform-server`` (contract, section 3)."""

from __future__ import annotations

import sys

from agentserver._version import __version__


def server_header_segment(name: str, version: str = __version__) -> str:
    """One segment, ``NAME/VERSION (python/3.11)``."""
    return f"{name}/{version} (python/{sys.version_info.major}.{sys.version_info.minor})"
