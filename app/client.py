"""Talks to an Inkling service from Python. Needs httpx alone, and nothing else of Inkling: this file may be copied.

    with Client("http://127.0.0.1:8000", key="...") as client:
        print(client.predict("seven.png").digit)

Every call raises one of these:

    ClientError
    ├── BadPicture        nothing was sent: a file that can not be read, an array of the wrong kind
    ├── Unreachable       no answer, or none that Inkling gives
    └── Problem           the service refused, and said why (RFC 9457)
        ├── PictureRefused   413, 415, 422: too large, of no known format, corrupt, or nothing is drawn
        ├── KeyRefused       401, 403: the key is missing or wrong, or the service has none
        ├── NotFound         404: no such version, job or correction
        ├── Conflict         409: another job runs, a job has ended, or a version does not load
        └── Busy             503: no room right now, after the retries

What can safely be sent again is, for `patience` seconds: when the service can not be reached, and when it answers 503
with a Retry-After.
"""

from __future__ import annotations

import asyncio
import email.utils
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
"""A path; the bytes of a picture file; a Pillow image; an array [H, W], [H, W, 3] or [H, W, 4], uint8 or float 0..1."""

T = TypeVar("T")

URL = "http://127.0.0.1:8000"
TIMEOUT, PATIENCE = 30.0, 10.0
_SILENCE_SECONDS = 40.0  # an event stream says something every 15 s
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None)  # concurrency is the caller's to bound


class ClientError(Exception):
    """The message is one line: what was wrong, and what was expected."""


class BadPicture(ClientError):
    pass


class Unreachable(ClientError):
    pass


class Problem(ClientError):
    """type: `/problems/NAME`, as docs/http.md lists them; members: whatever else came, as `limit` or `job`.

    An error that is no problem+json, such as a proxy's, has the type `about:blank`.
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
    """job: the one that is in the way, where it is one."""

    @property
    def job(self) -> str | None:
        return self.members.get("job")


class Busy(Problem):
    """retry_after: seconds, None where the service did not say."""

    retry_after: float | None = None


@dataclass(frozen=True)
class Prediction:
    """digit: the best guess, also when `unsure`. confidence: 0..1, calibrated: of answers given with 0.9, nine in ten
    are right. probabilities: of the digits 0 to 9. model: the version that answered. steps: what normalisation did.
    """

    digit: int
    confidence: float
    probabilities: tuple[float, ...]
    verdict: Literal["digit", "unsure"]
    model: str
    steps: tuple[str, ...]


@dataclass(frozen=True)
class Correction:
    """id: the sha256 of the normalised picture. prediction, model: what was read, and by which version.

    replaced: whether this label replaced another one.
    """

    id: str
    label: int
    prediction: int
    model: str
    created_at: datetime
    replaced: bool


@dataclass(frozen=True)
class Counts:
    """How many corrections the service holds."""

    total: int
    by_label: Mapping[int, int]
    by_day: Mapping[date, int]


@dataclass(frozen=True)
class Version:
    """state: released, trained, accepted or rejected. metrics: on held-out digits."""

    version: str
    network: str
    created_at: datetime
    parent: str | None
    state: str
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class Versions:
    """Newest first. active: the one that answers, None where none can."""

    active: str | None
    versions: tuple[Version, ...]


@dataclass(frozen=True)
class Job:
    """progress: 0..1. reason: why it ended as it did. version: what it saved, also when rejected.

    log: the trainer's last lines, for those with the key who ask for this one job.
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
    """What to train. network: another one than the active version's starts from scratch. epochs: passes over MNIST."""

    network: Literal["net", "sequential", "convnet"]
    epochs: int
    start_from: Literal["current", "scratch"]
    use_feedback: bool
    seed: int
    learning_rate: float
    activate: Literal["auto", "manual"]


