"""A Dockerfile, read without Docker."""

from __future__ import annotations

import json
import re

__all__ = ["health_check"]


def health_check(dockerfile: str) -> list[str]:
    """The command of the one HEALTHCHECK, in its exec form."""
    (command,) = re.findall(r"^HEALTHCHECK .*?CMD (\[.*?\])$", dockerfile, re.MULTILINE | re.DOTALL)
    found: list[str] = json.loads(command.replace("\\\n", ""))
    return found
