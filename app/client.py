"""A client for an Inkling service, sync and async. It needs httpx and nothing else of Inkling: the file may be copied.

    with Client("http://127.0.0.1:8000", key="...") as client:
        print(client.predict("seven.png").digit)

The errors that calls raise:

    ClientError
    ├── BadPicture        nothing was sent: the file cannot be read, or the array has the wrong shape or type
    ├── Unreachable       no answer, or an answer that is not Inkling's
    └── Problem           the service refused the request and said why (RFC 9457)
        ├── PictureRefused   413, 415, 422: too large, unsupported format, corrupt, or nothing drawn
        ├── KeyRefused       401, 403: the key is missing or wrong, or the service has none
        ├── NotFound         404: no such version, job or feedback
        ├── Conflict         409: another job runs, a job has ended, or a version does not load
        └── Busy             503: overloaded, after the retries

A request that is safe to repeat is sent again for up to `retry_seconds` when the service cannot be reached or answers
503 with Retry-After.
"""

from __future__ import annotations

import asyncio
import email.utils
import functools
import io
import json
import os
import random
import struct
import sys
import time
import urllib.parse
import uuid
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypedDict, TypeVar, Union, Unpack

import httpx

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

Picture = Union[str, "os.PathLike[str]", bytes, "Image.Image", "NDArray[np.uint8]", "NDArray[np.floating[Any]]"]
"""A path, an image file's bytes, a Pillow image, or an array [H, W], [H, W, 3] or [H, W, 4], uint8 or float 0..1."""

T = TypeVar("T")
H = TypeVar("H", httpx.Client, httpx.AsyncClient)

URL = "http://127.0.0.1:8000"
_STREAM_TIMEOUT = 40.0  # an event stream sends a comment every 15 s
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


class ClientError(Exception):
    """The message is one line: what was wrong, and what was expected."""


class BadPicture(ClientError):
    pass


class Unreachable(ClientError):
    pass


class Problem(ClientError):
    """The service refused the request.

    type: `/problems/NAME`, listed in docs/http.md, or `about:blank` for an error that is not problem+json, such as a
    proxy's. members: further members, such as `limit` or `job`.
    """

    def __init__(self, status: int, type: str, title: str, detail: str, members: Mapping[str, Any]) -> None:  # noqa: A002
        super().__init__(f"{status}: {detail or title}")
        self.status = status
        self.type = type
        self.title = title
        self.detail = detail
        self.members = dict(members)


class PictureRefused(Problem):
    pass


class KeyRefused(Problem):
    pass


class NotFound(Problem):
    pass


class Conflict(Problem):
    """`job` is the id of the conflicting job; None if the conflict is another one."""

    @property
    def job(self) -> str | None:
        return self.members.get("job")


class Busy(Problem):
    """`retry_after` is in seconds; None if the service did not say."""

    retry_after: float | None = None


@dataclass(frozen=True)
class Prediction:
    """What the service predicted.

    digit: the most likely digit, also when `unsure`; confidence: its calibrated probability, 0..1; probabilities: one
    for each digit 0 to 9; model: the version that answered; steps: what normalisation did, in order.
    """

    digit: int
    confidence: float
    probabilities: tuple[float, ...]
    verdict: Literal["digit", "unsure"]
    model: str
    steps: tuple[str, ...]


@dataclass(frozen=True)
class StoredFeedback:
    """Feedback as the service stored it.

    id: the sha256 of the normalised image; prediction, model: what was predicted, and by which version; replaced:
    whether the label replaced another one.
    """

    id: str
    label: int
    prediction: int
    model: str
    created_at: datetime
    replaced: bool


@dataclass(frozen=True)
class FeedbackCounts:
    """How much feedback the service holds."""

    total: int
    by_label: Mapping[int, int]
    by_day: Mapping[date, int]


@dataclass(frozen=True)
class Version:
    """A saved model. state: released, trained, accepted or rejected; metrics: measured on held-out digits."""

    version: str
    network: str
    created_at: datetime
    parent: str | None
    state: str
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class Versions:
    """All versions, newest first; `active` is the one that predicts, None if none can."""

    active: str | None
    versions: tuple[Version, ...]