class Client:
    """One service. Threads may share it.

    url, key: INKLING_URL and INKLING_API_KEY of the environment where they are not given. timeout: seconds that the
    service may stay silent; patience: seconds for which a call that failed is tried again, 0 for not at all.
    Raises ClientError for a URL or a key that can not be one.
    """

    def __init__(
        self, url: str | None = None, key: str | None = None, *, timeout: float = TIMEOUT, patience: float = PATIENCE
    ) -> None:
        self._place = _Place.of(url, key)
        self._patience = patience
        self._http = httpx.Client(**self._place.settings(timeout))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def predict(self, picture: Picture) -> Prediction:
        """Reads the digit in one picture. Raises BadPicture, PictureRefused, Busy, Unreachable."""
        return self._do(_predict(_encoded(picture)))

    def predict_many(
        self, pictures: Iterable[Picture], *, concurrency: int = 8
    ) -> Iterator[Prediction | BadPicture | PictureRefused]:
        """Yields what became of each picture, in order; of one that can not be read, the error that says why.

        At most `concurrency` requests are under way, and `pictures` is read no further ahead than that. Raises the
        errors that are not about one picture: Busy, Unreachable, and any other Problem.
        """
        _check_concurrency(concurrency)
        waiting: deque[Future[Prediction]] = deque()
        with ThreadPoolExecutor(concurrency, "inkling") as pool:
            try:
                for picture in pictures:
                    waiting.append(pool.submit(self.predict, picture))
                    if len(waiting) == concurrency:
                        yield _outcome(waiting.popleft().result)
                while waiting:
                    yield _outcome(waiting.popleft().result)
            finally:
                for future in waiting:
                    future.cancel()

    def feedback(self, picture: Picture, label: int) -> Correction:
        """Says what digit, 0 to 9, a picture shows; a new label replaces the old one. Needs the key."""
        return self._do(_feedback(_encoded(picture), label))

    def feedback_counts(self) -> Counts:
        """How many corrections there are. Needs the key."""
        return self._do(_Call("GET", "/feedback", _counts))

    def delete_feedback(self, correction: str) -> None:
        """Deletes a correction and its picture, by its id. Needs the key. Raises NotFound."""
        self._do(_Call("DELETE", f"/feedback/{_segment(correction)}", _nothing, repeatable=False))

    def retrain(
        self, *, follow: bool = False, idempotency_key: str | None = None, **parameters: Unpack[Parameters]
    ) -> Job:
        """Has the service train a better version; what is not given is the service's to choose. Needs the key.

        follow: wait for the job's end and return it as it ended, however that was. idempotency_key: the same one within
        24 hours gives the same job; one is made up where none is given, so that a retry never starts a second job.
        Raises Conflict while another job is not done, Problem for a parameter that does not fit.
        """
        job = self._do(_retrain(parameters, idempotency_key))
        if follow:
            for news in self.follow(job.id):
                job = news
        return job

    def jobs(self) -> tuple[Job, ...]:
        """The retraining jobs, newest first."""
        return self._do(_Call("GET", "/retrain", _jobs))

    def job(self, id: str) -> Job:  # noqa: A002 the member's own name
        """One job, with its log where the key is known. Raises NotFound."""
        return self._do(_Call("GET", f"/retrain/{_segment(id)}", _job))

    def cancel(self, id: str) -> Job:  # noqa: A002
        """Asks for a job's end. Needs the key. Raises NotFound, and Conflict where it has ended."""
        return self._do(_Call("DELETE", f"/retrain/{_segment(id)}", _job, repeatable=False))

    def follow(self, id: str) -> Iterator[Job]:  # noqa: A002
        """Yields a job now and whenever it changes, until it has ended; connects again when the connection breaks."""
        path, retry = f"/retrain/{_segment(id)}/events", _Retry(self._place, self._patience)
        while True:
            try:
                with self._http.stream("GET", path, timeout=_SILENCE_SECONDS) as answer:
                    if not answer.is_success:
                        answer.read()
                        self._place.check(answer)
                    for line in answer.iter_lines():
                        if (job := self._place.news(line)) is not None:
                            retry.begin_again()
                            yield job
                            if job.ended:
                                return
                raise httpx.ReadError("the stream ended before the job did")
            except (httpx.HTTPError, Busy) as error:
                pause = retry.pause(error)
            time.sleep(pause)

    def versions(self) -> Versions:
        """The saved versions, and which is active."""
        return self._do(_Call("GET", "/models", _versions))

    def activate(self, version: str) -> Version:
        """Makes a version the one that answers; an older one rolls back. Needs the key.

        Raises NotFound, and Conflict for one that does not load: the active one stays.
        """
        return self._do(_Call("POST", f"/models/{_segment(version)}/activate", _version))

    def _do(self, call: _Call[T]) -> T:
        retry = _Retry(self._place, self._patience)
        while True:
            try:
                return self._place.read(self._http.request(call.method, call.path, **call.arguments), call)
            except (httpx.HTTPError, Busy) as error:
                pause = retry.pause(error, call.repeatable)
            time.sleep(pause)


