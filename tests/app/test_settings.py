import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import FORMER_NAMES, FormerSetting, Settings, unknown_variables
from models import cpus

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
Run = Callable[..., subprocess.CompletedProcess[str]]


def test_the_documented_table_holds_every_setting_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `INKLING_([A-Z_]+)` \|([^|]*)\|", PAGE.read_text(), re.MULTILINE))
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


@pytest.mark.processes
@pytest.mark.parametrize(
    "name, value",
    [
        ("PORT", "http"),
        ("PORT", "70000"),
        ("INITIAL_MODEL", "resnet"),
        ("DOWNLOAD", "perhaps"),
        ("MAX_CONCURRENT_IMAGES", "0"),
        ("WORKERS", "0"),
        ("WORKERS", "257"),
        ("PORT", "-1"),
        ("MAX_PIXELS", "1e9"),
        ("ROOT_PATH", "/digits?a=b"),
        ("ALLOWED_HOSTS", "example.org,https://example.org"),
    ],
)
def test_a_setting_that_does_not_fit_is_one_line_and_status_2(name: str, value: str, run: Run) -> None:
    result = run("serve", **{f"INKLING_{name}": value})
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(f"error: INKLING_{name}={value!r}: ")


LIMITS = [name for name in Settings.model_fields if name.startswith("max_") or name == "keep_versions"]


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_is_a_number_that_every_comparison_and_database_can_hold(name: str) -> None:
    assert len(LIMITS) >= 6
    for value in (1, 1_000_000_000):
        assert getattr(Settings(**{name: value}), name) == value
    for value in (0, -1, 1_000_000_001, 10**30):
        with pytest.raises(ValidationError, match=name):
            Settings(**{name: value})


@pytest.mark.processes
@pytest.mark.parametrize("workers", ["0", "257"])
def test_an_option_is_checked_as_its_setting_is(workers: str, run: Run) -> None:
    result = run("serve", "--workers", workers)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: INKLING_WORKERS={workers}: ")


@pytest.mark.parametrize(
    ("given", "path"),
    [
        *(("", ""), ("/", ""), ("//", ""), ("digits", "/digits"), ("/digits", "/digits"), ("/digits/", "/digits")),
        *(("a/b/", "/a/b"), ("//evil.example", "/evil.example"), ("/a-b_c.d~e/1", "/a-b_c.d~e/1")),
    ],
)
def test_a_root_path_begins_with_one_slash_and_ends_without(given: str, path: str) -> None:
    assert Settings(root_path=given).root_path == path


@pytest.mark.parametrize(
    "given",
    ["/a//b", "/a?b", "/a#b", "/a b", "/a%20b", "/a/../b", "/.", "/..", "/é", "/a\\b", "/a\n", "http://x/a", "/a;b"],
)
def test_a_root_path_that_a_url_would_write_otherwise_is_refused(given: str) -> None:
    with pytest.raises(ValidationError, match="expected a path such as /digits"):
        Settings(root_path=given)


def test_an_empty_variable_is_as_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(f"INKLING_{name.upper()}", "")
    assert Settings().model_fields_set == set()


def test_one_worker_for_each_core_up_to_four_but_one_on_a_gpu() -> None:
    assert Settings().worker_count("cpu") == min(4, cpus.usable())
    assert Settings().worker_count("cuda") == Settings().worker_count("mps") == 1
    assert Settings(workers=3).worker_count("cpu") == Settings(workers=3).worker_count("cuda") == 3


def test_a_misspelt_variable_is_a_warning_that_names_the_nearest_setting() -> None:
    (warning,) = unknown_variables({"INKLING_WORKRES": "2", "INKLING_WORKERS": "2", "WORKERS": "2"})
    assert "INKLING_WORKRES " in warning
    assert "INKLING_WORKERS?" in warning


def test_a_variable_like_no_setting_is_a_warning_without_a_name() -> None:
    (warning,) = unknown_variables({"INKLING_QQQ": "2"})
    assert "INKLING_QQQ " in warning
    assert "did you mean" not in warning


def test_every_setting_is_known_by_its_name() -> None:
    assert unknown_variables({f"INKLING_{name.upper()}": "x" for name in Settings.model_fields}) == []


@pytest.mark.parametrize("former", FORMER_NAMES)
def test_a_former_name_is_an_error_that_names_the_setting(former: str) -> None:
    assert FORMER_NAMES[former].lower() in Settings.model_fields
    with pytest.raises(FormerSetting, match=f"INKLING_{former} .*INKLING_{FORMER_NAMES[former]};"):
        unknown_variables({f"INKLING_{former}": "1"})


@pytest.mark.processes
@pytest.mark.parametrize("command", ["serve", "predict x.png", "models", "feedback", "train", "evaluate"])
def test_every_command_that_reads_settings_refuses_a_former_name(command: str, run: Run) -> None:
    result = run(*command.split(), INKLING_QUEUE_LIMIT="5", INKLING_PROT="9000")
    assert result.returncode == 2
    lines = result.stderr.splitlines()
    assert lines[-1].startswith("error: INKLING_QUEUE_LIMIT ")
    assert len(lines) == 1


@pytest.mark.processes
def test_a_command_goes_on_after_the_warning(run: Run) -> None:
    result = run("models", INKLING_HOEM="elsewhere")
    assert result.returncode == 0, result.stderr
    assert result.stderr.startswith("warning: INKLING_HOEM ")
    assert "INKLING_HOME?" in result.stderr


def test_what_kubernetes_sets_for_a_service_named_inkling_is_neither_a_setting_nor_a_mistake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variables = {
        "INKLING_SERVICE_HOST": "10.0.0.11",
        "INKLING_SERVICE_PORT": "8000",
        "INKLING_SERVICE_PORT_HTTP": "8000",
        "INKLING_PORT": "tcp://10.0.0.11:8000",
        "INKLING_PORT_8000_TCP": "tcp://10.0.0.11:8000",
        "INKLING_PORT_8000_TCP_PROTO": "tcp",
        "INKLING_PORT_8000_TCP_PORT": "8000",
        "INKLING_PORT_8000_TCP_ADDR": "10.0.0.11",
        "INKLING_DATABASE_SERVICE_HOST": "10.0.0.12",
        "INKLING_DATABASE_PORT": "tcp://10.0.0.12:5432",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert unknown_variables(variables) == []
    assert Settings().port == 8000
