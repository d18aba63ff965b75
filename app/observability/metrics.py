"""The metrics that the workers count, under their Prometheus names.

Updating prometheus-client's own counters takes a third of the time of a prediction. A worker therefore collects plain
numbers, adds them up twice a second and at each scrape, and writes the sums to a folder that all workers share. The
worker that is scraped adds up the sums of all workers.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, TypeVar, get_args

from prometheus_client.core import Metric
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass as validated

from app.observability.metric_sums import Labels, MetricSums
from app.observability.multiprocess import MultiprocessStore
from models.inference.batcher import BATCH_SIZES
from models.inference.calibration import Verdict
from models.inference.predictor import Prediction

log = logging.getLogger(__name__)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SHORT_SECONDS = (0.0001, 0.00025, 0.0005, *_SECONDS[:10])
_RATIOS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1)


@dataclass(frozen=True)
class Definition:
    """A metric's name, type, help text and label names; `bounds` are the upper bounds of a histogram's buckets."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: Labels = ()
    bounds: tuple[float, ...] = ()


REQUESTS = Definition(
    "inkling_requests_total",
    "counter",
    "Requests answered. Status 499: the client disconnected.",
    ("method", "route", "status"),
)
DURATION = Definition(
    "inkling_request_duration_seconds",
    "histogram",
    "Time from a request's head to the end of its answer.",
    ("route",),
    _SECONDS,
)
REFUSALS = Definition(
    "inkling_refusals_total",
    "counter",
    "Requests, and images of a batch, answered with a problem, by its name.",
    ("reason",),
)
PREDICTIONS = Definition("inkling_predictions_total", "counter", "Images predicted.", ("digit", "verdict"))
CONFIDENCE = Definition("inkling_confidence_ratio", "histogram", "Confidence of the predictions.", (), _RATIOS)
STAGES = Definition(
    "inkling_stage_duration_seconds",
    "histogram",
    "decode: an image's bytes to its tile; queue: its wait for a batch; forward: one batch's forward pass.",
    ("stage",),
    _SHORT_SECONDS,
)
BATCHES = Definition("inkling_batch_images", "histogram", "Images in a batch.", (), tuple(map(float, BATCH_SIZES)))
DROPPED = Definition("inkling_dropped_images_total", "counter", "Images whose client left before their batch began.")
STARTS = Definition("inkling_worker_starts_total", "counter", "Starts of a worker process.", ("worker",))
COUNTED = (REQUESTS, DURATION, REFUSALS, PREDICTIONS, CONFIDENCE, STAGES, BATCHES, DROPPED, STARTS)

WORKERS = Definition("inkling_workers", "gauge", "Workers that are running.")
WORKER = Definition(
    "inkling_worker_info",
    "gauge",
    "Always 1; the labels say which version a worker serves, on which device, by which runtime.",
    ("worker", "version", "device", "runtime"),
)
READY = Definition("inkling_worker_ready", "gauge", "1 if a worker can predict, else 0.", ("worker",))
QUEUE = Definition("inkling_queue_images", "gauge", "Images in flight in a worker.", ("worker",))
QUEUE_LIMIT = Definition("inkling_queue_limit_images", "gauge", "INKLING_MAX_CONCURRENT_IMAGES, of each worker.")
WORKER_METRICS = (WORKERS, WORKER, READY, QUEUE, QUEUE_LIMIT)


@validated(frozen=True)
class WorkerState:
    """One worker's state: `queued` of at most `limit` images in flight, `dropped` images since it started."""

    version: str
    device: str
    runtime: str
    ready: bool
    queued: int
    limit: int
    dropped: int


_STATE = TypeAdapter(WorkerState)


