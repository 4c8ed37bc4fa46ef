"""Tokens that are renewed before they end, and credentials that give none."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import types
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentserver.client import CredentialError, InvocationsClient, RefusedError, Retry, Timeouts, Token
from agentserver.client.credentials import Credential

PROJECT = "https://acct.services.ai.azure.com/api/projects/proj"


class Platform:
    """The platform's front door: checks what it gets and answers with the headers it saw."""

    def __init__(self, refuse: str | None = None) -> None:
        self.refuse = refuse
        self.tokens: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.tokens.append(token)
        assert request.headers["Foundry-Features"] == "HostedAgents=V1Preview"
        if token == self.refuse:
            return web.Response(status=401)
        if request.path.endswith("_ws"):
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_json(dict(request.query))
            await socket.close(code=1012)
            return socket
        return web.json_response({"path": request.path, "query": dict(request.query)})


Serve = Callable[[Platform], Awaitable[str]]


@pytest.fixture
def serve(aiohttp_server: Callable[[web.Application], Awaitable[TestServer]]) -> Serve:
    async def start(platform: Platform) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", platform.answer)
        return str((await aiohttp_server(app)).make_url("/api/projects/proj"))

    return start


class Tokens:
    """Hands out tokens that last as long as told; counts."""

    def __init__(self, *seconds: float) -> None:
        self.seconds = list(seconds)
        self.scopes: list[str] = []

    def give(self) -> Token:
        return Token(f"t{len(self.seconds)}", time.time() + self.seconds.pop())

    def get_token(self, *scopes: str) -> Token:
        self.scopes.extend(scopes)
        return self.give()


async def test_a_token_is_asked_for_once_and_renewed_before_it_ends(serve: Serve) -> None:
    platform, tokens = Platform(), Tokens(3600, 299)
    async with InvocationsClient.hosted(await serve(platform), "a", credential=tokens.give) as client:
        for _ in range(3):
            await client.invoke("x")
    assert platform.tokens == ["t2", "t1", "t1"]


async def test_a_credential_of_azure_identity_is_asked_for_the_contracts_scope(serve: Serve) -> None:
    platform, tokens = Platform(), Tokens(3600)
    async with InvocationsClient.hosted(await serve(platform), "a", credential=tokens) as client:
        answer = await client.session("s-1").invoke("x")
    assert tokens.scopes == ["https://ai.azure.com/.default"]
    assert answer.json() == {
        "path": "/api/projects/proj/agents/a/endpoint/protocols/invocations",
        "query": {"api-version": "v1", "agent_session_id": "s-1"},
    }


async def test_a_callable_that_returns_a_string_is_asked_every_time(serve: Serve) -> None:
    platform = Platform()
    given = iter(["one", "two"])

    async def token() -> str:
        return next(given)

    async with InvocationsClient.hosted(await serve(platform), "a", credential=token) as client:
        await client.invoke("x")
        await client.invoke("x")
    assert platform.tokens == ["one", "two"]


async def test_a_websocket_carries_token_flag_project_agent_and_session(serve: Serve) -> None:
    platform = Platform()
    async with InvocationsClient.hosted(
        await serve(platform), "a", credential=lambda: "t", session_id="s-1"
    ) as client:
        async with client.connect() as connection:
            query = await connection.receive_json()
    assert query == {"project_name": "proj", "agent_name": "a", "agent_session_id": "s-1"}
    assert platform.tokens == ["t"]


async def test_a_refused_token_is_its_own_error_and_the_next_call_asks_for_a_new_one(serve: Serve) -> None:
    platform, tokens = Platform(refuse="t2"), Tokens(3600, 3600)
    async with InvocationsClient.hosted(await serve(platform), "a", credential=tokens) as client:
        with pytest.raises(RefusedError):
            await client.invoke("x")
        await client.invoke("x")
    assert platform.tokens == ["t2", "t1"]


async def test_a_resumed_websocket_gets_a_new_token_when_the_old_one_is_refused(serve: Serve) -> None:
    platform, tokens = Platform(), Tokens(3600, 3600)
    async with InvocationsClient.hosted(
        await serve(platform), "a", credential=tokens, session_id="s-1"
    ) as client:
        async with client.connect(reconnect=Retry(first_delay=0)) as connection:
            await connection.receive_json(5)
            platform.refuse = "t2"
            query = await connection.receive_json(5)
    assert query["agent_session_id"] == "s-1"
    assert platform.tokens == ["t2", "t2", "t1"]


