"""The short way of POST /predict, for what nearly every request is: one small picture that came whole with its head.

Tasks, events and the messages of ASGI take longer than a prediction does. What is not plainly of that kind is left to
the application, which gives the same answers.
"""

import asyncio
import logging
from collections.abc import Callable
from time import perf_counter

from starlette.requests import Request
from starlette.types import Scope

from app.http.body import find_simple_image, header
from app.http.problems import problem_of
from app.http.schemas import prediction_json
from app.inference import Inference
from app.observability.access_log import CLIENT_LEFT, AccessLog, RequestIds
from models.errors import InklingError
from models.inference.batcher import InferenceResult
from models.preprocessing.decode import is_small

log = logging.getLogger(__name__)

Headers = list[tuple[bytes, bytes]]
Reply = Callable[["PendingResponse", int, Headers, bytes], None]


class FastPredict:
    """Of one worker."""

    path = "/predict"

    def __init__(self, inference: Inference, access_log: AccessLog) -> None:
        self.inference = inference
        self.access_log = access_log

    def take(self, scope: Scope, body: bytes, keep_alive: bool, reply: Reply) -> "PendingResponse | None":
        """Begins to answer a request, and calls `reply` with status, headers and body; None if it is not of the kind.

        It may have replied already when it returns.
        """
        data = find_simple_image(header(scope, b"content-type"), body)
        if data is None or not is_small(data) or len(body) > self.inference.settings.max_upload_bytes:
            return None
        self._own(scope)
        answering = PendingResponse(self, scope, keep_alive, reply)
        answering.begin(data)
        return answering

    def leave(self, scope: Scope) -> None:
        """A client that was gone before its body had come."""
        self._own(scope)
        self.access_log.left(scope)

    def _own(self, scope: Scope) -> None:
        scope.update(method="POST", path=scope["root_path"] + self.path, route=self)


class PendingResponse:
    """A request that is being answered; to uvicorn, the cycle that its connection is at."""

    message_event = asyncio.Event()
    disconnected = False

    def __init__(self, fast_predict: FastPredict, scope: Scope, keep_alive: bool, reply: Reply) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.response_complete = False
        self._inference = fast_predict.inference
        self._access_log = fast_predict.access_log
        self._reply = reply
        self._started = perf_counter()
        self._ids: RequestIds = fast_predict.access_log.ids(scope)

    def begin(self, data: bytes) -> None:
        batcher = self._inference.batcher
        try:
            batcher.admit()
        except InklingError as error:
            self._refuse(error)
            return
        try:
            future = batcher.predict(self._inference.decode(data))
        except InklingError as error:
            batcher.release()
            self._refuse(error)
            return
        except BaseException:
            batcher.release()
            raise
        self.scope["state"]["on_disconnect"] = future.cancel
        future.add_done_callback(self._done)

    def _done(self, future: asyncio.Future[InferenceResult]) -> None:
        self._inference.batcher.release()
        if future.cancelled():
            self._access_log.end(self.scope, self._ids, CLIENT_LEFT, self._started)
            return
        try:
            reading = future.result()
            body = prediction_json(reading)
        except Exception as error:
            if not isinstance(error, InklingError):
                log.exception("the request failed")
            self._refuse(error)
        else:
            self._inference.metrics.prediction(reading.prediction)
            self._send(200, [(b"content-type", b"application/json")], body)

    def _refuse(self, error: Exception) -> None:
        problem = problem_of(Request(self.scope), error)
        self.scope["state"]["problem"] = problem.name
        self._send(*problem.answer())

    def _send(self, status: int, headers: Headers, body: bytes) -> None:
        self.response_complete = True
        self._access_log.end(self.scope, self._ids, status, self._started)
        self._reply(self, status, headers + self._ids.headers, body)
