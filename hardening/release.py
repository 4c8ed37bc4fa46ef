"""Makes a release, or says why there can be none: ``python -m hardening.release 3.10 3.11 3.12 3.13``.

It refuses a tree with uncommitted changes, a version that the changelog does not describe with its day, and
one that is tagged already. It builds sdist and wheel into ``dist/``, the same bytes each time; checks that
they have all that belongs in them and nothing else, and what PyPI would say of their metadata; and installs
both in empty environments of each Python that is named. It uploads nothing, and says what is left to do.

``--rehearsal`` says what it would refuse, and goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from agentserver import __version__
from hardening.distributions import ROOT, build, interpreter, run, try_out

__all__ = ["foreign", "lacking", "refusals"]

DIST = ROOT / "dist"
_VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")
_HEADING = re.compile(r"^## (\S+) \((.+)\)$", re.MULTILINE)
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
# What a build adds to what is tracked.
_METADATA = re.compile(
    r"[^/]+\.dist-info/(METADATA|WHEEL|RECORD|entry_points\.txt|licenses/LICENSE)|PKG-INFO|\.gitignore|pyproject\.toml"
)


def refusals(version: str, changelog: str, changes: str, tags: Collection[str]) -> Iterator[str]:
    """Why there can be no release of *version*.

    Args:
        version: As ``agentserver/_version.py`` has it.
        changelog: The text of ``CHANGELOG.md``.
        changes: What ``git status --porcelain`` prints.
        tags: The tags there are.
    """
    if not _VERSION.fullmatch(version):
        yield f"{version} is no version: use MAJOR.MINOR.PATCH, with a1, b1 or rc1 behind it for a preview"
    if f"v{version}" in tags:
        yield f"v{version} is tagged already: raise agentserver/_version.py"
    heading = _HEADING.search(changelog)
    if heading is None or heading[1] != version:
        yield f"CHANGELOG.md does not begin with '## {version} (YYYY-MM-DD)'"
    elif not _DAY.fullmatch(heading[2]):
        yield f"CHANGELOG.md says {heading[2]!r} of {version}: write the day, YYYY-MM-DD"
    if changes.strip():
        yield f"there are changes that are not committed: {', '.join(changes.split()[1::2][:5])}"


def lacking(tracked: Iterable[str], packed: Collection[str]) -> list[str]:
    """What belongs in a distribution and is not *packed*."""
    return sorted(name for name in tracked if name not in packed)


def foreign(tracked: Collection[str], packed: Iterable[str]) -> list[str]:
    """What is *packed* and neither tracked nor made by the build."""
    return sorted(name for name in packed if name not in tracked and not _METADATA.fullmatch(name))


def _git(*arguments: str) -> str:
    return run("git", *arguments)


def _names(distribution: Path) -> list[str]:
    """The files in *distribution*, without the directory that an sdist has around all of them."""
    if distribution.suffix == ".whl":
        with zipfile.ZipFile(distribution) as wheel:
            return [name for name in wheel.namelist() if not name.endswith("/")]
    with tarfile.open(distribution) as sdist:
        return [member.name.partition("/")[2] for member in sdist.getmembers() if member.isfile()]


def _contents(distribution: Path) -> Iterator[str]:
    """What is wrong with the files in *distribution*."""
    package = set(_git("ls-files", "agentserver").split())
    packed = _names(distribution)
    expected = (
        package if distribution.suffix == ".whl" else {*package, "README.md", "CHANGELOG.md", "LICENSE"}
    )
    yield from (f"{distribution.name} lacks {name}" for name in lacking(expected, packed))
    tracked = package if distribution.suffix == ".whl" else set(_git("ls-files").split())
    yield from (
        f"{distribution.name} has {name}, which belongs to nothing" for name in foreign(tracked, packed)
    )


def _built_twice() -> tuple[list[Path], list[str]]:
    """Both distributions, in ``dist/``, and what differs when they are built once more."""
    os.environ["SOURCE_DATE_EPOCH"] = _git("log", "-1", "--format=%ct").strip()
    shutil.rmtree(DIST, ignore_errors=True)
    distributions = build(DIST)
    with tempfile.TemporaryDirectory() as directory:
        again = build(Path(directory))
        pairs = zip(distributions, again, strict=True)
        differing = [one.name for one, other in pairs if one.read_bytes() != other.read_bytes()]
    return distributions, [f"{name} has other bytes when it is built again" for name in differing]


def _metadata(distributions: list[Path]) -> Iterator[str]:
    """What PyPI would say."""
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, distributions)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        yield f"twine: {' '.join(done.stdout.split())}"


def _installed(distributions: list[Path], versions: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        for version in versions:
            for distribution in distributions:
                begin = time.monotonic()
                where = Path(directory) / f"{version}-{distribution.suffix[1:]}"
                try_out(interpreter(version), distribution, where)
                shutil.rmtree(where)
                print(f"{distribution.name} on Python {version}: fine, {time.monotonic() - begin:.0f} s")


def main() -> int:
    """Run the command; the exit code is 1 if there can be no release."""
    parser = argparse.ArgumentParser(prog="python -m hardening.release", description=__doc__)
    parser.add_argument("versions", nargs="+", help="Pythons to install on, such as 3.10", metavar="PYTHON")
    parser.add_argument("--rehearsal", action="store_true", help="say what would be refused, and go on")
    arguments = parser.parse_args()
    changelog = (ROOT / "CHANGELOG.md").read_text()
    refused = [*refusals(__version__, changelog, _git("status", "--porcelain"), _git("tag").split())]
    print("\n".join(f"refused: {reason}" for reason in refused))
    if refused and not arguments.rehearsal:
        return 1
    distributions, wrong = _built_twice()
    wrong += [sentence for distribution in distributions for sentence in _contents(distribution)]
    wrong += _metadata(distributions)
    if wrong:
        print("\n".join(f"not whole: {sentence}" for sentence in wrong))
        return 1
    _installed(distributions, arguments.versions)
    for distribution in distributions:
        size, digest = distribution.stat().st_size, hashlib.sha256(distribution.read_bytes()).hexdigest()
        print(f"{distribution.name}: {size:,} bytes, sha256 {digest}")
    if not refused:
        print(f"now: git tag v{__version__}, and twine upload {' '.join(str(d) for d in distributions)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