class Metrics:
    """One worker's metrics. store: shares them with the other workers; None for a single worker."""

    def __init__(self, store: MultiprocessStore | None, reasons: Iterable[str]) -> None:
        self._store = store
        self._worker = store.worker if store else 0
        self._requests: defaultdict[tuple[str, str, int], int] = defaultdict(int)
        self._durations: defaultdict[str, list[float]] = defaultdict(list)
        self._refusals: defaultdict[str, int] = defaultdict(int)
        self._predictions: defaultdict[tuple[int, Verdict], int] = defaultdict(int)
        self._confidences: list[float] = []
        self._decodes: list[float] = []
        self.decoded = self._decodes.append
        """Records how many seconds decoding an image took; safe to call from other threads."""
        self._waits: list[float] = []
        self._forwards: list[float] = []
        self._batches: list[float] = []
        self._dropped = 0
        self._published: tuple[bytes, bytes] | None = None
        self._last_error = ""
        former = store.get("counts") if store else None
        self._sums = MetricSums.loads(former) if former else self._zeros(reasons)
        self._sums.add(STARTS.name, (str(self._worker),), 1)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests[method, route, status] += 1
        self._durations[route].append(seconds)

    def refusal(self, reason: str) -> None:
        self._refusals[reason] += 1

    def prediction(self, found: Prediction) -> None:
        digit, confidence, _, verdict, _ = found
        self._predictions[digit, verdict] += 1
        self._confidences.append(confidence)

    def batch(self, waits: Sequence[float], seconds: float) -> None:
        self._waits.extend(waits)
        self._forwards.append(seconds)
        self._batches.append(len(waits))

    def publish(self, state: WorkerState) -> None:
        """Writes the sums and the state to the store. What cannot be written now is written at the next call."""
        self._gather(state)
        if self._store is None:
            return
        current = self._sums.dumps(), _STATE.dump_json(state)
        if current == self._published:
            return
        try:
            self._store.put("counts", current[0])
            self._store.put("state", current[1])
            self._published, self._last_error = current, ""
        except OSError as error:
            if str(error) != self._last_error:
                log.error("cannot share this worker's metrics with the other workers: %s", error)
            self._last_error = str(error)

    def collect(self, state: WorkerState) -> list[Metric]:
        """The metrics of all workers."""
        self.publish(state)
        counts = self._store.get_all("counts") if self._store else {}
        states = self._store.get_all("state") if self._store else {}
        sums = {worker: MetricSums.loads(data) for worker, data in counts.items()} | {self._worker: self._sums}
        total = MetricSums()
        for found in sums.values():
            total.merge(found)
        running = {worker: _STATE.validate_json(data) for worker, data in states.items()} | {self._worker: state}
        counted = [metric(definition, total.series.get(definition.name, {})) for definition in COUNTED]
        return [*counted, *_worker_metrics(running)]

    def _gather(self, state: WorkerState) -> None:
        sums = self._sums
        for (method, route, status), count in _drain(self._requests):
            sums.add(REQUESTS.name, (method, route, str(status)), count)
        for route, seconds in _drain(self._durations):
            sums.observe(DURATION.name, (route,), DURATION.bounds, seconds)
        for reason, count in _drain(self._refusals):
            sums.add(REFUSALS.name, (reason,), count)
        for (digit, verdict), count in _drain(self._predictions):
            sums.add(PREDICTIONS.name, (str(digit), verdict), count)
        lists: list[tuple[Definition, Labels, list[float]]] = [
            (STAGES, ("decode",), self._decodes),
            (STAGES, ("queue",), self._waits),
            (STAGES, ("forward",), self._forwards),
            (CONFIDENCE, (), self._confidences),
            (BATCHES, (), self._batches),
        ]
        for definition, labels, values in lists:
            count = len(values)  # another thread may append to it meanwhile
            sums.observe(definition.name, labels, definition.bounds, values[:count])
            del values[:count]
        sums.add(DROPPED.name, (), state.dropped - self._dropped)
        self._dropped = state.dropped

    @staticmethod
    def _zeros(reasons: Iterable[str]) -> MetricSums:
        """Starts counters at 0; otherwise rate() misses the first increment."""
        sums = MetricSums()
        for reason in reasons:
            sums.add(REFUSALS.name, (reason,), 0)
        for digit in range(10):
            for verdict in get_args(Verdict):
                sums.add(PREDICTIONS.name, (str(digit), verdict), 0)
        return sums


K = TypeVar("K")
V = TypeVar("V")


def _drain(counts: defaultdict[K, V]) -> list[tuple[K, V]]:
    found = list(counts.items())
    counts.clear()
    return found


def metric(definition: Definition, series: Mapping[Labels, Sequence[float]]) -> Metric:
    """A metric in prometheus-client's form, from numbers as MetricSums holds them."""
    found = Metric(definition.name.removesuffix("_total"), definition.help, definition.kind)
    for values, numbers in sorted(series.items()):
        labels = dict(zip(definition.labels, values, strict=True))
        if definition.kind != "histogram":
            found.add_sample(definition.name, labels, numbers[0])
            continue
        counts = list(accumulate(numbers[:-1]))
        bounds = [*(str(float(bound)) for bound in definition.bounds), "+Inf"]
        for bound, count in zip(bounds, counts, strict=True):
            found.add_sample(f"{definition.name}_bucket", {**labels, "le": bound}, count)
        found.add_sample(f"{definition.name}_count", labels, counts[-1])
        found.add_sample(f"{definition.name}_sum", labels, numbers[-1])
    return found


def _worker_metrics(states: Mapping[int, WorkerState]) -> list[Metric]:
    running = sorted((str(worker), state) for worker, state in states.items())
    return [
        metric(WORKERS, {(): [len(running)]}),
        metric(WORKER, {(worker, state.version, state.device, state.runtime): [1] for worker, state in running}),
        metric(READY, {(worker,): [state.ready] for worker, state in running}),
        metric(QUEUE, {(worker,): [state.queued] for worker, state in running}),
        metric(QUEUE_LIMIT, {(): [max(state.limit for _, state in running)]}),
    ]
