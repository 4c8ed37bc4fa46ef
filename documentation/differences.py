"""What another implementation does otherwise: tables made from the recordings of `parity/`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from agentserver.conformance.requirement import load_requirements
from documentation.tables import table

__all__ = ["differences"]

_FILE: Final = Path(__file__).parent.parent / "parity" / "differences.json"


def differences(peer: str) -> str:
    """All that is known to differ on *peer*, such as ``"python-1.2.0"``, in Markdown.

    Raises:
        ValueError: If no recording has that name.
    """
    known: Mapping[str, Sequence[Mapping[str, Any]]] = json.loads(_FILE.read_text())
    missed = [entry for entry in known["missed"] if peer in entry["peers"]]
    if not missed:
        raise ValueError(f"nothing is recorded of {peer}: see {_FILE}")
    return table(("the requirement, which holds here", "there"), _rows(missed))


def _rows(missed: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    requirements = load_requirements()
    asked: dict[str, list[str]] = {}
    for entry in missed:
        sentences = asked.setdefault(entry["reason"], [])
        sentences += [requirements[name].sentence for name in entry["requirements"]]
    for reason, sentences in asked.items():
        yield (" ".join(sentences), reason)
