"""Talks to a running service, for the commands of the shell."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from app.settings import Settings
from models.errors import InklingError

SECONDS = 30
SILENCE_SECONDS = 40
"""An event stream says something every 15 s."""


class CallFailed(InklingError):
    """The service refused, or did not answer; the message says what it said."""


class Client:
    """One service, at INKLING_URL, with the key that the settings name. Every call raises CallFailed."""

    def __init__(self, settings: Settings) -> None:
        self.url = settings.url.rstrip("/")
        key = settings.key()
        headers = httpx.Headers({} if key is None else {"X-API-Key": key}, encoding="utf-8")
        try:
            self._http = httpx.Client(base_url=self.url, timeout=SECONDS, headers=headers)
        except (httpx.InvalidURL, ValueError) as error:
            raise CallFailed(f"INKLING_URL={settings.url!r} is no URL: {error}") from error

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def versions(self) -> dict[str, Any]:
        return self._call("GET", "/models")

    def activate(self, version: str) -> dict[str, Any]:
        return self._call("POST", f"/models/{version}/activate")

    def retrain(self, parameters: dict[str, Any]) -> dict[str, Any]:
        return self._call("POST", "/retrain", json=parameters)

    def job(self, name: str) -> dict[str, Any]:
        return self._call("GET", f"/retrain/{name}")

    def cancel(self, name: str) -> dict[str, Any]:
        return self._call("DELETE", f"/retrain/{name}")

    def follow(self, name: str) -> Iterator[dict[str, Any]]:
        """The job now and whenever it changes, until it has ended."""
        try:
            with self._http.stream("GET", f"/retrain/{name}/events", timeout=SILENCE_SECONDS) as answer:
                if answer.is_error:
                    answer.read()
                    raise _refusal(answer)
                for line in answer.iter_lines():
                    if line.startswith("data:"):
                        yield json.loads(line.removeprefix("data:"))
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def feedback(self) -> dict[str, Any]:
        return self._call("GET", "/feedback")

    def correct(self, picture: Path, label: int) -> dict[str, Any]:
        """Raises CallFailed, also for a picture that can not be read."""
        try:
            data = picture.read_bytes()
        except OSError as error:
            raise CallFailed(f"{picture} can not be read: {error.strerror}") from error
        return self._call("POST", "/feedback", files={"file": (picture.name, data)}, data={"label": str(label)})

    def delete(self, correction: str) -> None:
        self._call("DELETE", f"/feedback/{correction}")

    def _call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **arguments)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error
        if answer.is_error:
            raise _refusal(answer)
        try:
            body: dict[str, Any] = answer.json() if answer.content else {}
        except ValueError as error:
            raise CallFailed(f"{self.url} answers, but not as Inkling does; INKLING_URL names the service") from error
        return body

    def _unreachable(self, error: Exception) -> CallFailed:
        return CallFailed(f"{self.url} does not answer: {error}; INKLING_URL names the service")


def _refusal(answer: httpx.Response) -> CallFailed:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.text[:200]
    return CallFailed(f"{answer.status_code}: {detail}")