@dataclass(frozen=True)
class Job:
    """A retraining job.

    progress: 0..1; reason: why it ended as it did; version: the version that it saved, also when rejected; log: the
    trainer's last lines, only with the key and only from `job`.
    """

    id: str
    state: Literal["queued", "running", "evaluating", "succeeded", "rejected", "failed", "cancelled"]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    epoch: int | None
    epochs: int | None
    progress: float
    metrics: Mapping[str, Any]
    reason: str | None
    version: str | None
    log: str | None = None

    @property
    def ended(self) -> bool:
        return self.state in ("succeeded", "rejected", "failed", "cancelled")


class Parameters(TypedDict, total=False):
    """Parameters of a retraining. A network other than the active version's needs start_from="scratch"."""

    network: Literal["net", "sequential", "convnet"]
    epochs: int
    start_from: Literal["current", "scratch"]
    use_feedback: bool
    seed: int
    learning_rate: float
    activate: Literal["auto", "manual"]


class _BaseClient(Generic[H]):
    """The URL and key of a service, and the parsing of its answers; the subclasses send the requests."""

    _http_class: type[H]

    def __init__(
        self, url: str | None = None, key: str | None = None, *, timeout: float = 30.0, retry_seconds: float = 10.0
    ) -> None:
        self._retry_seconds = retry_seconds
        self._url = _service_url(url or os.environ.get("INKLING_URL") or URL)
        secret = (os.environ.get("INKLING_API_KEY", "") if key is None else key).strip()
        if not secret.isprintable():
            raise ClientError("the key (key, or INKLING_API_KEY) contains a line break or another control character")
        self._http: H = self._http_class(
            base_url=self._url,
            headers=httpx.Headers({"X-API-Key": secret} if secret else {}, encoding="utf-8"),
            timeout=timeout,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),  # the caller limits concurrency
        )

    def _unreachable(self, reason: str) -> Unreachable:
        return Unreachable(f"{self._url.copy_with(userinfo=b'')} {reason}; url, or INKLING_URL, names the service")

    def _read(self, answer: httpx.Response, call: _Call[T]) -> T:
        """The parsed answer. Raises Problem or Unreachable."""
        self._check(answer)
        try:
            return call.parse(answer.json() if answer.content else None)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise self._not_inkling(answer) from error

    def _check(self, answer: httpx.Response) -> None:
        """Raises Problem or Unreachable unless the request succeeded."""
        if answer.is_error:
            raise _problem(answer)
        if not answer.is_success:
            raise self._not_inkling(answer)

    def _job_event(self, line: str) -> Job | None:
        """The job in a line of an event stream; None for other lines. Raises Unreachable."""
        if not line.startswith("data:"):
            return None
        try:
            return _job(json.loads(line.removeprefix("data:")))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise self._unreachable("sends events that are not Inkling's") from error

    def _not_inkling(self, answer: httpx.Response) -> Unreachable:
        return self._unreachable(f"answers ({answer.status_code}), but is not Inkling")


