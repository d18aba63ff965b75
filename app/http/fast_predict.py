"""Answers most POST /predict requests directly from the protocol: those with one small image that arrived as a whole.

The tasks, events and messages of ASGI take longer than a prediction. Every other request goes to the application, whose
route gives the same answers.
"""

import asyncio
import logging
from collections.abc import Callable
from time import perf_counter

from starlette.requests import Request
from starlette.types import Scope

from app.http.body import find_simple_image
from app.http.hosts import Hosts
from app.http.problems import problem_of
from app.http.responses import JSON, CompleteResponse, Headers
from app.http.schemas import prediction_json
from app.inference import Inference
from app.observability.access_log import CLIENT_LEFT, AccessLog
from models.errors import InklingError
from models.inference.batcher import InferenceResult
from models.preprocessing.decode import is_small

log = logging.getLogger(__name__)

Send = Callable[["PendingResponse", CompleteResponse], None]


class FastPredict:
    """The fast path of one worker. It takes the place of the route in a request's scope."""

    path = "/predict"

    def __init__(self, inference: Inference, access_log: AccessLog, hosts: Hosts) -> None:
        self.urls = {self.path.encode(), f"{inference.settings.root_path}{self.path}".encode()}
        self.inference = inference
        self.access_log = access_log
        self.hosts = hosts

    def try_answer(self, scope: Scope, body: bytes, keep_alive: bool, send: Send) -> "PendingResponse | None":
        """Starts to answer a request; calls `send` once, possibly before it returns. None if the route must answer."""
        content_type, hosts = b"", []
        for name, value in scope["headers"]:
            if name == b"content-type":
                content_type = value
            elif name == b"host":
                hosts.append(value)
            elif name == b"content-encoding":
                return None
        if len(hosts) != 1 or not self.hosts.accepts(hosts[0]):
            return None
        image = find_simple_image(content_type, body)
        if image is None or not is_small(image) or len(body) > self.inference.settings.max_upload_bytes:
            return None
        self._complete(scope)
        pending = PendingResponse(self, scope, keep_alive, send)
        pending.begin(image)
        return pending

    def client_left(self, scope: Scope) -> None:
        """Logs a request whose client disconnected before its body was complete."""
        self._complete(scope)
        self.access_log.record_disconnected(scope)

    def _complete(self, scope: Scope) -> None:
        scope.update(method="POST", path=scope["root_path"] + self.path, route=self)


class PendingResponse:
    """A request on the fast path. It has the attributes of uvicorn's RequestResponseCycle that its protocol reads."""

    message_event = asyncio.Event()
    disconnected = response_started = False

    def __init__(self, fast_predict: FastPredict, scope: Scope, keep_alive: bool, send: Send) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.response_complete = False
        self._inference = fast_predict.inference
        self._access_log = fast_predict.access_log
        self._send = send
        self._started = perf_counter()
        self._ids = fast_predict.access_log.ids(scope)

    def begin(self, image: bytes) -> None:
        try:
            future = self._inference.submit(image)
        except InklingError as error:
            self._refuse(error)
            return
        self.scope["state"]["on_disconnect"] = future.cancel
        future.add_done_callback(self._answer)

    def _answer(self, future: asyncio.Future[InferenceResult]) -> None:
        if future.cancelled():
            self._access_log.record(self.scope, self._ids, CLIENT_LEFT, self._started)
            return
        try:
            body = prediction_json(future.result())
        except Exception as error:
            if not isinstance(error, InklingError):
                log.exception("the request failed")
            self._refuse(error)
        else:
            self._finish(200, JSON, body)

    def _refuse(self, error: Exception) -> None:
        self._finish(*problem_of(Request(self.scope), error).response())

    def _finish(self, status: int, headers: Headers, body: bytes) -> None:
        self.response_complete = True
        self._access_log.record(self.scope, self._ids, status, self._started)
        self._send(self, CompleteResponse(status, headers + self._ids.headers, body))
