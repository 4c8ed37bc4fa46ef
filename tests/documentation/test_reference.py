"""The reference has every public name once, and its tables have everything that the code has."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import fields

import pytest

from agentserver import AgentHostOptions, wire
from documentation.docstrings import arguments, assigned
from documentation.error_codes import further_codes
from documentation.names import MODULES, documented, public_names
from documentation.tables import TABLES
from tests.servers import ROOT

PAGES = {path: path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md")}


def asked(directive: str) -> Counter[str]:
    opening = re.compile("^```{" + directive + r"} (\S+)$", re.MULTILINE)
    return Counter(name for page in PAGES.values() for name in opening.findall(page))


def test_the_reference_asks_for_every_module_and_every_table_once() -> None:
    assert asked("names-of") == Counter(MODULES)
    assert asked("table-of") == Counter([*TABLES])


def test_every_public_name_is_in_the_reference_once() -> None:
    text = "".join(documented(module) for module in MODULES)
    directives = Counter(re.findall(r"^\.\. auto\w+:: (\S+)$", text, re.MULTILINE))
    wanted = {f"{module}.{name}" for module, names in public_names().items() for name in names}
    assert directives == Counter(wanted)
    homes = Counter(name for names in public_names().values() for name in names)
    assert {name for name, count in homes.items() if count > 1} == set()


def rows(table: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in TABLES[table]().splitlines()[2:]]


@pytest.mark.parametrize("table", TABLES)
def test_no_cell_of_a_table_is_empty_and_no_row_is_there_twice(table: str) -> None:
    found = rows(table)
    assert len({row[0] for row in found}) == len(found) > 3
    assert all(cell.strip() for row in found for cell in row)


def test_the_tables_have_every_option_variable_and_code() -> None:
    assert [row[0] for row in rows("host-options")] == [f"`{f.name}`" for f in fields(AgentHostOptions)]
    assert {row[0] for row in rows("variables")} == {
        f"`{value}`" for name, value in vars(wire).items() if name.endswith("_VARIABLE")
    }
    assert [row[0] for row in rows("error-codes")] == [f"`{code.value}`" for code in wire.ErrorCode]
    assert [row[0] for row in rows("close-codes")] == [f"`{code.value}`" for code in wire.CloseCode]


def test_the_codes_of_one_part_are_found_where_they_are_written() -> None:
    found = {use.code: use for use in further_codes()}
    assert not {*found} & {code.value for code in wire.ErrorCode}
    assert (found["session_busy"].status, found["session_busy"].meaning) == (
        "409",
        "The session has a run in progress",
    )
    assert found["refused"].status == "400"
    assert found["waiting_for_human"].status == "409"
    assert {"request_timeout", "too_many_pending", "too_many_recoveries", "version_mismatch"} <= {*found}


def test_a_variable_says_what_it_must_be_in_the_words_of_its_error() -> None:
    expected = {row[0]: row[2] for row in rows("variables")}
    assert expected["`PORT`"] == "a whole number from 1 to 65535"
    assert expected["`FOUNDRY_AGENT_NAME`"] == "any text"


def test_what_a_docstring_says_of_arguments_and_of_members_is_read_as_one_line() -> None:
    class Documented:
        """Of use to this test.

        Args:
            first: The one,
                on two lines.
            second: The other.

        Raises:
            ValueError: Never.
        """

    assert arguments(Documented) == {"first": "The one, on two lines.", "second": "The other."}
    assert assigned(wire.CloseCode)["GOING_AWAY"] == "The server ends."
