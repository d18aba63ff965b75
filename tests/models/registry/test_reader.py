from pathlib import Path

import pytest

from models.errors import BrokenVersion, UnknownVersion
from models.registry.manifest import MANIFEST, Manifest
from models.registry.reader import ModelRegistryReader
from tests.support.files import NOT_FILES


@pytest.fixture
def reader(tmp_path: Path) -> ModelRegistryReader:
    return ModelRegistryReader(tmp_path / "home")


def put(reader: ModelRegistryReader, name: str, text: str | None = None) -> None:
    folder = reader.folder / name
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text(text or Manifest(network="net", parent="v1").model_dump_json())


def test_a_missing_home_has_no_versions(reader: ModelRegistryReader) -> None:
    assert reader.list_versions() == (None, {})
    assert not reader.folder.exists()


def test_versions_are_listed_newest_first_without_broken_ones(reader: ModelRegistryReader) -> None:
    for name in ("v2", "v10", ".v11", "notes"):
        put(reader, name)
    put(reader, "v3", '{"network": 7}')
    (reader.folder / "v4").mkdir()
    (reader.folder / "active").write_text("v2\n")
    active, found = reader.list_versions()
    assert (active, list(found)) == ("v2", ["v10", "v2"])
    assert found["v2"].parent == "v1"
    with pytest.raises(BrokenVersion, match=r"v3/manifest\.json is not a manifest: network"):
        reader.manifest("v3")
    with pytest.raises(UnknownVersion, match="no version 'notes'; there are v2, v3, v4, v10"):
        reader.manifest("notes")


def test_a_broken_active_file_does_not_hide_the_versions(reader: ModelRegistryReader) -> None:
    put(reader, "v1")
    (reader.folder / "active").write_text("v7\n")
    active, found = reader.list_versions()
    assert (active, list(found)) == (None, ["v1"])


@pytest.mark.parametrize("kind", NOT_FILES)
def test_something_else_in_the_place_of_the_active_file_is_an_error(kind: str, reader: ModelRegistryReader) -> None:
    put(reader, "v1")
    NOT_FILES[kind](reader.active_file)
    with pytest.raises(BrokenVersion, match="active cannot be read: "):
        reader.active()
    assert reader.list_versions()[0] is None
