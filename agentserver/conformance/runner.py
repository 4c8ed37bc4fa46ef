"""Run cases: start a server for each environment they need, or leave out what one server cannot show."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from agentserver.conformance.http_client import exchange
from agentserver.conformance.judge import Outcome, Verdict, judge_all
from agentserver.conformance.observation import Observation, json_body
from agentserver.conformance.requirement import Case, Requirement
from agentserver.conformance.server import Launcher, NotSupportedError, Server, StartError, wait_until_ready
from agentserver.conformance.steps import run_case
from agentserver.wire import INVOCATIONS_ROUTE, READINESS_ROUTE, SERVER_HEADER

Progress = Callable[[str], None]


@dataclass
class Run:
    """What a run observed, and why it left cases out."""

    seen: dict[str, Observation] = field(default_factory=dict[str, Observation])
    left_out: dict[str, str] = field(default_factory=dict[str, str])
    identity: str = ""
    seconds: float = 0.0

    def verdicts(self, requirements: Iterable[Requirement]) -> list[Verdict]:
        """A verdict for each requirement."""
        return judge_all(requirements, self.seen, self.left_out)


def run_launched(
    launcher: Launcher, cases: Iterable[Case], *, jobs: int = 1, progress: Progress | None = None
) -> Run:
    """Run *cases*, each on a server of the environment it needs.

    Args:
        launcher: Starts the servers.
        cases: What to run.
        jobs: How many servers may run at the same time; each runs one case at a time.
        progress: Told each environment as it begins.

    Raises:
        StartError: If no server becomes ready at all. One that fails in some environments is a miss there.
    """
    begun = time.monotonic()
    groups: dict[tuple[object, ...], list[Case]] = {}
    for case in cases:
        groups.setdefault(case.environment, []).append(case)
    run = Run()

    def one(members: list[Case]) -> str | None:
        if progress:
            progress(_describe(members[0]))
        try:
            run.seen.update(_run_group(launcher, members, run))
        except NotSupportedError as error:
            run.left_out.update({case.id: f"{_describe(case)}: {error}" for case in members})
        except StartError as error:
            run.seen.update(
                {case.id: Observation(case.id, [{"error": str(error)}], [], "") for case in members}
            )
            return str(error)
        return None

    with ThreadPoolExecutor(max_workers=jobs) as pool:
        failures = list(pool.map(one, groups.values()))
    if failures and all(failures):
        raise StartError(str(failures[0]))
    run.seconds = time.monotonic() - begun
    return run


def _run_group(launcher: Launcher, members: list[Case], run: Run) -> dict[str, Observation]:
    server = launcher.launch(members[0].handler, members[0].env)
    try:
        if members[0].starts:
            wait_until_ready(server)
            run.identity = run.identity or server_identity(server)
        return {case.id: run_case(server, case) for case in members}
    finally:
        server.stop()


def run_against(server: Server, cases: Iterable[Case], *, handler: str = "full") -> Run:
    """Run those *cases* that a server which runs already can show.

    Args:
        server: The running server.
        cases: What to run.
        handler: The shape that its reference agent has; where it is another agent, few cases remain.

    Raises:
        StartError: If nothing answers there.
    """
    begun = time.monotonic()
    wait_until_ready(server, 5)
    reference = is_reference_agent(server)
    run = Run(identity=server_identity(server))
    for case in cases:
        reason = _why_not(case, handler, reference=reference)
        if reason:
            run.left_out[case.id] = reason
        else:
            run.seen[case.id] = run_case(server, case)
    run.seconds = time.monotonic() - begun
    return run


def _why_not(case: Case, handler: str, *, reference: bool) -> str:
    if case.fresh or not case.starts:
        return "starts or stops the server; use --command"
    if case.env:
        return f"needs {', '.join(f'{name}={value}' for name, value in case.env.items())}; use --command"
    if case.any_agent:
        return ""
    if not reference:
        return "needs the reference agent; the server runs another one"
    return "" if case.handler == handler else f"needs the handler {case.handler}; use --command"


def is_reference_agent(server: Server) -> bool:
    """Whether the server answers the reference agent's ``context`` operation."""
    step = {"method": "POST", "path": INVOCATIONS_ROUTE, "json": {"op": "context"}}
    body = json_body(exchange(server.host, server.port, step))
    return isinstance(body, dict) and "query" in body and "client_headers" in body


def server_identity(server: Server) -> str:
    """What the server calls itself in ``x-platform-server``."""
    answer = exchange(server.host, server.port, {"method": "GET", "path": READINESS_ROUTE})
    return str(answer.get("headers", {}).get(SERVER_HEADER, ""))


def _describe(case: Case) -> str:
    settings = "".join(f" {name}={value}" for name, value in case.env.items())
    return f"{case.handler}{settings}"


def passed(verdicts: Iterable[Verdict]) -> bool:
    """Whether no *must* was missed."""
    return not any(verdict.fatal for verdict in verdicts)


def counts(verdicts: Iterable[Verdict]) -> Mapping[Outcome, int]:
    """How many requirements had each outcome."""
    totals = dict.fromkeys(Outcome, 0)
    for verdict in verdicts:
        totals[verdict.outcome] += 1
    return totals
