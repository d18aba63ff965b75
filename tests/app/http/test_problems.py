import re
from collections.abc import Iterator
from pathlib import Path

from app.http.problems import NAMES, PROBLEM_TYPES
from models import errors

README = Path(__file__).parents[3] / "README.md"


def leaves(kind: type[Exception]) -> Iterator[type[Exception]]:
    for below in kind.__subclasses__():
        yield from leaves(below) if below.__subclasses__() else [below]


def test_every_error_that_a_request_can_meet_has_a_problem() -> None:
    for kind in (errors.PictureError, errors.InferenceError):
        assert {found for found in leaves(kind) if found.__module__ == "models.errors"} <= set(NAMES)
    assert set(NAMES.values()) <= set(PROBLEM_TYPES)


def test_the_readme_s_table_names_every_problem_with_its_status() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", README.read_text(), re.MULTILINE)
    assert {name: int(status) for name, status in rows} == {name: kind.status for name, kind in PROBLEM_TYPES.items()}


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = set(re.findall(r"(\w+)", "\n".join(re.findall(r"[├└]── \w+", errors.__doc__ or ""))))
    assert drawn == {kind.__name__ for kind in vars(errors).values() if isinstance(kind, type)} - {"InklingError"}