class Client(_BaseClient[httpx.Client]):
    """A client of one service; safe to share between threads.

    url, key: default to INKLING_URL and INKLING_API_KEY; timeout: seconds that the service may stay silent;
    retry_seconds: how long a failed call is repeated, 0 for not at all. Raises ClientError for an invalid URL or key.
    """

    _http_class = httpx.Client

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def predict(self, picture: Picture) -> Prediction:
        """Predicts the digit in a picture. Raises BadPicture, PictureRefused, Busy or Unreachable."""
        return self._do(_predict(_encoded(picture)))

    def predict_many(
        self, pictures: Iterable[Picture], *, concurrency: int = 8
    ) -> Iterator[Prediction | BadPicture | PictureRefused]:
        """Yields the prediction of each picture, in order; for a picture that cannot be read, the error that says why.

        At most `concurrency` requests are in flight, and `pictures` is read no further ahead. Raises the errors that
        do not concern one picture: Busy, Unreachable and other Problems.
        """
        _check_concurrency(concurrency)
        waiting: deque[Future[Prediction]] = deque()
        with ThreadPoolExecutor(concurrency, "inkling") as pool:
            try:
                for picture in pictures:
                    waiting.append(pool.submit(self.predict, picture))
                    if len(waiting) == concurrency:
                        yield _prediction_or_error(waiting.popleft().result)
                while waiting:
                    yield _prediction_or_error(waiting.popleft().result)
            finally:
                for future in waiting:
                    future.cancel()

    def feedback(self, picture: Picture, label: int) -> StoredFeedback:
        """Stores a picture and its label, the digit 0 to 9 that it shows. Needs the key.

        A new label of the same picture replaces the old one.
        """
        return self._do(_feedback(_encoded(picture), label))

    def feedback_counts(self) -> FeedbackCounts:
        """Counts the feedback. Needs the key."""
        return self._do(_Call("GET", "/feedback", _counts))

    def delete_feedback(self, id: str) -> None:  # noqa: A002
        """Deletes feedback by its id. Needs the key. Raises NotFound."""
        self._do(_Call("DELETE", f"/feedback/{_segment(id)}", lambda _: None, repeatable=False))

    def retrain(
        self, *, follow: bool = False, idempotency_key: str | None = None, **parameters: Unpack[Parameters]
    ) -> Job:
        """Starts a retraining; the service chooses what is not given. Needs the key.

        follow: wait until the job has ended, and return its last state. idempotency_key: the same key within 24 hours
        returns the same job; by default a random key, so that a repeated request never starts a second job. Raises
        Conflict while another job runs, Problem for an invalid parameter.
        """
        job = self._do(_retrain(parameters, idempotency_key))
        if follow:
            *_, job = self.follow(job.id)
        return job

    def jobs(self) -> tuple[Job, ...]:
        """The retraining jobs, newest first."""
        return self._do(_Call("GET", "/retrain", _jobs))

    def job(self, id: str) -> Job:  # noqa: A002 the member's own name
        """One job; with the key, including its log. Raises NotFound."""
        return self._do(_Call("GET", f"/retrain/{_segment(id)}", _job))

    def cancel(self, id: str) -> Job:  # noqa: A002
        """Requests the end of a job. Needs the key. Raises NotFound, or Conflict if it has ended."""
        return self._do(_Call("DELETE", f"/retrain/{_segment(id)}", _job, repeatable=False))

    def follow(self, id: str) -> Iterator[Job]:  # noqa: A002
        """Yields the job now and at each change until it has ended; reconnects when the connection breaks."""
        path, retry = f"/retrain/{_segment(id)}/events", _Retry(self)
        while True:
            try:
                with self._http.stream("GET", path, timeout=_STREAM_TIMEOUT) as answer:
                    if not answer.is_success:
                        answer.read()
                        self._check(answer)
                    for line in answer.iter_lines():
                        if (job := self._job_event(line)) is not None:
                            retry.reset()
                            yield job
                            if job.ended:
                                return
                raise httpx.ReadError("the stream ended before the job did")
            except (httpx.HTTPError, Busy) as error:
                pause = retry.pause(error)
            time.sleep(pause)

    def versions(self) -> Versions:
        """The saved versions and which one is active."""
        return self._do(_Call("GET", "/models", _versions))

    def activate(self, version: str) -> Version:
        """Makes a version the active one; an older version rolls back. Needs the key.

        Raises NotFound, or Conflict for a version that does not load: the active one stays.
        """
        return self._do(_Call("POST", f"/models/{_segment(version)}/activate", _version))

    def _do(self, call: _Call[T]) -> T:
        retry = _Retry(self)
        while True:
            try:
                return self._read(self._http.request(call.method, call.path, **call.arguments), call)
            except (httpx.HTTPError, Busy) as error:
                pause = retry.pause(error, call.repeatable)
            time.sleep(pause)


