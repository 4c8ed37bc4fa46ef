"""The malformed requests that gunicorn's source distribution on PyPI brings along (MIT), and our verdict."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

GUNICORN = "gunicorn==27.0.1"
"""Pinned: another version may bring other requests, whose verdicts would have to be thought about."""

_ESCAPES = {b"\\r\\n": b"\r\n", b"\\0": b"\0", b"\\n": b"\n", b"\\t": b"\t"}

ACCEPTED = {
    "006": "a request line of 4,196 characters: gunicorn's limit is 4,094, ours 8,190",
    "008": "two header fields of 4,000 characters: ours may have 8,190 each",
    "009": "105 header fields: gunicorn's limit is 100, ours 128",
    "011": "a plain request: gunicorn's test sets its own limit of 2 fields",
    "012": "a plain request: gunicorn's test sets its own limit of 98 characters a field",
    "040": "names with an underscore are legal (RFC 9110, section 5.1) and mean nothing to us",
    "chunked_05": "chunks in an HTTP/1.0 request: decoded, and the connection is closed after it",
    "limit_header_default_01": "a field of 8,190 characters: exactly our limit",
    "rfc9110_trailer_forbidden_host_01": "trailer fields are dropped unread, so Host in one changes nothing",
    "rfc9112_chunked_missing_final_crlf_01": "its body has not ended, but its path is unknown: 404 meanwhile",
    "rfc9112_leading_crlf_02": "empty lines before a request are skipped (RFC 9112, section 2.2)",
}
"""What we answer although gunicorn refuses it, each with the reason."""

INCOMPLETE = {
    "001": "its headers never end: 408 after the time for headers",
}
"""What is waited for, since more may come."""


def requests(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Fetch the corpus into *directory* and give every request's name and bytes."""
    command = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:")
    subprocess.run((*command, "--dest", str(directory), GUNICORN), check=True, timeout=300)
    (archive,) = directory.glob("gunicorn-*.tar.gz")
    with tarfile.open(archive) as sdist:
        for member in sorted(sdist.getmembers(), key=lambda member: member.name):
            path = Path(member.name)
            if path.parts[1:4] == ("tests", "requests", "invalid") and path.suffix == ".http":
                file = sdist.extractfile(member)
                assert file is not None
                yield path.stem, _unescape(file.read())


def _unescape(data: bytes) -> bytes:
    data = data.replace(b"\n", b"")
    for escape, value in _ESCAPES.items():
        data = data.replace(escape, value)
    return re.sub(rb"\\x([0-9A-Fa-f]{2})", lambda match: bytes([int(match[1], 16)]), data)
