from pathlib import Path

import pytest

from models.errors import BrokenVersion, UnknownVersion
from models.registry.reader import MANIFEST, Manifest, Shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "home")


def put(shelf: Shelf, name: str, text: str | None = None) -> None:
    folder = shelf.folder / name
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text(text or Manifest(network="net", parent="v1").model_dump_json())


def test_there_may_be_nothing_yet(shelf: Shelf) -> None:
    assert shelf.look() == (None, {})
    assert not shelf.folder.exists()


def test_the_newest_comes_first_and_what_can_not_be_read_is_left_out(shelf: Shelf) -> None:
    for name in ("v2", "v10", ".v11", "notes"):
        put(shelf, name)
    put(shelf, "v3", '{"network": 7}')
    (shelf.folder / "v4").mkdir()
    (shelf.folder / "active").write_text("v2\n")
    active, found = shelf.look()
    assert (active, list(found)) == ("v2", ["v10", "v2"])
    assert found["v2"].parent == "v1"
    with pytest.raises(BrokenVersion, match=r"v3/manifest\.json is not a manifest: network"):
        shelf.manifest("v3")
    with pytest.raises(UnknownVersion, match="no version 'notes'; there are v2, v3, v4, v10"):
        shelf.manifest("notes")


def test_what_is_listed_does_not_depend_on_the_active_one(shelf: Shelf) -> None:
    put(shelf, "v1")
    (shelf.folder / "active").write_text("v7\n")
    active, found = shelf.look()
    assert (active, list(found)) == (None, ["v1"])
