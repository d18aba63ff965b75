"""What is counted and measured, by the names under which Prometheus finds it.

Updates of prometheus-client's own counters would take a third of the time that a prediction does. So a worker gathers
plain numbers, adds them up twice a second and before it is asked, and shows the sums on the board; whichever worker is
asked adds up those of all.
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

from app.observability.multiprocess import MultiprocessStore
from app.observability.tally import Labels, MetricSums
from models.inference.batcher import SIZES
from models.inference.calibration import Verdict
from models.inference.predictor import Prediction

log = logging.getLogger(__name__)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SHORT_SECONDS = (0.0001, 0.00025, 0.0005, *_SECONDS[:10])
_RATIOS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1)


@dataclass(frozen=True)
class Definition:
    """bounds: of a histogram's buckets."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: Labels = ()
    bounds: tuple[float, ...] = ()


REQUESTS = Definition(
    "inkling_requests_total",
    "counter",
    "Requests answered; status 499: the client left.",
    ("method", "route", "status"),
)
DURATION = Definition(
    "inkling_request_duration_seconds",
    "histogram",
    "From a request's head to the end of its answer.",
    ("route",),
    _SECONDS,
)
REFUSALS = Definition(
    "inkling_refusals_total",
    "counter",
    "Requests, and pictures of a batch, that were answered with a problem, by its name.",
    ("reason",),
)
PREDICTIONS = Definition("inkling_predictions_total", "counter", "Pictures read.", ("digit", "verdict"))
CONFIDENCE = Definition("inkling_confidence_ratio", "histogram", "Confidence of what was read.", (), _RATIOS)
STAGES = Definition(
    "inkling_stage_duration_seconds",
    "histogram",
    "decode: a picture's bytes to its tile; queue: its wait for a batch; forward: one batch through the network.",
    ("stage",),
    _SHORT_SECONDS,
)
BATCHES = Definition("inkling_batch_images", "histogram", "Pictures in a batch.", (), tuple(map(float, SIZES)))
DROPPED = Definition("inkling_dropped_images_total", "counter", "Pictures whose client left before their batch began.")
STARTS = Definition("inkling_worker_starts_total", "counter", "Starts of a worker's process.", ("worker",))
COUNTED = (REQUESTS, DURATION, REFUSALS, PREDICTIONS, CONFIDENCE, STAGES, BATCHES, DROPPED, STARTS)

WORKERS = Definition("inkling_workers", "gauge", "Workers that answer.")
WORKER = Definition(
    "inkling_worker_info",
    "gauge",
    "1: the version that a worker serves, and its device.",
    ("worker", "version", "device"),
)
READY = Definition("inkling_worker_ready", "gauge", "1 when a worker can predict, 0 when it can not.", ("worker",))
QUEUE = Definition("inkling_queue_images", "gauge", "Pictures that a worker is answering.", ("worker",))
QUEUE_LIMIT = Definition("inkling_queue_limit_images", "gauge", "INKLING_MAX_CONCURRENT_IMAGES, of each worker.")
OF_WORKERS = (WORKERS, WORKER, READY, QUEUE, QUEUE_LIMIT)


@validated(frozen=True)
class WorkerState:
    """One worker at a time. queued: pictures that it is answering, of limit; dropped: since it started."""

    version: str
    device: str
    ready: bool
    queued: int
    limit: int
    dropped: int


_STATE = TypeAdapter(WorkerState)


