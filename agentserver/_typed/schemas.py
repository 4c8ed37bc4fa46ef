"""The schemas of some types with the components they share, whichever engine wrote them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from agentserver._typed.codec import Codec
from agentserver._typed.msgspec_codec import schemas_of as by_msgspec
from agentserver._typed.shapes import is_array, is_object

_REFERENCE: Final = "#/components/schemas/"


class Schemas(NamedTuple):
    """What documents are made of.

    Args:
        whole: The schema of each codec.
        leaves: The schemas of each codec's leaves.
        components: What they refer to, by name.
    """

    whole: list[dict[str, Any]]
    leaves: list[list[dict[str, Any]]]
    components: dict[str, Any]


def schemas_for(codecs: Sequence[Codec]) -> Schemas:
    """Write the schemas of *codecs*; the same types always give the same names, in the same order."""
    leaves = [leaf for codec in codecs for leaf in codec.leaves]
    made, components = by_msgspec([declared for engine, declared in leaves if engine == "msgspec"])
    others = [declared for engine, declared in leaves if engine == "pydantic"]
    models: list[dict[str, Any]] = []
    if others:
        from agentserver._typed.pydantic_codec import schemas_of as by_pydantic

        models, more = by_pydantic(others)
        models = _joined(components, models, more)
    by_engine = {"msgspec": iter(made), "pydantic": iter(models)}
    of_codecs = [[_plain(next(by_engine[engine])) for engine, _ in codec.leaves] for codec in codecs]
    whole = [codec.schema(iter(schemas)) for codec, schemas in zip(codecs, of_codecs, strict=True)]
    return Schemas(whole, of_codecs, {name: _plain(components[name]) for name in sorted(components)})


def _joined(
    components: dict[str, Any], schemas: list[dict[str, Any]], more: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Add *more* to *components*, under other names where one is taken, also in what refers to it."""
    renamed: dict[str, str] = {}
    for name in more:
        new, number = name, 2
        while new in components:
            new, number = f"{name}_{number}", number + 1
        renamed[_REFERENCE + name] = _REFERENCE + new
    for name, schema in more.items():
        components[renamed[_REFERENCE + name].removeprefix(_REFERENCE)] = _referring(schema, renamed)
    return [_referring(schema, renamed) for schema in schemas]


def _referring(value: Any, renamed: Mapping[str, str]) -> Any:
    if is_object(value):
        return {key: _referring(item, renamed) for key, item in value.items()}
    if is_array(value):
        return [_referring(item, renamed) for item in value]
    return renamed.get(value, value) if isinstance(value, str) else value


def _plain(schema: Any) -> Any:
    """*schema* as JSON knows it, with descriptions as Python 3.13 and later keep docstrings."""
    return _cleaned(msgspec.to_builtins(schema))


def _cleaned(value: Any, *, is_schema: bool = True) -> Any:
    if is_object(value):
        return {
            key: inspect.cleandoc(item)
            if is_schema and key == "description" and isinstance(item, str)
            else _cleaned(item, is_schema=key != "properties" or not is_schema)
            for key, item in value.items()
        }
    return [_cleaned(item) for item in value] if is_array(value) else value
