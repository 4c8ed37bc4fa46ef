"""``invoke`` against a real server."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from aiohttp import web

from tests.cli.process import clean_environment, cli
from tests.servers import ROOT, free_port


async def test_invoke_sends_words_as_text_and_prints_the_answer(url: str) -> None:
    done = await cli("invoke", "hello there", "--url", url)
    assert (done.code, done.err) == (0, "")
    answer = json.loads(done.out)
    assert (answer["body"], answer["type"]) == ("hello there", "text/plain")


@pytest.mark.parametrize("body", ['{"a": 1}', "[1, 2]"])
async def test_invoke_sends_what_reads_as_json_as_json(url: str, body: str) -> None:
    answer = json.loads((await cli("invoke", body, "--url", url)).out)
    assert (answer["body"], answer["type"]) == (body, "application/json")
    answer = json.loads((await cli("invoke", body, "--text", "--url", url)).out)
    assert (answer["body"], answer["type"]) == (body, "text/plain")


async def test_invoke_sends_standard_input_and_files(url: str, tmp_path: Path) -> None:
    answer = json.loads((await cli("invoke", "-", "--url", url, stdin="from a pipe")).out)
    assert answer["body"] == "from a pipe"
    file = tmp_path / "picture.png"
    file.write_bytes(b"PNG")
    answer = json.loads((await cli("invoke", "--file", str(file), "--type", "image/png", "--url", url)).out)
    assert (answer["body"], answer["type"]) == ("PNG", "image/png")


async def test_invoke_carries_id_session_query_headers_and_token(url: str) -> None:
    arguments = ["--id", "i-1", "--session", "s-1", "--query", "lang=de", "-H", "x-client-mood: sunny"]
    done = await cli("invoke", "hi", *arguments, "--url", url, env={"AGENTSERVER_TOKEN": "t-1"})
    answer = json.loads(done.out)
    assert (answer["invocation"], answer["session"]) == ("i-1", "s-1")
    assert answer["query"] == {"agent_session_id": "s-1", "lang": "de"}
    assert (answer["mood"], answer["token"]) == ("sunny", "Bearer t-1")


async def test_invoke_finds_the_server_by_its_variables(url: str) -> None:
    assert (await cli("invoke", "hi", env={"AGENTSERVER_URL": url})).code == 0
    assert (await cli("invoke", "hi", env={"PORT": url.rpartition(":")[2].strip("/")})).code == 0


async def test_invoke_prints_the_data_of_events_and_the_pieces_of_streams(url: str) -> None:
    assert (await cli("invoke", "events", "--url", url)).out == 'hello\ncount: {"n": 1}\n'
    assert (await cli("invoke", "pieces", "--url", url)).out == "one two"


async def test_invoke_with_json_prints_one_object_or_one_for_each_event(url: str) -> None:
    done = await cli("invoke", '"hello"', "--json", "--id", "i-1", "--url", url)
    answer = json.loads(done.out)
    assert (answer["status"], answer["invocation_id"]) == (200, "i-1")
    assert answer["body"]["type"] == "application/json"
    done = await cli("invoke", "events", "--text", "--json", "--url", url)
    assert [json.loads(line) for line in done.out.splitlines()] == [
        {"event": "message", "id": "", "data": "hello"},
        {"event": "count", "id": "7", "data": {"n": 1}},
    ]


async def test_no_server_ends_with_4_and_says_what_to_do() -> None:
    done = await cli("invoke", "hi", "--url", f"http://127.0.0.1:{free_port()}")
    assert done.code == 4
    assert done.sentence.startswith("No server answers at http://127.0.0.1:")
    assert "agentserver run" in done.sentence


async def test_a_refused_token_ends_with_5_and_says_what_to_do(url: str) -> None:
    done = await cli("invoke", "secret", "--url", url)
    assert done.code == 5
    assert "AGENTSERVER_TOKEN" in done.sentence


async def test_a_token_is_not_sent_unencrypted_to_another_machine() -> None:
    done = await cli("invoke", "hi", "--url", "http://192.0.2.1:8088", env={"AGENTSERVER_TOKEN": "t"})
    assert done.code == 5
    assert "https" in done.sentence


async def test_a_hosted_agent_is_called_at_its_address_with_the_token_and_the_preview_flag() -> None:
    async def answer(request: web.Request) -> web.Response:
        seen = {name: request.headers[name] for name in ("Authorization", "Foundry-Features")}
        return web.json_response({"path": request.path, **seen})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    variables = {
        "AGENTSERVER_TOKEN": "t-1",
        "FOUNDRY_PROJECT_ENDPOINT": f"http://127.0.0.1:{port}/api/projects/project",
    }
    try:
        done = await cli("invoke", "hi", "--agent", "my-agent", env=variables)
    finally:
        await runner.cleanup()
    assert json.loads(done.out) == {
        "path": "/api/projects/project/agents/my-agent/endpoint/protocols/invocations",
        "Authorization": "Bearer t-1",
        "Foundry-Features": "HostedAgents=V1Preview",
    }


async def test_a_hosted_agent_without_a_token_ends_with_5_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "azure").mkdir()
    (tmp_path / "azure" / "__init__.py").write_text("raise ImportError")
    project = "http://127.0.0.1:1/api/projects/project"
    variables = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = await cli("invoke", "hi", "--agent", "my-agent", "--project", project, env=variables)
    assert done.code == 5
    assert "AGENTSERVER_TOKEN" in done.sentence
    assert "pip install 'agentserver-invocations[hosted]'" in done.sentence


async def test_a_stream_that_is_cut_ends_with_7_after_what_came(url: str) -> None:
    done = await cli("invoke", "cut", "--url", url)
    assert (done.code, done.out) == (7, "one ")
    assert "cut before its end" in done.err


async def test_an_answer_that_does_not_come_ends_with_7(url: str) -> None:
    done = await cli("invoke", "hang", "--timeout", "0.3", "--url", url)
    assert done.code == 7
    assert "--timeout" in done.sentence


async def test_a_reader_that_has_read_enough_is_no_error(url: str) -> None:
    process = await asyncio.create_subprocess_shell(
        f"set -o pipefail; {sys.executable} -m agentserver.cli invoke many --url {url} | head -n 1",
        executable="/bin/bash",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean_environment(),
    )
    assert await process.communicate() == (b"a line\n", b"")
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["invoke", "not json", "--json"], "--json needs a body that is JSON"),
        (["invoke", "hi", "--file", "x"], "exclude each other"),
        (["invoke", "--file", "no-such-file"], "no-such-file cannot be read: No such file or directory"),
        (["invoke", "hi", "--url", "ftp://x"], "needs the form http://localhost:8088"),
        (["invoke", "hi", "--id", "a/b"], "invocation_id is 'a/b', but needs"),
        (["get", ".."], "invocation_id is '..', but needs"),
        (["invoke", "hi", "--session", "a b"], "session_id is 'a b', but needs"),
        (["invoke", "hi", "-H", "nothing"], "'nothing' needs the form NAME:VALUE"),
        (["invoke", "hi", "--timeout", "0"], "'0' is no time: give a number of seconds above 0"),
        (["invoke", "hi", "--agent", "a"], "give --project URL, or set FOUNDRY_PROJECT_ENDPOINT"),
        (["invoke", "hi", "--agent", "a", "--project", "https://x"], "needs the form https://ACCOUNT"),
        (["get"], "the following arguments are required: ID"),
    ],
)
async def test_bad_input_ends_with_2_and_one_sentence(arguments: list[str], words: str, url: str) -> None:
    done = await cli(*arguments, env={"AGENTSERVER_URL": url})
    assert done.code == 2
    assert words in done.sentence