class AsyncClient(_BaseClient[httpx.AsyncClient]):
    """A client for asyncio; takes the same arguments as Client, and each method does the same."""

    _http_class = httpx.AsyncClient

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def predict(self, picture: Picture) -> Prediction:
        """As Client.predict."""
        return await self._do(_predict(await asyncio.to_thread(_encoded, picture)))

    async def predict_many(
        self, pictures: Iterable[Picture], *, concurrency: int = 8
    ) -> AsyncIterator[Prediction | BadPicture | PictureRefused]:
        """As Client.predict_many."""
        _check_concurrency(concurrency)
        waiting: deque[asyncio.Task[Prediction]] = deque()
        try:
            for picture in pictures:
                waiting.append(asyncio.create_task(self.predict(picture)))
                if len(waiting) == concurrency:
                    await asyncio.wait([waiting[0]])
                    yield _prediction_or_error(waiting.popleft().result)
            while waiting:
                await asyncio.wait([waiting[0]])
                yield _prediction_or_error(waiting.popleft().result)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def feedback(self, picture: Picture, label: int) -> StoredFeedback:
        """As Client.feedback."""
        return await self._do(_feedback(await asyncio.to_thread(_encoded, picture), label))

    async def feedback_counts(self) -> FeedbackCounts:
        """As Client.feedback_counts."""
        return await self._do(_Call("GET", "/feedback", _counts))

    async def delete_feedback(self, id: str) -> None:  # noqa: A002
        """As Client.delete_feedback."""
        await self._do(_Call("DELETE", f"/feedback/{_segment(id)}", lambda _: None, repeatable=False))

    async def retrain(
        self, *, follow: bool = False, idempotency_key: str | None = None, **parameters: Unpack[Parameters]
    ) -> Job:
        """As Client.retrain."""
        job = await self._do(_retrain(parameters, idempotency_key))
        if follow:
            async for event in self.follow(job.id):
                job = event
        return job

    async def jobs(self) -> tuple[Job, ...]:
        """As Client.jobs."""
        return await self._do(_Call("GET", "/retrain", _jobs))

    async def job(self, id: str) -> Job:  # noqa: A002
        """As Client.job."""
        return await self._do(_Call("GET", f"/retrain/{_segment(id)}", _job))

    async def cancel(self, id: str) -> Job:  # noqa: A002
        """As Client.cancel."""
        return await self._do(_Call("DELETE", f"/retrain/{_segment(id)}", _job, repeatable=False))

    async def follow(self, id: str) -> AsyncIterator[Job]:  # noqa: A002
        """As Client.follow."""
        path, retry = f"/retrain/{_segment(id)}/events", _Retry(self)
        while True:
            try:
                async with self._http.stream("GET", path, timeout=_STREAM_TIMEOUT) as answer:
                    if not answer.is_success:
                        await answer.aread()
                        self._check(answer)
                    async for line in answer.aiter_lines():
                        if (job := self._job_event(line)) is not None:
                            retry.reset()
                            yield job
                            if job.ended:
                                return
                raise httpx.ReadError("the stream ended before the job did")
            except (httpx.HTTPError, Busy) as error:
                pause = retry.pause(error)
            await asyncio.sleep(pause)

    async def versions(self) -> Versions:
        """As Client.versions."""
        return await self._do(_Call("GET", "/models", _versions))

    async def activate(self, version: str) -> Version:
        """As Client.activate."""
        return await self._do(_Call("POST", f"/models/{_segment(version)}/activate", _version))

    async def _do(self, call: _Call[T]) -> T:
        retry = _Retry(self)
        while True:
            try:
                return self._read(await self._http.request(call.method, call.path, **call.arguments), call)
            except (httpx.HTTPError, Busy) as error:
                pause = retry.pause(error, call.repeatable)
            await asyncio.sleep(pause)


@dataclass(frozen=True)
class _Call(Generic[T]):
    """A request, and the function that parses the JSON of its answer.

    repeatable: whether to send it again after its answer was lost; one that was refused with 503 always may be.
    """

    method: str
    path: str
    parse: Callable[[Any], T]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    repeatable: bool = True