class AsyncClient:
    """As Client, for asyncio."""

    def __init__(
        self, url: str | None = None, key: str | None = None, *, timeout: float = TIMEOUT, patience: float = PATIENCE
    ) -> None:
        self._place = _Place.of(url, key)
        self._patience = patience
        self._http = httpx.AsyncClient(**self._place.settings(timeout))

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
                    yield _outcome(waiting.popleft().result)
            while waiting:
                await asyncio.wait([waiting[0]])
                yield _outcome(waiting.popleft().result)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def feedback(self, picture: Picture, label: int) -> Correction:
        """As Client.feedback."""
        return await self._do(_feedback(await asyncio.to_thread(_encoded, picture), label))

    async def feedback_counts(self) -> Counts:
        """As Client.feedback_counts."""
        return await self._do(_Call("GET", "/feedback", _counts))

    async def delete_feedback(self, correction: str) -> None:
        """As Client.delete_feedback."""
        await self._do(_Call("DELETE", f"/feedback/{_segment(correction)}", _nothing, repeatable=False))

    async def retrain(
        self, *, follow: bool = False, idempotency_key: str | None = None, **parameters: Unpack[Parameters]
    ) -> Job:
        """As Client.retrain."""
        job = await self._do(_retrain(parameters, idempotency_key))
        if follow:
            async for news in self.follow(job.id):
                job = news
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
        path, retry = f"/retrain/{_segment(id)}/events", _Retry(self._place, self._patience)
        while True:
            try:
                async with self._http.stream("GET", path, timeout=_SILENCE_SECONDS) as answer:
                    if not answer.is_success:
                        await answer.aread()
                        self._place.check(answer)
                    async for line in answer.aiter_lines():
                        if (job := self._place.news(line)) is not None:
                            retry.begin_again()
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
        retry = _Retry(self._place, self._patience)
        while True:
            try:
                return self._place.read(await self._http.request(call.method, call.path, **call.arguments), call)
            except (httpx.HTTPError, Busy) as error:
                pause = retry.pause(error, call.repeatable)
            await asyncio.sleep(pause)


@dataclass(frozen=True)
class _Call(Generic[T]):
    """One request, and what is made of the JSON that answers it.

    repeatable: whether sending it twice comes to the same as once; one that was refused can be sent again anyway.
    """

    method: str
    path: str
    make: Callable[[Any], T]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    repeatable: bool = True


def _predict(data: bytes) -> _Call[Prediction]:
    headers = {"Content-Type": "application/octet-stream"}
    return _Call("POST", "/predict", _prediction, {"content": data, "headers": headers})


def _feedback(data: bytes, label: int) -> _Call[Correction]:
    return _Call("POST", "/feedback", _correction, {"files": {"file": data}, "data": {"label": str(label)}})


def _retrain(parameters: Parameters, idempotency_key: str | None) -> _Call[Job]:
    content = json.dumps(parameters)  # also NaN, for the service to refuse
    headers = {"Content-Type": "application/json", "Idempotency-Key": idempotency_key or uuid.uuid4().hex}
    return _Call("POST", "/retrain", _job, {"content": content, "headers": headers})


