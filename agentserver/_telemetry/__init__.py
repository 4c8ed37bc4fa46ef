"""Traces, metrics and logs of the server (contract, section 7); not imported until it is used."""
