"""The kit as a command: against a process, against a URL, and with arguments that make no sense."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentserver.conformance.__main__ import main
from agentserver.conformance.server import ProcessServer, wait_until_ready

REFERENCE = [sys.executable, "-m", "agentserver.conformance.reference_agent"]
COMMAND = " ".join(REFERENCE)
OTHER_AGENT = """
import os, http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readiness" else 500)
        self.send_header("Content-Length", "0")
        self.end_headers()
    do_POST = do_GET
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def reference() -> Iterator[str]:
    server = ProcessServer(REFERENCE, "http_only", {})
    try:
        wait_until_ready(server)
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()


def test_a_conforming_server_gives_exit_code_0_and_every_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {form: tmp_path / f"report.{form}" for form in ("json", "junit", "html", "record")}
    options = [word for form, path in names.items() for word in (f"--{form}", str(path))]
    assert main(["--command", COMMAND, "--only", "^routes.readiness$", "--label", "ours", *options]) == 0
    assert "conforms: 1 held" in capsys.readouterr().out
    assert json.loads(names["json"].read_text())["identity"].startswith("agentserver")
    assert "routes.readiness" in names["junit"].read_text()
    assert "routes.readiness" in names["html"].read_text()
    record = json.loads(names["record"].read_text())
    assert (record["version"], record["cases"][0]["results"][0]["status"]) == ("ours", 200)


def test_a_running_server_is_judged_as_far_as_one_environment_goes(
    reference: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([reference, "--handler", "http_only", "--only", "^(routes|env)"]) == 0
    printed = capsys.readouterr().out
    assert "needs the handler full; use --command" in printed
    assert "starts or stops the server; use --command" in printed
    assert "0 missed" in printed


def test_another_agent_is_asked_only_what_any_agent_can_answer(capsys: pytest.CaptureFixture[str]) -> None:
    server = ProcessServer([sys.executable, "-c", OTHER_AGENT], "full", {})
    try:
        wait_until_ready(server)
        assert main([f"127.0.0.1:{server.port}", "--only", "^routes"]) == 1
    finally:
        server.stop()
    printed = capsys.readouterr().out
    assert "needs the reference agent; the server runs another one" in printed
    assert "status is 500, expected 404" in printed


def test_a_server_that_cannot_start_in_one_environment_misses_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = f"{sys.executable} -c 'import os,sys; sys.exit(7)'"
    assert main(["--command", command, "--only", "^routes.readiness$"]) == 2
    assert "exit code 7" in capsys.readouterr().err


def test_a_reference_agent_may_say_that_its_library_has_no_such_handler(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = f"{sys.executable} -c 'import sys; sys.exit(64)'"
    assert main(["--command", command, "--only", "^routes.readiness$"]) == 0
    assert "says that its library has no such thing" in capsys.readouterr().out


def test_a_verdict_that_changes_from_run_to_run_is_told_and_is_a_miss(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fickle = tmp_path / "fickle.py"
    fickle.write_text(  # healthy where it is started for the first time
        f"import pathlib\nseen = pathlib.Path({str(tmp_path / 'seen')!r})\n"
        "is_first = not seen.exists()\nseen.touch()\n"
        + OTHER_AGENT.replace("200 if self.path", "200 if is_first and self.path")
    )
    command = f"{sys.executable} {fickle}"
    assert main(["--command", command, "--only", "^routes.readiness$", "--repeat", "2"]) == 1
    assert "unstable: routes.readiness: missed after held: status is 500" in capsys.readouterr().out


def test_a_server_that_is_the_same_in_every_run_is_stable(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--command", COMMAND, "--only", "^routes.(readiness|unknown)", "--repeat", "3"]) == 0
    assert "unstable" not in capsys.readouterr().out


def test_the_list_names_every_requirement(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert "must   routes.readiness" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "give either a URL or --command"),
        (["http://x", "--command", "y"], "give either a URL or --command"),
        (["--command", "no-such-program-here"], "cannot run 'no-such-program-here'"),
        (["https://localhost"], "give http://HOST:PORT"),
        (["http://localhost:99999"], "has a port that is no port"),
        (["localhost:1", "--only", "("], "is no regular expression"),
        (["localhost:1", "--only", "no-such-id"], "--list shows the ids"),
        (["--command", "x", "--jobs", "0"], "at least one server must run"),
        (["--command", "x", "--repeat", "0"], "--repeat is 0, but it must be 1 or more"),
    ],
)
def test_a_wrong_argument_gives_one_sentence_and_exit_code_2(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert printed.out == ""
    assert printed.err.count("\n") == 1