async def test_a_credential_that_blocks_does_not_block_the_loop(serve: Serve) -> None:
    proceed = threading.Event()

    def blocking() -> str:
        assert proceed.wait(10)
        return "t"

    async with InvocationsClient.hosted(await serve(Platform()), "a", credential=blocking) as client:
        call = asyncio.create_task(client.invoke("x"))
        await asyncio.sleep(0)
        proceed.set()
        assert (await call).status == 200


async def test_a_credential_that_never_answers_is_given_up(serve: Serve) -> None:
    async def never() -> str:
        await asyncio.Event().wait()
        return ""

    timeouts = Timeouts(token=0.05)
    async with InvocationsClient.hosted(
        await serve(Platform()), "a", credential=never, timeouts=timeouts
    ) as client:
        with pytest.raises(CredentialError, match=r"gave no token within 0\.05 s"):
            await client.invoke("x")
        with pytest.raises(CredentialError):
            async with client.connect():
                pass


def _raise() -> str:
    raise OSError("no login")


@pytest.mark.parametrize(
    ("credential", "says"),
    [
        (_raise, "gave no token: OSError: no login"),
        (lambda: "", "gave a str"),
        (lambda: 7, "gave a int"),
    ],
)
async def test_a_credential_that_gives_no_token_says_so(
    serve: Serve, credential: Credential, says: str
) -> None:
    platform = Platform()
    async with InvocationsClient.hosted(await serve(platform), "a", credential=credential) as client:
        with pytest.raises(CredentialError, match=says):
            await client.invoke("x")
    assert platform.tokens == []


@pytest.mark.parametrize("hosted", [True, False])
async def test_a_token_never_leaves_the_machine_unencrypted(hosted: bool) -> None:
    address = "http://agents.example/api/projects/p"
    client = (
        InvocationsClient.hosted(address, "a", credential=lambda: "secret")
        if hosted
        else InvocationsClient(address, credential=lambda: "secret")
    )
    async with client:
        with pytest.raises(CredentialError, match="unencrypted: use an https address"):
            await client.invoke("x")


async def test_without_a_credential_and_azure_identity_one_sentence_says_what_to_do(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity.aio", None)
    async with InvocationsClient.hosted(await serve(Platform()), "a") as client:
        with pytest.raises(CredentialError, match=r"pip install 'agentserver-invocations\[hosted\]'"):
            await client.invoke("x")


async def test_the_default_credential_is_azure_identitys_and_is_closed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []

    class Default(Tokens):
        def __init__(self) -> None:
            super().__init__(3600)

        async def close(self) -> None:
            closed.append(True)

    identity = types.ModuleType("azure.identity.aio")
    identity.DefaultAzureCredential = Default  # type: ignore[attr-defined]  # a module made for this test
    monkeypatch.setitem(sys.modules, "azure.identity.aio", identity)
    platform = Platform()
    async with InvocationsClient.hosted(await serve(platform), "a") as client:
        await client.invoke("x")
    assert platform.tokens == ["t1"]
    assert closed == [True]


async def test_a_default_credential_that_fails_says_in_one_line_what_to_do(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        async def get_token(self, *scopes: str) -> Token:
            raise RuntimeError("DefaultAzureCredential failed.\nAttempted:\n\tthis\n\tthat")

        async def close(self) -> None:
            pass

    identity = types.ModuleType("azure.identity.aio")
    identity.DefaultAzureCredential = Failing  # type: ignore[attr-defined]  # a module made for this test
    monkeypatch.setitem(sys.modules, "azure.identity.aio", identity)
    async with InvocationsClient.hosted(await serve(Platform()), "a") as client:
        with pytest.raises(CredentialError) as caught:
            await client.invoke("x")
    assert str(caught.value) == (
        "The credential gave no token: RuntimeError: DefaultAzureCredential failed:"
        " sign in with 'az login', or give credential="
    )


def test_a_token_does_not_show_itself() -> None:
    assert "secret" not in repr(Token("secret", 1.0))


@pytest.mark.parametrize("token", ["line\nbreak", "token\n", "t\xf6ken", "a\0b"])
async def test_a_token_that_no_header_can_have_is_a_credential_error(token: str) -> None:
    for credential in (lambda: token, lambda: Token(token, time.time() + 3600)):
        async with InvocationsClient(credential=credential) as client:
            with pytest.raises(CredentialError, match="a character that no header can have"):
                await client.invoke("x")