@dataclass(frozen=True)
class _Place:
    """Where the service is, and what its answers mean."""

    url: httpx.URL
    headers: httpx.Headers

    @classmethod
    def of(cls, url: str | None, key: str | None) -> _Place:
        """Raises ClientError."""
        text = url or os.environ.get("INKLING_URL") or URL
        try:
            urllib.parse.urlsplit(text)  # sees a bracket that httpx does not
            found = httpx.URL(text.rstrip("/"))
            found.host.encode("idna")  # as it is looked up
        except (httpx.InvalidURL, ValueError) as error:
            raise ClientError(f"{text!r} is no URL: {error}; url, or INKLING_URL, names the service") from error
        if found.scheme not in ("http", "https") or not found.host:
            raise ClientError(f"{text!r} is no URL that starts with http://HOST or https://HOST; INKLING_URL names it")
        secret = (os.environ.get("INKLING_API_KEY", "") if key is None else key).strip()
        if not secret.isprintable():
            raise ClientError("the key (key, or INKLING_API_KEY) has a line break or another control character in it")
        return cls(found, httpx.Headers({"X-API-Key": secret} if secret else {}, encoding="utf-8"))

    def settings(self, timeout: float) -> dict[str, Any]:
        """What both of httpx's clients are made with."""
        return {"base_url": self.url, "headers": self.headers, "timeout": timeout, "limits": _LIMITS}

    def __str__(self) -> str:
        return str(self.url.copy_with(userinfo=b""))

    def read(self, answer: httpx.Response, call: _Call[T]) -> T:
        """Raises Problem, Unreachable."""
        self.check(answer)
        try:
            return call.make(answer.json() if answer.content else None)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise self._stranger(answer) from error

    def check(self, answer: httpx.Response) -> None:
        """Raises Problem, Unreachable for whatever is no success."""
        if answer.is_error:
            raise _problem(answer)
        if not answer.is_success:
            raise self._stranger(answer)

    def news(self, line: str) -> Job | None:
        """The job in a line of an event stream, None where it has none. Raises Unreachable."""
        if not line.startswith("data:"):
            return None
        try:
            return _job(json.loads(line.removeprefix("data:")))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise Unreachable(f"{self} sends events, but not as Inkling does") from error

    def silence(self, error: httpx.HTTPError) -> Unreachable:
        reason = str(error) or type(error).__name__
        return Unreachable(f"{self} does not answer: {reason}; url, or INKLING_URL, names the service")

    def _stranger(self, answer: httpx.Response) -> Unreachable:
        return Unreachable(
            f"{self} answers ({answer.status_code}), but not as Inkling does; url, or INKLING_URL, names the service"
        )


class _Retry:
    """When to try again, and when no more: `patience` seconds after the last success."""

    def __init__(self, place: _Place, patience: float) -> None:
        self._place = place
        self._patience = patience
        self.begin_again()

    def begin_again(self) -> None:
        self._deadline = time.monotonic() + self._patience
        self._tries = 0

    def pause(self, error: httpx.HTTPError | Busy, repeatable: bool = True) -> float:
        """Seconds until the next attempt. Raises the error, in the caller's terms, where there shall be none."""
        seconds = self._seconds(error, repeatable)
        if seconds is None or time.monotonic() + seconds > self._deadline:
            raise error if isinstance(error, Busy) else self._place.silence(error) from error
        self._tries += 1
        return seconds

    def _seconds(self, error: httpx.HTTPError | Busy, repeatable: bool) -> float | None:
        """At random a little longer than asked for, so that many clients do not come back at once."""
        if isinstance(error, Busy):
            asked = error.retry_after
            return None if asked is None else asked * random.uniform(1, 1.2)  # noqa: S311
        unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
        lost = isinstance(error, httpx.NetworkError | httpx.TimeoutException | httpx.RemoteProtocolError)
        if not unsent and not (lost and repeatable):
            return None
        longest: float = min(_FIRST_PAUSE * 2**self._tries, _LONGEST_PAUSE)
        return longest * random.uniform(0.5, 1)  # noqa: S311


