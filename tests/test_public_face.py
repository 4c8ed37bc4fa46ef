"""The public names: complete, loaded on first use, and few."""

from __future__ import annotations

import importlib

import pytest

import agentserver


def test_every_public_name_can_be_imported_and_there_are_at_most_28() -> None:
    assert len(agentserver.__all__) <= 28
    for name in agentserver.__all__:
        assert getattr(agentserver, name) is not None
    assert dir(agentserver) == sorted(agentserver.__all__)


def test_every_public_name_lives_where_the_table_says() -> None:
    assert set(agentserver._HOMES) | {"__version__"} == set(agentserver.__all__)
    for name, home in agentserver._HOMES.items():
        assert getattr(importlib.import_module(home), name) is getattr(agentserver, name)


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="'nothing_here'"):
        agentserver.nothing_here  # noqa: B018 - the access is what is tested
