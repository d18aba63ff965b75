import json
from pathlib import Path
from typing import Any

import pytest

from models.errors import BrokenVersion
from models.inference.calibration import Calibration
from models.registry.manifest import MANIFEST, CompiledModel, Manifest, read_manifest

ANSWERS = [[0.1] * 10] * 8
COMPILED = CompiledModel(precision="int8", sha256="00", calibration=Calibration(temperature=0.5), answers=ANSWERS)


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    manifest = Manifest(network="net", answers=ANSWERS, compiled=COMPILED)
    (tmp_path / MANIFEST).write_text(manifest.model_dump_json())
    assert read_manifest(tmp_path) == manifest


def test_a_manifest_of_an_earlier_release_has_no_compiled_model(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text('{"network": "net"}')
    assert read_manifest(tmp_path).compiled is None


@pytest.mark.parametrize(
    "change, field",
    [
        ({"precision": "int4"}, "compiled.precision"),
        ({"answers": [[0.1] * 10] * 7}, "compiled.answers"),
        ({"answers": [[0.1] * 9] * 8}, "compiled.answers.0"),
        ({"answers": [[1.5] * 10] * 8}, "compiled.answers.0.0"),
        ({"calibration": {"temperature": 0}}, "compiled.calibration.temperature"),
    ],
)
def test_a_compiled_model_that_cannot_be_is_refused(change: dict[str, Any], field: str, tmp_path: Path) -> None:
    compiled = {**COMPILED.model_dump(), **change}
    (tmp_path / MANIFEST).write_text(json.dumps({"network": "net", "compiled": compiled}))
    with pytest.raises(BrokenVersion, match=rf"manifest\.json is not a manifest: {field}:"):
        read_manifest(tmp_path)
