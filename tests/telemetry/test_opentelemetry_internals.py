"""Names of OpenTelemetry that begin with an underscore are used in one module, which says what they do."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider

from agentserver._telemetry.opentelemetry_internals import EndingProcessor, log_exporter, notify_ending
from tests.servers import ROOT

PACKAGE = ROOT / "agentserver"
# Parts of the names of loggers, not of modules that are imported.
LOGGERS = {"_shared_internal", "_internal"}
BORDER = PACKAGE / "_telemetry" / "opentelemetry_internals.py"


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_imports(tree: ast.AST) -> Iterator[str]:
    """The private names that *tree* imports from OpenTelemetry."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("opentelemetry"):
            parts = [*(node.module or "").split("."), *(name.name for name in node.names)]
            yield from (part for part in parts if is_private(part))
        elif isinstance(node, ast.Import):
            for name in node.names:
                if name.name.startswith("opentelemetry"):
                    yield from (part for part in name.name.split(".") if is_private(part))
        elif isinstance(node, ast.Constant) and str(node.value).startswith("opentelemetry."):
            yield from (part for part in str(node.value).split(".") if is_private(part))


def private_attributes(tree: ast.AST) -> Iterator[str]:
    """The private attributes that *tree* uses of anything but ``self`` and ``cls``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr != "_replace":
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if owner not in {"self", "cls"}:
                yield node.attr


def imports_opentelemetry(tree: ast.AST) -> bool:
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules += [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    return any(module.startswith("opentelemetry") for module in modules)


@pytest.mark.parametrize(
    "path", sorted(set(PACKAGE.rglob("*.py")) - {BORDER}), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_private_names_of_opentelemetry_are_used_in_one_module_only(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert set(private_imports(tree)) <= (LOGGERS if path.name == "exporters.py" else set())
    if "_telemetry" in path.parts and imports_opentelemetry(tree):
        assert not list(private_attributes(tree))


@pytest.mark.parametrize(
    "package", ["opentelemetry.exporter.otlp.proto.http", "opentelemetry.exporter.otlp.proto.grpc"]
)
def test_both_exporters_have_a_class_for_log_records(package: str) -> None:
    assert callable(log_exporter(package).export)


@pytest.mark.skipif(not hasattr(SpanProcessor, "_on_ending"), reason="this SDK does not know the call yet")
def test_the_sdk_tells_a_processor_of_a_span_that_is_ending_before_it_has_ended() -> None:
    told: list[str] = []

    class Told(EndingProcessor):
        def on_ending(self, span: Span) -> None:
            told.append(f"{span.name} ending")

        def on_end(self, span: ReadableSpan) -> None:
            told.append(f"{span.name} ended")

    class Passing(EndingProcessor):
        def on_ending(self, span: Span) -> None:
            notify_ending(next_one, span)

        def on_end(self, span: ReadableSpan) -> None:
            next_one.on_end(span)

    next_one = Told()

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Passing())
    provider.get_tracer("test").start_span("work").end()
    assert told == ["work ending", "work ended"]
