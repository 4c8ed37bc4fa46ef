"""The forms of a report: a table for people, JSON, JUnit XML for build servers, one HTML page."""

from __future__ import annotations

from agentserver.conformance.reports.html import html_page
from agentserver.conformance.reports.junit import junit_xml
from agentserver.conformance.reports.report import Report
from agentserver.conformance.reports.table import table

__all__ = ["Report", "html_page", "junit_xml", "table"]
