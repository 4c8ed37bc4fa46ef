"""Histograms that are recorded for every request, at a fifth of the SDK's price.

They are aggregated here and join what the SDK has collected on its way to the exporter. They have no
exemplars: the spans say more.
"""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from opentelemetry.sdk.metrics import Histogram as SdkHistogram
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    ResourceMetrics,
)

from agentserver._telemetry.attributes import SCOPE

_TOGETHER: Final = 256
_counting: Final = threading.Lock()
MAX_SERIES: Final = 2000  # what OpenTelemetry allows an instrument; attributes that come after are left out


@dataclass
class Series:
    """What was recorded with the same attributes."""

    buckets: list[int]
    bounds: Sequence[float]
    count: int = 0
    total: float = 0.0
    least: float = math.inf
    most: float = -math.inf
    waiting: list[float] = field(default_factory=list[float])

    def record(self, amount: float) -> None:
        """Take one value; it is counted with others, when they are many or asked for."""
        waiting = self.waiting
        waiting.append(amount)
        if len(waiting) >= _TOGETHER:
            self.count_waiting()

    def count_waiting(self) -> None:
        """Count what waits; called by the loop's thread and the exporter's."""
        with _counting:
            waiting, self.waiting = self.waiting, []
            if not waiting:
                return
            for amount in waiting:
                self.buckets[bisect_left(self.bounds, amount)] += 1
            self.count += len(waiting)
            self.total += sum(waiting)
            self.least = min(self.least, *waiting)
            self.most = max(self.most, *waiting)

    def since(self, earlier: Series | None) -> Series:
        """What was recorded after *earlier*; the extremes are of all time."""
        if earlier is None:
            return replace(self, buckets=list(self.buckets), waiting=[])
        buckets = [now - then for now, then in zip(self.buckets, earlier.buckets, strict=True)]
        count, total = self.count - earlier.count, self.total - earlier.total
        return Series(buckets, self.bounds, count, total, self.least, self.most)


class OwnHistogram:
    """One histogram.

    Args:
        name: Its name.
        unit: Its unit.
        description: What it measures.
        bounds: The upper bounds of its buckets, ascending.
    """

    def __init__(self, name: str, unit: str, description: str, bounds: Sequence[float]) -> None:
        self.name = name
        self.unit = unit
        self.description = description
        self.bounds = bounds
        self.series: dict[tuple[Any, ...], Series] = {}

    def record(self, amount: float, attributes: Mapping[str, Any]) -> None:
        """Record one value. Attributes of the same series come in the same order."""
        self.recorder(attributes)(amount)

    def recorder(self, attributes: Mapping[str, Any]) -> Callable[[float], object]:
        """What records values with *attributes*."""
        key = tuple(attributes.items())
        series = self.series.get(key)
        if series is None:
            series = Series([0] * (len(self.bounds) + 1), self.bounds)
            if len(self.series) < MAX_SERIES:
                self.series[key] = series
        return series.record


class JoiningExporter(MetricExporter):
    """An exporter to which *histograms* are added.

    Args:
        exporter: Sends what it is given.
        histograms: What is added; more may come later.
    """

    def __init__(self, exporter: MetricExporter, histograms: list[OwnHistogram]) -> None:
        super().__init__(exporter._preferred_temporality, exporter._preferred_aggregation)
        self._exporter: Any = exporter
        self._histograms = histograms
        preferred = (exporter._preferred_temporality or {}).get(SdkHistogram)
        self._is_delta = preferred is AggregationTemporality.DELTA
        self._sent: dict[tuple[str, tuple[Any, ...]], Series] = {}
        self._since = time.time_ns()

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """Send *metrics_data* and the histograms."""
        now = time.time_ns()
        metrics = [self._metric(histogram, now) for histogram in self._histograms if histogram.series]
        if self._is_delta:
            self._since = now
        joined = MetricsData([_with(metrics, part) for part in metrics_data.resource_metrics])
        result: MetricExportResult = self._exporter.export(joined, timeout_millis, **kwargs)
        return result

    def _metric(self, histogram: OwnHistogram, now: int) -> Metric:
        temporality = AggregationTemporality.DELTA if self._is_delta else AggregationTemporality.CUMULATIVE
        points = [
            HistogramDataPoint(
                attributes=dict(key),
                start_time_unix_nano=self._since,
                time_unix_nano=now,
                count=series.count,
                sum=series.total,
                bucket_counts=series.buckets,
                explicit_bounds=histogram.bounds,
                min=series.least,
                max=series.most,
            )
            for key, series in self._news_of(histogram)
        ]
        data = Histogram(points, temporality)
        return Metric(histogram.name, histogram.description, histogram.unit, data)

    def _news_of(self, histogram: OwnHistogram) -> list[tuple[tuple[Any, ...], Series]]:
        news: list[tuple[tuple[Any, ...], Series]] = []
        for key, series in list(histogram.series.items()):
            series.count_waiting()
            whole = series.since(None)
            if not self._is_delta:
                news.append((key, whole))
                continue
            recent = whole.since(self._sent.get((histogram.name, key)))
            self._sent[histogram.name, key] = whole
            if recent.count:
                news.append((key, recent))
        return news

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Flush the exporter."""
        return bool(self._exporter.force_flush(timeout_millis))

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown(timeout_millis, **kwargs)


def _with(metrics: list[Metric], part: ResourceMetrics) -> ResourceMetrics:
    scopes = [
        replace(scope, metrics=[*scope.metrics, *metrics]) if scope.scope.name == SCOPE else scope
        for scope in part.scope_metrics
    ]
    return replace(part, scope_metrics=scopes)
