"""``run`` as a real process: targets, options, and what is said when it cannot serve."""

from __future__ import annotations

import signal
from pathlib import Path

import aiohttp
import pytest

from tests.cli.process import cli
from tests.servers import ROOT, free_port, running

AGENT = """
from agentserver import InvocationHandler

class Echo(InvocationHandler):
    async def handle(self, request, context):
        return "You said: " + await request.text()
"""
HANDLERS = {
    "two.py": AGENT + "\nclass Other(Echo):\n    pass\n",
    "none.py": "x = 1\n",
    "empty.py": AGENT.replace("handle(", "handel("),
    "broken.py": "def f(:\n",
    "missing.py": "import no_such_library\n",
    "raising.py": "def load():\n    raise ValueError('no key')\n\nload()\n",
    "notes.txt": "no Python\n",
    "both.py": AGENT.replace("(InvocationHandler)", "(InvocationHandler, durable=True)").replace("Echo", "A"),
    "leaving.py": "import sys\nsys.exit('I leave')\n",
    "sync.py": AGENT.replace("async def", "def").replace("await request.text()", "'x'"),
    "program.py": AGENT
    + """
from dataclasses import dataclass

from agentserver import InvocationsServer

@dataclass
class Greeting:
    words: str

class Greeter(Echo):
    def __init__(self, greeting: Greeting) -> None:
        self.greeting = greeting

    async def handle(self, request, context):
        return self.greeting.words + await request.text()

def configure(builder):
    builder.services.add_singleton(Greeting, Greeting("Hello, "))
    builder.configure(port=1)

if __name__ == "__main__":
    InvocationsServer.run(Greeter, configure=configure)
""",
    "failing.py": "if __name__ == '__main__':\n    raise ValueError('no key')\n",
    "built.py": AGENT
    + "\nfrom agentserver import AgentHost\nbuilder = AgentHost.create_builder().add_invocations(Echo)\n"
    "host = AgentHost.create_builder().add_invocations(Echo).build()\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in {"agent.py": AGENT, **HANDLERS}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    "target", ["agent.py", "agent.py:Echo", "two.py:Echo", "built.py:host", "built.py:builder"]
)
async def test_run_serves_a_target_until_it_is_told_to_stop(target: str, project: Path) -> None:
    async with running("-m", "agentserver.cli", "run", str(project / target)) as server:
        assert await said(server.url) == "You said: hi"
        server.terminate(signal.SIGTERM)
        assert await server.exit_code() == 0
    assert "Traceback" not in "".join(server.log)


async def test_run_finds_a_module_in_the_working_directory(project: Path) -> None:
    port = free_port()
    async with running(
        "-m", "agentserver.cli", "run", "agent:Echo", "--port", str(port), port=port, cwd=project
    ) as server:
        assert await said(server.url) == "You said: hi"


async def test_options_go_before_their_variables(project: Path) -> None:
    variables = {"AGENTSERVER_LOG_FORMAT": "text", "PORT": "1"}
    port = free_port()
    options = ["--port", str(port), "--host", "127.0.0.1", "--log-format", "json", "--log-level", "debug"]
    target = str(project / "agent.py")
    async with running(
        "-m", "agentserver.cli", "run", target, *options, port=port, environment=variables
    ) as server:
        assert await said(server.url) == "You said: hi"
    assert all(line.startswith("{") for line in server.log)


async def test_a_file_that_serves_by_itself_runs_as_the_program_that_it_is(project: Path) -> None:
    port = free_port()
    options = ["--port", str(port), "--host", "127.0.0.1"]  # before the code's own, which may not listen on 1
    async with running(
        "-m", "agentserver.cli", "run", str(project / "program.py"), *options, port=port
    ) as server:
        assert await said(server.url) == "Hello, hi"
        assert await server.stop() == 0


async def test_a_program_with_an_application_of_its_own_gets_the_port(project: Path) -> None:
    port = free_port()
    sample = ROOT / "samples" / "07_self_hosted" / "main.py"
    options = ["--port", str(port)]
    async with running("-m", "agentserver.cli", "run", str(sample), *options, port=port) as server:
        assert await said(f"{server.url}/v1") == "You said: hi"


async def said(url: str) -> str:
    async with aiohttp.ClientSession() as client, client.post(f"{url}/invocations", data="hi") as answer:
        return await answer.text()


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("no_such_file.py", "There is no file 'no_such_file.py' in "),
        ("no_such_module:Echo", "There is no module 'no_such_module'"),
        ("not a module", "'not a module' is no module: give module:Handler or file.py"),
        ("agent:Nothing", "agent:Nothing: there is no 'Nothing' in agent; it has Echo"),
        ("two.py", "two.py has more than one handler: say which, such as two.py:Echo"),
        ("none.py", "none.py has no handler class: derive one from InvocationHandler"),
        ("empty.py", "empty.py has no handler class: Echo lacks handle"),
        ("broken.py", "broken.py cannot be imported: SyntaxError: invalid syntax (broken.py, line 1)"),
        ("missing", "missing cannot be imported: ModuleNotFoundError: No module named 'no_such_library'"),
        ("raising.py", "raising.py cannot be imported: ValueError: no key (raising.py, line 2)"),
        ("notes.txt", "notes.txt is no Python file: give module:Handler or file.py"),
        ("both.py", "both.py cannot be imported: A is durable and has handle of its own"),
        ("failing.py", "failing.py cannot be run: ValueError: no key (failing.py, line 2)"),
        ("leaving.py", "leaving.py ends the process (I leave) while it is imported"),
    ],
)
async def test_a_wrong_target_ends_with_3_and_one_sentence(target: str, words: str, project: Path) -> None:
    done = await cli("run", target, cwd=project)
    assert done.code == 3
    assert done.sentence.startswith(words)


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "words"),
    [
        (["sync.py"], {}, 1, "Echo.handle is not async: write 'async def handle("),
        (["none.py:x"], {}, 1, "1 is no handler: derive it from InvocationHandler"),
        (["agent.py"], {"PORT": "http"}, 2, "PORT is 'http', but it must be a whole number from 1 to 65535"),
        (["agent.py", "--port", "70000"], {}, 2, "argument --port: '70000' is no port"),
        (["agent.py", "--log-level", "loud"], {}, 2, "argument --log-level: invalid choice: 'LOUD'"),
        ([], {}, 2, "the following arguments are required: TARGET"),
    ],
)
async def test_what_cannot_serve_ends_with_one_sentence(
    arguments: list[str], variables: dict[str, str], code: int, words: str, project: Path
) -> None:
    done = await cli("run", *arguments, env=variables, cwd=project)
    assert done.code == code
    assert done.sentence.removeprefix("agentserver run: error: ").startswith(words)


async def test_a_taken_port_ends_with_1_and_what_to_do(project: Path) -> None:
    async with running("-m", "agentserver.cli", "run", str(project / "agent.py")) as server:
        port = server.url.rpartition(":")[2]
        done = await cli("run", "agent.py", "--port", port, cwd=project)
    assert done.code == 1
    assert done.sentence == f"port {port} is taken: stop the process that listens on it, or set PORT"
