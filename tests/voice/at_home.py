"""A program whose peer connections are on loopback alone: ``python at_home.py PROGRAM``."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from aioice import ice


def stay_at_home() -> None:
    """Let peer connections of this process begin at 127.0.0.1, which they leave out of themselves."""

    def addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        return ["127.0.0.1"]

    ice.get_host_addresses = addresses


if __name__ == "__main__":
    stay_at_home()
    sys.argv.pop(0)
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
