"""Whoever shares a name or a shape with models/contract.py agrees with it; most derive it, app/client.py repeats it."""

import dataclasses
import re
import subprocess
import sys
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer.main

from app import client
from app.cli import command_line
from app.main import create_app
from app.settings import Settings
from app.storage.jobs import Job
from models.contract import (
    ENDED_STATES,
    JOB_STATES,
    NETWORKS,
    PROBLEM_TYPES,
    JobEvent,
    JobParameters,
    JobSpec,
    JobStatus,
    NetworkName,
    ReleasedModel,
)
from models.inference import networks
from models.registry.registry import RELEASED
from tests.support.environment import ROOT

PARAMETERS = list(JobParameters.model_fields)


def without_none(annotation: Any) -> Any:
    """The type itself, of a type that may also be None."""
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
    return kinds[0] if get_origin(annotation) is not Literal and len(kinds) == 1 else annotation


def test_every_place_that_knows_a_retraining_parameter_knows_all_of_them() -> None:
    """The OpenAPI document, the command line and the job spec derive them; the client repeats them."""
    document = create_app(Settings()).openapi()
    body = document["paths"]["/retrain"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    command = typer.main.get_command(command_line.app).commands["retrain"]  # type: ignore[attr-defined]
    own_options = {"follow", "quiet", "help"}
    places = {
        "POST /retrain": list(body["properties"]),
        "inkling retrain": [option.name for option in command.params if option.name not in own_options],
        "app/client.py": list(client.Parameters.__annotations__),
        "the trainer's job spec": [name for name in JobSpec.model_fields if name in PARAMETERS],
    }
    assert places == dict.fromkeys(places, PARAMETERS)


def test_the_trainer_reads_every_parameter() -> None:
    read = set(re.findall(r"\bspec\.(\w+)", (ROOT / "training/retraining/job.py").read_text()))
    assert set(PARAMETERS) - read == set()


def test_the_parameters_have_their_names_in_the_contract_and_the_client_alone() -> None:
    """The trainer reads them and POST /retrain checks the network; nobody else lists them."""
    command = ["git", "grep", "-lE", r"\b(start_from|use_feedback)\b", "--", "app/*.py", "models/*.py", "training/*.py"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert found == ["app/api/retrain.py", "app/client.py", "models/contract.py", "training/retraining/job.py"]


def test_the_client_s_parameters_have_the_contract_s_types() -> None:
    expected = {name: without_none(field.annotation) for name, field in JobParameters.model_fields.items()}
    assert get_type_hints(client.Parameters) == expected


def test_the_client_s_job_has_the_contract_s_fields_and_states() -> None:
    *fields, last = (field.name for field in dataclasses.fields(client.Job))
    assert (fields, last) == (list(JobStatus.model_fields), "log")
    assert get_args(get_type_hints(client.Job)["state"]) == JOB_STATES
    blank = dict.fromkeys(fields)
    assert [state for state in JOB_STATES if client.Job(**{**blank, "state": state}).ended] == list(ENDED_STATES)


def test_the_client_knows_problems_by_the_contract_s_names() -> None:
    names = {key.removeprefix("/problems/") for key in client._PROBLEM_CLASSES if isinstance(key, str)}
    assert names <= set(PROBLEM_TYPES)


def test_the_client_imports_nothing_of_ours() -> None:
    script = "import sys, app.client; print({'models', 'training'} & {name.split('.')[0] for name in sys.modules})"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_a_job_event_holds_fields_of_a_job_and_a_stored_job_holds_them_all() -> None:
    stored = {field.name for field in dataclasses.fields(Job)}
    assert set(JobEvent.model_fields) < set(JobStatus.model_fields) < stored


def test_the_networks_of_the_contract_can_be_built_and_its_released_models_are_there() -> None:
    assert get_args(NetworkName) == NETWORKS
    assert set(NETWORKS) <= set(networks.NETWORKS)
    assert {folder.name for folder in RELEASED.iterdir()} == set(get_args(ReleasedModel)) <= set(NETWORKS)


def test_the_contract_imports_neither_torch_nor_a_web_framework() -> None:
    script = "import sys, models.contract; print({'torch', 'numpy', 'fastapi', 'sqlalchemy'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