class Metrics:
    """Of one worker. board: where those of all its service meet; None where it is the only one."""

    def __init__(self, board: MultiprocessStore | None, reasons: Iterable[str]) -> None:
        self._board = board
        self._place = board.place if board else 0
        self._requests: defaultdict[tuple[str, str, int], int] = defaultdict(int)
        self._durations: defaultdict[str, list[float]] = defaultdict(list)
        self._refusals: defaultdict[str, int] = defaultdict(int)
        self._predictions: defaultdict[tuple[int, Verdict], int] = defaultdict(int)
        self._confidences: list[float] = []
        self._decodes: list[float] = []
        self.decoded = self._decodes.append
        """Told of how many seconds the decoding of a picture took, also from another thread."""
        self._waits: list[float] = []
        self._forwards: list[float] = []
        self._batches: list[float] = []
        self._dropped = 0
        self._shown: tuple[bytes, bytes] | None = None
        self._complaint = ""
        before = board.get("counts") if board else None
        self._tally = MetricSums.loads(before) if before else self._zeros(reasons)
        self._tally.add(STARTS.name, (str(self._place),), 1)

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
        """Shows on the board what has come together. What can not be shown now is shown the next time."""
        self._gather(state)
        if self._board is None:
            return
        shown = self._tally.dumps(), _STATE.dump_json(state)
        if shown == self._shown:
            return
        try:
            self._board.put("counts", shown[0])
            self._board.put("state", shown[1])
            self._shown, self._complaint = shown, ""
        except OSError as error:
            if str(error) != self._complaint:
                log.error("the other workers do not see this one's metrics: %s", error)
            self._complaint = str(error)

    def collect(self, state: WorkerState) -> list[Metric]:
        """The figures of all workers."""
        self.publish(state)
        counts = self._board.everyone("counts") if self._board else {}
        states = self._board.everyone("state") if self._board else {}
        total = MetricSums()
        for tally in {
            **{place: MetricSums.loads(data) for place, data in counts.items()},
            self._place: self._tally,
        }.values():
            total.merge(tally)
        living = {**{place: _STATE.validate_json(data) for place, data in states.items()}, self._place: state}
        counted = [metric(definition, total.series.get(definition.name, {})) for definition in COUNTED]
        return [*counted, *_of_workers(living)]

    def _gather(self, state: WorkerState) -> None:
        tally = self._tally
        for (method, route, status), count in _taken(self._requests):
            tally.add(REQUESTS.name, (method, route, str(status)), count)
        for route, seconds in _taken(self._durations):
            tally.observe(DURATION.name, (route,), DURATION.bounds, seconds)
        for reason, count in _taken(self._refusals):
            tally.add(REFUSALS.name, (reason,), count)
        for (digit, verdict), count in _taken(self._predictions):
            tally.add(PREDICTIONS.name, (str(digit), verdict), count)
        lists: list[tuple[Definition, Labels, list[float]]] = [
            (STAGES, ("decode",), self._decodes),
            (STAGES, ("queue",), self._waits),
            (STAGES, ("forward",), self._forwards),
            (CONFIDENCE, (), self._confidences),
            (BATCHES, (), self._batches),
        ]
        for definition, labels, values in lists:
            count = len(values)  # another thread may append to it meanwhile
            tally.observe(definition.name, labels, definition.bounds, values[:count])
            del values[:count]
        tally.add(DROPPED.name, (), state.dropped - self._dropped)
        self._dropped = state.dropped

    @staticmethod
    def _zeros(reasons: Iterable[str]) -> MetricSums:
        """What Prometheus sees first as 1 it takes for no increase: these begin with 0."""
        tally = MetricSums()
        for reason in reasons:
            tally.add(REFUSALS.name, (reason,), 0)
        for digit in range(10):
            for verdict in get_args(Verdict):
                tally.add(PREDICTIONS.name, (str(digit), verdict), 0)
        return tally


K = TypeVar("K")
V = TypeVar("V")


def _taken(counts: defaultdict[K, V]) -> list[tuple[K, V]]:
    found = list(counts.items())
    counts.clear()
    return found


def metric(definition: Definition, series: Mapping[Labels, Sequence[float]]) -> Metric:
    """As prometheus-client writes it; the numbers as a tally has them."""
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


def _of_workers(states: Mapping[int, WorkerState]) -> list[Metric]:
    living = sorted((str(place), state) for place, state in states.items())
    return [
        metric(WORKERS, {(): [len(living)]}),
        metric(WORKER, {(worker, state.version, state.device): [1] for worker, state in living}),
        metric(READY, {(worker,): [state.ready] for worker, state in living}),
        metric(QUEUE, {(worker,): [state.queued] for worker, state in living}),
        metric(QUEUE_LIMIT, {(): [max(state.limit for _, state in living)]}),
    ]
