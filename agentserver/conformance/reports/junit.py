"""The report as JUnit XML: one test case for each requirement, one suite for each section."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree import ElementTree as ET

from agentserver.conformance.judge import Outcome, Verdict
from agentserver.conformance.reports.report import Report

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(report: Report) -> str:
    """The report for a build server. A missed *should* is a skipped test with the reason, not a failure."""
    root = ET.Element("testsuites", name=_clean(report.target), time=f"{report.seconds:.1f}")
    sections: dict[str, list[Verdict]] = {}
    for verdict in report.verdicts:
        sections.setdefault(verdict.requirement.id.split(".", 1)[0], []).append(verdict)
    for name, verdicts in sections.items():
        root.append(_suite(name, verdicts))
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(name: str, verdicts: Iterable[Verdict]) -> ET.Element:
    suite = ET.Element("testsuite", name=name)
    for verdict in verdicts:
        suite.append(_case(verdict))
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(len(suite.findall(".//failure"))))
    suite.set("skipped", str(len(suite.findall(".//skipped"))))
    return suite


def _case(verdict: Verdict) -> ET.Element:
    requirement = verdict.requirement
    case = ET.Element("testcase", classname=requirement.id, name=requirement.sentence)
    if verdict.outcome is not Outcome.HELD:
        ET.SubElement(case, "failure" if verdict.fatal else "skipped", message=_clean(verdict.reason))
    return case


def _clean(text: str) -> str:
    return _UNPRINTABLE.sub("?", text)