def _predict(data: bytes) -> _Call[Prediction]:
    headers = {"Content-Type": "application/octet-stream"}
    return _Call("POST", "/predict", _prediction, {"content": data, "headers": headers})


def _feedback(data: bytes, label: int) -> _Call[StoredFeedback]:
    return _Call("POST", "/feedback", _stored_feedback, {"files": {"file": data}, "data": {"label": str(label)}})


def _retrain(parameters: Parameters, idempotency_key: str | None) -> _Call[Job]:
    content = json.dumps(parameters)  # httpx's own `json` raises ValueError for NaN, which the service refuses
    headers = {"Content-Type": "application/json", "Idempotency-Key": idempotency_key or uuid.uuid4().hex}
    return _Call("POST", "/retrain", _job, {"content": content, "headers": headers})


class _Retry:
    """Decides whether and when to repeat a request: until `retry_seconds` after the last success."""

    def __init__(self, client: Client | AsyncClient) -> None:
        self._client = client
        self.reset()

    def reset(self) -> None:
        self._deadline = time.monotonic() + self._client._retry_seconds
        self._tries = 0

    def pause(self, error: httpx.HTTPError | Busy, repeatable: bool = True) -> float:
        """Seconds until the next attempt. Raises the error as a ClientError if there is to be none."""
        seconds = self._seconds(error, repeatable)
        if seconds is None or time.monotonic() + seconds > self._deadline:
            if isinstance(error, Busy):
                raise error
            raise self._client._unreachable(f"does not answer: {str(error) or type(error).__name__}") from error
        self._tries += 1
        return seconds

    def _seconds(self, error: httpx.HTTPError | Busy, repeatable: bool) -> float | None:
        """Adds jitter, so that many clients do not come back at once. None: do not repeat."""
        if isinstance(error, Busy):
            asked = error.retry_after
            return None if asked is None else asked * random.uniform(1, 1.2)  # noqa: S311
        unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
        lost = isinstance(error, httpx.NetworkError | httpx.TimeoutException | httpx.RemoteProtocolError)
        if not unsent and not (lost and repeatable):
            return None
        longest: float = min(_FIRST_PAUSE * 2**self._tries, _LONGEST_PAUSE)
        return longest * random.uniform(0.5, 1)  # noqa: S311


_PROBLEM_CLASSES: dict[int | str, type[Problem]] = {
    401: KeyRefused,
    403: KeyRefused,
    404: NotFound,
    409: Conflict,
    413: PictureRefused,
    415: PictureRefused,
    503: Busy,
    "/problems/empty-body": PictureRefused,
    "/problems/corrupt-picture": PictureRefused,
    "/problems/nothing-drawn": PictureRefused,
}


def _service_url(text: str) -> httpx.URL:
    """Raises ClientError."""
    try:
        urllib.parse.urlsplit(text)  # finds an unclosed bracket, which httpx does not
        url = httpx.URL(text.rstrip("/"))
        url.host.encode("idna")  # as for its DNS lookup
    except (httpx.InvalidURL, ValueError) as error:
        raise ClientError(f"{text!r} is not a URL: {error}; url, or INKLING_URL, names the service") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ClientError(f"{text!r} does not start with http://HOST or https://HOST; INKLING_URL names the service")
    return url


def _problem(answer: httpx.Response) -> Problem:
    try:
        found = answer.json()
    except ValueError:
        found = None
    body: dict[str, Any] = found if isinstance(found, dict) else {"detail": " ".join(answer.text.split())[:200]}
    name = str(body.pop("type", "about:blank"))
    title, detail = str(body.pop("title", answer.reason_phrase)), str(body.pop("detail", ""))
    body.pop("status", None)
    kind = _PROBLEM_CLASSES.get(name) or _PROBLEM_CLASSES.get(answer.status_code, Problem)
    problem = kind(answer.status_code, name, title, detail, body)
    if isinstance(problem, Busy):
        problem.retry_after = _retry_after(answer.headers.get("Retry-After", ""))
    return problem