_KINDS: dict[int | str, type[Problem]] = {
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


def _problem(answer: httpx.Response) -> Problem:
    try:
        found = answer.json()
    except ValueError:
        found = None
    body: dict[str, Any] = found if isinstance(found, dict) else {"detail": " ".join(answer.text.split())[:200]}
    name = str(body.pop("type", "about:blank"))
    title, detail = str(body.pop("title", answer.reason_phrase)), str(body.pop("detail", ""))
    body.pop("status", None)
    kind = _KINDS.get(name) or _KINDS.get(answer.status_code, Problem)
    problem = kind(answer.status_code, name, title, detail, body)
    if isinstance(problem, Busy):
        problem.retry_after = _retry_after(answer.headers.get("Retry-After", ""))
    return problem


def _retry_after(value: str) -> float | None:
    """RFC 9110: seconds, or a date."""
    if value.strip().isdecimal():
        return float(value)
    try:
        seconds: float = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        return max(0.0, seconds)
    except ValueError:
        return None


def _outcome(result: Callable[[], Prediction]) -> Prediction | BadPicture | PictureRefused:
    try:
        return result()
    except (BadPicture, PictureRefused) as error:
        return error


def _check_concurrency(concurrency: int) -> None:
    if concurrency < 1:
        raise ValueError(f"concurrency: expected 1 or more, got {concurrency}")


def _segment(id: str) -> str:  # noqa: A002
    """As one segment of a path, whatever it holds."""
    if not id:
        raise ClientError("expected a name or an id, got an empty one")
    return urllib.parse.quote(id, safe="").replace(".", "%2E")


def _nothing(_: Any) -> None:
    """Of an empty answer."""


def _known(kind: type[Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """The members that a result has; a newer service may send more. Times become datetimes."""
    found = {part.name: body[part.name] for part in fields(kind) if part.name in body}
    times = {name: datetime.fromisoformat(value) for name, value in found.items() if name.endswith("_at") and value}
    return found | times


def _prediction(body: Any) -> Prediction:
    lists = {"probabilities": tuple(body["probabilities"]), "steps": tuple(body["steps"])}
    return Prediction(**_known(Prediction, body) | lists)


def _correction(body: Any) -> Correction:
    return Correction(**_known(Correction, body))


def _counts(body: Any) -> Counts:
    by_label = {int(label): count for label, count in body["by_label"].items()}
    by_day = {date.fromisoformat(day): count for day, count in body["by_day"].items()}
    return Counts(body["total"], by_label, by_day)


def _version(body: Any) -> Version:
    return Version(**_known(Version, body))


def _versions(body: Any) -> Versions:
    return Versions(body["active"], tuple(map(_version, body["versions"])))


def _job(body: Any) -> Job:
    return Job(**_known(Job, body))


def _jobs(body: Any) -> tuple[Job, ...]:
    return tuple(map(_job, body["jobs"]))


def _encoded(picture: Picture) -> bytes:
    """The bytes of a picture file. Raises BadPicture."""
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, str | os.PathLike):
        try:
            return Path(picture).read_bytes()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise BadPicture(f"{os.fspath(picture)} can not be read: {reason}") from error
    # Whoever has such an object has imported its library already.
    if "PIL.Image" in sys.modules and isinstance(picture, sys.modules["PIL.Image"].Image):
        return _png_of_image(picture)
    if "numpy" in sys.modules and isinstance(picture, sys.modules["numpy"].ndarray):
        return _png_of_array(picture)
    raise BadPicture(
        f"a {type(picture).__name__} is no picture; expected a path, the bytes of a picture file, a Pillow image, "
        "or a NumPy array"
    )


def _png_of_image(image: Image.Image) -> bytes:
    from PIL import ImageOps

    buffer = io.BytesIO()
    try:
        ImageOps.exif_transpose(image).save(buffer, "PNG")
    except (OSError, ValueError) as error:
        raise BadPicture(f"the Pillow image, of mode {image.mode}, can not be written as PNG: {error}") from error
    return buffer.getvalue()


def _png_of_array(array: NDArray[Any]) -> bytes:
    """8 bits a channel, each row unfiltered (PNG specification, 3rd edition, chapters 5, 9 and 11)."""
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
