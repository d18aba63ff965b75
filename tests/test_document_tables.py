"""Tables in the documents name what the code has; those of settings and problems are tested beside their code."""

import re
from pathlib import Path
from typing import get_args

import yaml

from app.main import create_app
from app.settings import FORMER_NAMES, Settings
from models.contract import JOB_STATES, JobParameters
from models.preprocessing.normalise import Step
from tests.support.environment import ROOT
from training import recipes


def rows(document: Path, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    section = document.read_text().split(f"# {heading}\n", 1)[1]
    table = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert table, heading
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()[2:]]


def names(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_the_table_of_calls_has_every_call_and_says_which_need_the_key() -> None:
    calls = {
        f"{method.upper()} {path}": "security" in call
        for path, methods in create_app(Settings()).openapi()["paths"].items()
        for method, call in methods.items()
    }
    table = rows(ROOT / "docs/http.md", "HTTP API")
    documented = {call: key == "yes" for calls_cell, key, _ in table for call in names(calls_cell)}
    assert documented == {**calls, "GET /": False, "GET /metrics": False}  # these two are not in the OpenAPI document


def test_the_settings_page_has_every_former_name() -> None:
    text = (ROOT / "docs/settings.md").read_text()
    documented = dict(re.findall(r"`INKLING_(\w+)` is now `INKLING_(\w+)`", text))
    assert documented == FORMER_NAMES


def test_the_table_of_retraining_parameters_has_every_parameter_with_its_default() -> None:
    documented = {names(name)[0]: default.strip("`") for name, default, _ in rows(ROOT / "docs/http.md", "Retraining")}
    fields = JobParameters.model_fields
    assert list(documented) == list(fields)
    defaults = {name: field.default for name, field in fields.items() if field.default is not None}
    assert {name: documented[name] for name in defaults} == {
        name: str(default).lower() for name, default in defaults.items()
    }


def test_the_table_of_states_has_every_state_of_a_job() -> None:
    assert [names(state)[0] for state, _ in rows(ROOT / "docs/learning.md", "A job")] == list(JOB_STATES)


def test_the_table_of_a_prediction_has_every_step() -> None:
    meanings = {names(member)[0]: meaning for member, _, meaning in rows(ROOT / "docs/http.md", "Predict")}
    assert names(meanings["steps"]) == list(get_args(Step))


def test_training_describes_every_recipe() -> None:
    text = (ROOT / "docs/training.md").read_text()
    assert [recipe for recipe in recipes.NAMES if f"`{recipe}`" not in text] == []


def test_the_hooks_run_what_make_lint_runs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    makefile = (ROOT / "Makefile").read_text()
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert recipe
    commands = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe[1].splitlines()]
    assert [hook["entry"] for hook in hooks] == commands
