import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from app.settings import Settings

DOCUMENT = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_table_in_the_documentation_holds_every_setting_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `INKLING_([A-Z_]+)` \|([^|]*)\|", DOCUMENT.read_text(), re.MULTILINE))
    defaults = {
        name.upper(): "" if field.default is None else str(field.default)
        for name, field in Settings.model_fields.items()
    }
    documented = {name: default.strip().strip("`").removeprefix("./") for name, default in rows.items()}
    assert documented == {name: default or "" for name, default in defaults.items()}


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKLING_MAX_PIXELS", "1000")
    monkeypatch.setenv("INKLING_DOWNLOAD", "false")
    settings = Settings()
    assert (settings.max_pixels, settings.download) == (1000, False)


@pytest.mark.parametrize(
    "name, value",
    [
        ("PORT", "http"),
        ("PORT", "70000"),
        ("INITIAL_MODEL", "resnet"),
        ("DOWNLOAD", "perhaps"),
        ("MAX_CONCURRENT_IMAGES", "0"),
        ("WORKERS", "0"),
    ],
)
def test_a_setting_that_does_not_fit_is_one_line_and_status_2(
    name: str, value: str, run: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    result = run("serve", **{f"INKLING_{name}": value})
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(f"error: INKLING_{name}={value!r}: ")