def _retry_after(value: str) -> float | None:
    """The seconds that a Retry-After header (RFC 9110: seconds or a date) asks to wait; None if it is invalid."""
    if value.strip().isdecimal():
        return float(value)
    try:
        seconds: float = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        return max(0.0, seconds)
    except ValueError:
        return None


def _prediction_or_error(result: Callable[[], Prediction]) -> Prediction | BadPicture | PictureRefused:
    try:
        return result()
    except (BadPicture, PictureRefused) as error:
        return error


def _check_concurrency(concurrency: int) -> None:
    if concurrency < 1:
        raise ValueError(f"concurrency: expected 1 or more, got {concurrency}")


def _segment(id: str) -> str:  # noqa: A002
    """The text, quoted as one segment of a path. Raises ClientError if it is empty."""
    if not id:
        raise ClientError("expected a name or an id, got an empty one")
    return urllib.parse.quote(id, safe="").replace(".", "%2E")


def _from_json(kind: type[T], body: Mapping[str, Any]) -> T:
    """An instance of the dataclass. Members that it lacks are ignored: a newer service may send more."""
    values = {member.name: body[member.name] for member in fields(kind) if member.name in body}  # type: ignore[arg-type]
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = tuple(value)
        elif name.endswith("_at") and value is not None:
            values[name] = datetime.fromisoformat(value)
    return kind(**values)


_prediction = functools.partial(_from_json, Prediction)
_stored_feedback = functools.partial(_from_json, StoredFeedback)
_version = functools.partial(_from_json, Version)
_job = functools.partial(_from_json, Job)


def _counts(body: Any) -> FeedbackCounts:
    by_label = {int(label): count for label, count in body["by_label"].items()}
    by_day = {date.fromisoformat(day): count for day, count in body["by_day"].items()}
    return FeedbackCounts(body["total"], by_label, by_day)


def _versions(body: Any) -> Versions:
    return Versions(body["active"], tuple(map(_version, body["versions"])))


def _jobs(body: Any) -> tuple[Job, ...]:
    return tuple(map(_job, body["jobs"]))


def _encoded(picture: Picture) -> bytes:
    """The bytes of an image file of the picture. Raises BadPicture."""
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, str | os.PathLike):
        try:
            return Path(picture).read_bytes()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise BadPicture(f"{os.fspath(picture)} cannot be read: {reason}") from error
    # The caller of an object of these libraries has imported them.
    if "PIL.Image" in sys.modules and isinstance(picture, sys.modules["PIL.Image"].Image):
        return _png_of_image(picture)
    if "numpy" in sys.modules and isinstance(picture, sys.modules["numpy"].ndarray):
        return _png_of_array(picture)
    raise BadPicture(
        f"a {type(picture).__name__} is not a picture; expected a path, the bytes of an image file, a Pillow image, "
        "or a NumPy array"
    )


def _png_of_image(image: Image.Image) -> bytes:
    from PIL import ImageOps

    buffer = io.BytesIO()
    try:
        ImageOps.exif_transpose(image).save(buffer, "PNG")
    except (OSError, ValueError) as error:
        raise BadPicture(f"the Pillow image, of mode {image.mode}, cannot be written as PNG: {error}") from error
    return buffer.getvalue()


def _png_of_array(array: NDArray[Any]) -> bytes:
    """Writes 8 bits a channel and unfiltered rows (PNG specification, 3rd edition, chapters 5, 9 and 11)."""
    colours = {(): 0, (3,): 2, (4,): 6}
    if array.ndim < 2 or array.shape[2:] not in colours or 0 in array.shape:
        raise BadPicture(f"an array of shape {list(array.shape)}; expected [H, W], [H, W, 3] or [H, W, 4]")
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):
            raise BadPicture(f"an array of floats from {low:g} to {high:g}; expected 0 to 1, or uint8 from 0 to 255")
        array = (array * 255).round().astype("uint8")
    elif array.dtype != "uint8":
        raise BadPicture(f"an array of {array.dtype}; expected uint8 from 0 to 255, or floats from 0 to 1")
    height, width = array.shape[:2]
    pixels = array.reshape(height, -1)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, colours[array.shape[2:]], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
