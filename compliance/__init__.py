"""Suites of other projects, run on this one."""
