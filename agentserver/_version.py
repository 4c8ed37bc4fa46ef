"""The version, in its one place: the distribution, the headers and the telemetry read it here."""

from typing import Final

__version__: Final = "0.1.0"
