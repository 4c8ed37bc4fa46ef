"""JSON values as YAML in block style; strings are JSON's, which YAML reads as its own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from agentserver._typed.shapes import is_array, is_object

# What YAML 1.1 does not print and JSON leaves as it is; a pair of escapes would be two characters to YAML.
_UNPRINTABLE: Final = "[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]"


def yaml_of(value: Any) -> str:
    """Write *value*, which is plain JSON, as a YAML document."""
    return "\n".join(_lines(value, "")) + "\n"


def _lines(value: Any, indent: str) -> Iterator[str]:
    if is_object(value) and value:
        for key, item in value.items():
            yield from _entry(f"{indent}{_scalar(key)}:", item, indent)
    elif is_array(value) and value:
        for item in value:
            yield from _entry(f"{indent}-", item, indent)
    else:
        yield indent + _scalar(value)


def _entry(head: str, item: Any, indent: str) -> Iterator[str]:
    if item and (is_object(item) or is_array(item)):
        yield head
        yield from _lines(item, indent + "  ")
    else:
        yield f"{head} {_scalar(item)}"


def _scalar(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str):
        return re.sub(_UNPRINTABLE, lambda found: f"\\u{ord(found[0]):04x}", text)
    # YAML 1.1 takes 1e+16 for text: a number with an exponent needs its point.
    return re.sub(r"^(-?\d+)e", r"\1.0e", text)
