"""The command line of the kit: ``python -m agentserver.conformance --command '...'`` or ``... URL``."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urlsplit

from agentserver.conformance.judge import Outcome
from agentserver.conformance.reports import Report, html_page, junit_xml, table
from agentserver.conformance.requirement import Case, Requirement, load_cases, load_requirements
from agentserver.conformance.runner import Run, run_against, run_launched
from agentserver.conformance.server import ProcessLauncher, RunningServer, StartError

EXIT_CONFORMS, EXIT_MISSED, EXIT_USAGE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Judge a server and write the reports.

    Args:
        argv: The arguments after the program's name; ``None`` for those of the process.

    Returns:
        0 when no *must* is missed, 1 when one is, 2 when the server could not be judged.

    Raises:
        SystemExit: If the arguments cannot be understood, or after ``--help``.
    """
    options = _parser().parse_args(argv)
    try:
        requirements, cases = _selected(options.only)
        if options.list:
            print("\n".join(f"{r.level.value:<6} {r.id:<36} {r.sentence}" for r in requirements))
            return EXIT_CONFORMS
        judged = _judge(options, cases)
        report = _report(options, judged, requirements)
        _write(options, report, judged)
        unstable = _unstable(options, requirements, cases, report)
    except (StartError, _UsageError, OSError) as error:
        print(f"agentserver conformance: {error}", file=sys.stderr)
        return EXIT_USAGE
    print(table(report, verbose=options.verbose), end="")
    print("".join(f"{line}\n" for line in unstable), end="")
    return EXIT_CONFORMS if report.passed and not unstable else EXIT_MISSED


def _report(options: argparse.Namespace, judged: Run, requirements: Sequence[Requirement]) -> Report:
    verdicts = tuple(judged.verdicts(requirements))
    return Report(options.url or options.command, judged.identity, verdicts, judged.seconds)


def _unstable(
    options: argparse.Namespace, requirements: Sequence[Requirement], cases: list[Case], first: Report
) -> list[str]:
    """Judge again as often as ``--repeat`` says; a sentence for each verdict that was not always the same."""
    outcomes = {verdict.requirement.id: [verdict] for verdict in first.verdicts}
    for number in range(2, options.repeat + 1):
        again = _report(options, _judge(options, cases), requirements)
        print(f"{number} of {options.repeat}: {again.summary}", file=sys.stderr)
        for verdict in again.verdicts:
            outcomes[verdict.requirement.id].append(verdict)
            if verdict.outcome is Outcome.MISSED:
                print(f"  {verdict.requirement.id}: {verdict.reason}", file=sys.stderr)
    return [
        f"unstable: {name}: {other.outcome.value} after {verdicts[0].outcome.value}: "
        f"{other.reason or verdicts[0].reason}"
        for name, verdicts in outcomes.items()
        for other in verdicts[1:]
        if other.outcome is not verdicts[0].outcome
    ]


class _UsageError(Exception):
    """The arguments do not go together; the message says what to do."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="agentserver conformance",
        description="Judge any server of the invocations and invocations_ws protocols, in any language.",
        epilog="Exit codes: 0 conforms, 1 a must is missed, 2 the server could not be judged.",
    )
    parser.add_argument("url", nargs="?", help="a server that runs already, such as http://localhost:8088")
    parser.add_argument(
        "--command", help="how to start the reference agent; it honours PORT and PARITY_HANDLER"
    )
    parser.add_argument(
        "--handler", default="full", help="the shape of the reference agent at URL (default: full)"
    )
    parser.add_argument("--only", metavar="REGEX", help="only requirements whose id contains a match")
    parser.add_argument(
        "--jobs", type=int, default=2, metavar="N", help="servers at the same time (default: 2)"
    )
    parser.add_argument(
        "--repeat", type=int, default=1, metavar="N", help="judge N times; a verdict that changes is a miss"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write the report as JUnit XML")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the report as one HTML page")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write down everything that came back")
    parser.add_argument("--label", default="", help="name and version of the server, for the recording")
    parser.add_argument("--about", default="", help="what was recorded, and how, for the recording")
    parser.add_argument("--list", action="store_true", help="list the requirements and end")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="show every requirement, not only the misses"
    )
    return parser


def _selected(only: str | None) -> tuple[list[Requirement], list[Case]]:
    try:
        pattern = re.compile(only or "")
    except re.error as error:
        raise _UsageError(f"--only {only!r} is no regular expression: {error}") from error
    requirements = [r for r in load_requirements().values() if pattern.search(r.id)]
    if not requirements:
        raise _UsageError(f"no requirement's id contains a match of {only!r}; --list shows the ids")
    needed = {requirement.case for requirement in requirements}
    return requirements, [case for case in load_cases().values() if case.id in needed]


def _judge(options: argparse.Namespace, cases: list[Case]) -> Run:
    if bool(options.url) == bool(options.command):
        raise _UsageError("give either a URL or --command '...'")
    if options.jobs < 1:
        raise _UsageError(f"--jobs is {options.jobs}, but at least one server must run")
    if options.repeat < 1:
        raise _UsageError(f"--repeat is {options.repeat}, but it must be 1 or more")
    if options.command:
        command = shlex.split(options.command)
        progress = _progress if sys.stderr.isatty() else None
        return run_launched(ProcessLauncher(command), cases, jobs=options.jobs, progress=progress)
    return run_against(_running(options.url), cases, handler=options.handler)


def _running(url: str) -> RunningServer:
    parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
    try:
        port = parts.port or 80
    except ValueError as error:
        raise _UsageError(f"{url!r} has a port that is no port: {error}") from error
    if parts.scheme != "http" or not parts.hostname or parts.path.strip("/"):
        raise _UsageError(f"{url!r} is not a server this kit can ask; give http://HOST:PORT")
    return RunningServer(parts.hostname, port)


def _write(options: argparse.Namespace, report: Report, judged: Run) -> None:
    forms = (
        (options.json, report.to_json),
        (options.junit, lambda: junit_xml(report)),
        (options.html, lambda: html_page(report)),
    )
    for path, text in forms:
        if path is not None:
            path.write_text(text(), encoding="utf-8")
    if options.record is not None:
        document = json.dumps(_recording(options, report, judged), indent=1, ensure_ascii=False)
        options.record.write_text(document + "\n", encoding="utf-8")


def _recording(options: argparse.Namespace, report: Report, judged: Run) -> dict[str, object]:
    cases = [
        judged.seen[case.id].record(raw=case.raw) for case in load_cases().values() if case.id in judged.seen
    ]
    return {
        "version": options.label or report.identity,
        "about": options.about or report.target,
        "recorded": f"{datetime.now(timezone.utc):%Y-%m-%d}",
        "verdicts": {verdict.requirement.id: verdict.outcome.value for verdict in report.verdicts},
        "cases": cases,
    }


def _progress(text: str) -> None:
    print(f"  {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
