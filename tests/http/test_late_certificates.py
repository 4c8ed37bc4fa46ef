"""aiohttp's client verifies its peers as ever, though certificates are read at its first connection."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from agentserver._http import late_certificates
from agentserver._http.late_certificates import import_aiohttp
from tests.servers import ROOT

LATE, ORDINARY = "_LateContext", "SSLContext"
LOOPS = ("uvloop", "asyncio")
REFUSED = "ClientConnectorCertificateError"


class Certificate(NamedTuple):
    path: Path
    key: Path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """One for ``localhost`` that nobody has signed but itself."""
    folder = tmp_path_factory.mktemp("tls")
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ),
            *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-addext", "keyUsage=critical,digitalSignature,keyCertSign"),
            *("-keyout", str(made.key), "-out", str(made.path)),
        ],
        check=True,
        capture_output=True,
    )
    return made


@asynccontextmanager
async def https_server(certificate: Certificate) -> AsyncGenerator[int, None]:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/", answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.path, certificate.key)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "localhost", 0, ssl_context=context).start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def ask(certificate: Certificate, *arguments: str, trusted: Path | None) -> dict[str, Any]:
    """What an agent's process says that trusts *trusted* and nobody else, or who the system trusts."""
    variables = {} if trusted is None else {"SSL_CERT_FILE": str(trusted), "SSL_CERT_DIR": "/nonexistent"}
    async with https_server(certificate) as port:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.http.late_certificates_agent", str(port), *arguments),
            cwd=ROOT,
            env={**os.environ, **variables},
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
    assert process.returncode == 0
    said: dict[str, Any] = json.loads(output)
    return said


@pytest.mark.parametrize("loop", LOOPS)
async def test_a_peer_that_the_system_trusts_is_verified_by_certificates_read_at_the_first_connection(
    certificate: Certificate, loop: str
) -> None:
    said = await ask(certificate, loop, "verify", trusted=certificate.path)
    assert said == {
        "before": LATE,
        "answers": ["200", "200"],
        "after": ORDINARY,
        "trusted": 1,
        "ssl is as it was": True,
    }


@pytest.mark.parametrize("loop", LOOPS)
async def test_a_peer_that_nobody_trusts_is_refused(certificate: Certificate, loop: str) -> None:
    said = await ask(certificate, loop, "verify", trusted=None)
    assert said["answers"] == [REFUSED, REFUSED]


async def test_who_does_not_verify_is_answered(certificate: Certificate) -> None:
    said = await ask(certificate, "uvloop", "trust", trusted=None)
    assert said["answers"] == ["200", "200"]
    assert said["before"] == LATE


async def test_who_imports_aiohttp_first_has_them_read_at_once(certificate: Certificate) -> None:
    said = await ask(certificate, "uvloop", "verify", "first", trusted=certificate.path)
    assert said["before"] == ORDINARY
    assert said["answers"] == ["200", "200"]


def test_a_context_that_is_used_past_its_methods_trusts_nobody() -> None:
    """The C functions beneath `wrap_bio` do not read anything: what is left out fails closed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    late_certificates._postpone(context)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert super(ssl.SSLContext, context).cert_store_stats()["x509"] == 0
    assert context.cert_store_stats() == ssl.create_default_context().cert_store_stats()
    assert type(context) is ssl.SSLContext


def test_a_context_of_a_class_of_somebodys_own_is_left_alone() -> None:
    class Own(ssl.SSLContext):
        pass

    context = Own(ssl.PROTOCOL_TLS_CLIENT)
    late_certificates._postpone(context)
    assert type(context) is Own
    assert context.cert_store_stats() == ssl.create_default_context().cert_store_stats()


def test_nothing_happens_where_aiohttp_is_imported_already() -> None:
    import_aiohttp()
    assert "set_default_verify_paths" not in vars(ssl.SSLContext)
