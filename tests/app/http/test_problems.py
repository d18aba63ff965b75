import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from fastapi import HTTPException, Request

import app
import models
import training
from app.http.problems import INTERNAL_ERROR, Problem, problem_of
from models import errors
from models.contract import PROBLEM_TYPES
from models.errors import InklingError

DOCUMENT = Path(__file__).parents[3] / "docs" / "http.md"

# An error that no request can meet is an internal error, should a request meet it all the same.
STATUSES = {
    "BackupError": 507,
    "BadKey": 500,
    "BrokenPicture": 500,
    "BrokenVersion": 409,
    "Conflict": 503,
    "CorruptPicture": 422,
    "DataError": 500,
    "DatabaseError": 503,
    "DatabaseUnavailable": 503,
    "DeviceError": 503,
    "DeviceLost": 503,
    "FormerSetting": 500,
    "HomeError": 507,
    "InferenceError": 503,
    "InferenceFailed": 503,
    "JobEnded": 409,
    "JobRunning": 409,
    "KeyReused": 422,
    "NothingDrawn": 422,
    "Overloaded": 503,
    "PictureError": 422,
    "PortTaken": 500,
    "RootPathTaken": 500,
    "StartFailed": 500,
    "StorageFull": 507,
    "StoreUnavailable": 503,
    "TooManyPixels": 413,
    "TooComplex": 413,
    "UnknownFormat": 415,
    "UnknownJob": 404,
    "UnknownVersion": 404,
    "UnreadableSource": 500,
    "VersionError": 409,
}


def modules(package: ModuleType) -> Iterator[str]:
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not found.name.endswith("__main__") and ".migrations" not in found.name:
            yield found.name


def below(kind: type[InklingError]) -> Iterator[type[InklingError]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from below(subclass)


def error_classes() -> dict[str, type[InklingError]]:
    for package in (app, models, training):
        for name in modules(package):
            importlib.import_module(name)
    rooms = ("app.", "models.", "training.")
    return {kind.__name__: kind for kind in below(InklingError) if kind.__module__.startswith(rooms)}


def test_every_error_class_is_answered_as_a_problem_with_the_right_status() -> None:
    answers = {name: Problem.of(kind("what was wrong")).response() for name, kind in error_classes().items()}
    assert {name: status for name, (status, _, _) in answers.items()} == STATUSES
    for _, headers, body in answers.values():
        assert (b"content-type", b"application/problem+json") in headers
        assert body.startswith(b'{"type":"/problems/')


def test_an_internal_error_is_logged_and_its_message_stays_inside(caplog: pytest.LogCaptureFixture) -> None:
    problem = Problem.of(errors.DataError("/secret/place is missing"))
    assert (problem.name, problem.detail) == ("internal-error", INTERNAL_ERROR)
    assert "/secret/place" in caplog.text


@pytest.mark.parametrize("status", [500, 502, 503, 599])
def test_an_error_of_the_framework_is_never_the_fault_of_the_request(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    problem = problem_of(Request({"type": "http"}), HTTPException(status, "a secret"))
    assert (problem.name, problem.detail) == ("internal-error", INTERNAL_ERROR)
    assert "a secret" in caplog.text


def test_the_members_of_an_error_are_members_of_its_problem() -> None:
    assert Problem.of(errors.TooManyPixels("too large", limit=100)).content()["limit"] == 100


def test_the_table_in_the_documentation_names_every_problem_with_its_status() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", DOCUMENT.read_text(), re.MULTILINE)
    assert {name: int(status) for name, status in rows} == {name: kind.status for name, kind in PROBLEM_TYPES.items()}


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = set(re.findall(r"(\w+)", "\n".join(re.findall(r"[├└]── \w+", errors.__doc__ or ""))))
    classes = (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, InklingError))
    assert drawn == {kind.__name__ for kind in classes} - {"InklingError"}
