"""The version, in its one place: the distribution, the headers and the telemetry read it here."""

__version__ = "0.1.0"  # without an annotation, as hatchling reads it
