"""Who is let in: the page that was opened from the printed address, and nobody else."""

from __future__ import annotations

import json
import re
from pathlib import Path

from agentserver.inspector.guard import SECURITY_HEADERS
from tests.cli.process import cli
from tests.inspector.inspected import Inspected, inspected
from tests.servers import exchange_raw

Lines = list[str]


def asks(dev: Inspected) -> tuple[list[Lines], list[Lines]]:
    """Heads of requests that are answered, and of those that are not; ``@`` stands for host and port."""
    host, token, json_type = "Host: @", f"x-inspector-token: {dev.token}", "content-type: application/json"
    wrong_token = f"x-inspector-token: {'A' * len(dev.token)}"
    events = "GET /api/environment"
    clear = "POST /api/clear"
    allowed = [
        ["GET /", host],
        ["GET /app.js", f"Host: localhost:{dev.port}", "sec-fetch-site: same-origin"],
        ["GET /", f"Host: [::1]:{dev.port}", "sec-fetch-site: none"],
        [events, host, token],
        [events, host, token, "Origin: http://@", "sec-fetch-site: same-origin"],
        [clear, host, token, json_type],
        [clear, host, token, json_type, "Origin: http://@"],
    ]
    refused = [
        ["GET /"],
        ["GET /", "Host: 127.0.0.1"],
        ["GET /", f"Host: evil.test:{dev.port}"],
        ["GET /", "Host: 127.0.0.1:1"],
        ["GET /", f"Host: 127.0.0.1.evil.test:{dev.port}"],
        ["GET /", f"Host: 0.0.0.0:{dev.port}"],
        ["GET /", host, host],
        ["GET /", host, "Host: evil.test"],
        ["GET /app.js", host, "sec-fetch-site: cross-site"],
        ["GET /app.js", host, "sec-fetch-site: same-site"],
        ["GET /", host, "Origin: null"],
        ["GET /", host, "Origin: http://evil.test"],
        ["GET /", host, "Origin: https://@"],
        ["GET /", host, "Origin: http://127.0.0.1:1"],
        ["GET /", host, f"Origin: http://localhost:{dev.port}"],
        ["GET /", host, "Origin: http://@", "Origin: http://evil.test"],
        [events, host],
        [events, host, wrong_token],
        [events, host, "x-inspector-token:"],
        [events, host, token, token],
        [events, host, wrong_token, token],
        [f"{events}?token={dev.token}", host],
        [f"{events}?x-inspector-token={dev.token}", host],
        [events, host, f"Cookie: x-inspector-token={dev.token}"],
        [events, host, f"Authorization: Bearer {dev.token}"],
        [events, host, token, "Origin: null"],
        [events, host, token, "sec-fetch-site: cross-site"],
        [events, f"Host: evil.test:{dev.port}", token],
        [clear, host, token],
        [clear, host, token, "content-type: text/plain"],
        [clear, host, token, "content-type: application/x-www-form-urlencoded"],
        [clear, host, token, json_type, "Origin: http://evil.test"],
        [clear, host, json_type],
        ["OPTIONS /api/clear", host, "Origin: http://evil.test", "access-control-request-method: POST"],
        ["PUT /api/clear", host, token, json_type],
        ["DELETE /api/clear", host, token],
        ["POST /", host, token, json_type],
        ["GET /api/events", host, token, "Upgrade: websocket", "Connection: Upgrade"],
        ["GET /", host, "Upgrade: websocket", "Connection: Upgrade", "Origin: http://@"],
    ]
    return allowed, refused


async def test_only_requests_of_its_own_page_with_the_token_are_answered() -> None:
    async with inspected() as dev:
        allowed, refused = asks(dev)
        for expected, heads in ((True, allowed), (False, refused)):
            for head in heads:
                first, *lines = [line.replace("@", f"127.0.0.1:{dev.port}") for line in head]
                body = "{}" if first.startswith("POST") else ""
                lines += ["Connection: close"] if "Upgrade" not in str(lines) else []
                request = "\r\n".join([f"{first} HTTP/1.1", *lines, f"Content-Length: {len(body)}", "", body])
                answer = (await exchange_raw(dev.port, request.encode())).decode()
                status = int(answer.split(" ", 2)[1])
                assert (status == 200) is expected, (head, answer)
                assert dev.token not in answer
                assert "access-control" not in answer.lower()
                assert "set-cookie" not in answer.lower()
                if status == 200:
                    missing = [name for name in SECURITY_HEADERS if name not in answer.lower()]
                    assert not missing, head
        # The token stands in the one line that gives the address, and in no log.
        await dev.invoke("hello")
        assert dev.token not in json.dumps(await dev.known())
    assert sum(dev.token in line for line in dev.said) == 1


async def test_the_token_has_256_bits_and_is_another_one_at_each_start() -> None:
    async with inspected() as dev:
        first = dev.token
        assert re.fullmatch(r"[\w-]{43}", first)
    async with inspected() as dev:
        assert dev.token != first


async def test_it_listens_on_loopback_alone() -> None:
    async with inspected("--host", "0.0.0.0") as dev:
        assert dev.origin.startswith("http://127.0.0.1:")
        bound = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]  # noqa: ASYNC240 - a file of the kernel's
        ours = [address for address in bound if address.endswith(f":{dev.port:04X}")]
        assert set(ours) == {f"0100007F:{dev.port:04X}"}


async def test_values_of_variables_are_shown_of_those_alone_that_are_no_secret(tmp_path: Path) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text(Path(__file__).with_name("agent.py").read_text())
    (tmp_path / ".env").write_text("DEVELOPED_SECRET=hush-hush\n")
    connection = "InstrumentationKey=00000000-0000-0000-0000-000000000000;hush"
    variables = {
        "FOUNDRY_PROJECT_ENDPOINT": "https://endpoint.test",
        "FOUNDRY_AGENT_NAME": "chat",
        "OTHER": "hush",
    }
    async with inspected(agent=agent, environment={**variables, "AGENTSERVER_TOKEN": connection}) as dev:
        assert await dev.invoke("secret now") == b"h"
        found = await dev.get("/api/environment")
        listed = {variable["name"]: variable for variable in found["variables"]}
        assert "hush" not in json.dumps([found, await dev.known()])
        assert "endpoint.test" not in json.dumps(found)
    assert found["readiness"]["status"] == 200
    assert listed["DEVELOPED_SECRET"] == {
        "name": "DEVELOPED_SECRET",
        "set": True,
        "source": ".env",
        "value": None,
    }
    assert listed["FOUNDRY_AGENT_NAME"]["value"] == "chat"
    assert listed["AGENTSERVER_TOKEN"]["set"]
    assert "OTHER" not in listed
    assert not listed["FOUNDRY_AGENT_ID"]["set"]


async def test_it_does_not_start_hosted(tmp_path: Path) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text("")
    outcome = await cli("dev", str(agent), env={"FOUNDRY_HOSTING_ENVIRONMENT": "production"})
    assert outcome.code == 2
    assert "FOUNDRY_HOSTING_ENVIRONMENT is set: unset it, or give --no-inspector" in outcome.sentence


async def test_a_port_that_is_taken_is_named() -> None:
    async with inspected() as dev:
        outcome = await cli("dev", str(Path(__file__).with_name("agent.py")), f"--inspector-port={dev.port}")
        assert (outcome.code, outcome.out) == (1, "")
        assert f"port {dev.port} is taken" in outcome.err
        assert "--inspector-port" in outcome.err
