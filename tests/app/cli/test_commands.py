import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.settings import Settings
from models.registry.registry import ModelRegistry
from tests.support.service import KEY, Server, serving, spawn
from tests.support.versions import another
from tests.support.waiting import wait_until

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(Settings(home=tmp_path_factory.mktemp("home"), api_key=KEY)) as found:
        yield found


def test_models_without_a_url_are_those_under_home(run: Run, tmp_path: Path) -> None:
    saved = ModelRegistry(tmp_path / "home")
    saved.seed("convnet")
    another(saved)
    listed = run("models", INKLING_HOME=str(tmp_path / "home"))
    assert listed.returncode == 0, listed.stderr
    assert "v1 (active)" in listed.stdout
    assert f"{saved.manifest('v1').metrics['held_out']['accuracy']:.2%}" in listed.stdout
    assert "\x1b" not in listed.stdout
    (saved.folder / "v3").mkdir()
    odd = saved.manifest("v2").model_copy(update={"metrics": {"held_out": None}, "parent": "v1\n\x1b[31m"})
    (saved.folder / "v2" / "manifest.json").write_text(odd.model_dump_json())
    listed = run("models", INKLING_HOME=str(tmp_path / "home"))
    assert listed.returncode == 0, listed.stderr
    assert listed.stderr.startswith(f"v3 is left out: {saved.folder}/v3/manifest.json cannot be read")
    assert len(listed.stdout.splitlines()) == 3 and "v1??[31m" in listed.stdout
    (saved.folder / "v3").rmdir()
    activated = run("models", "activate", "v2", INKLING_HOME=str(tmp_path / "home"))
    assert (activated.returncode, activated.stdout) == (0, "v2 is active\n")
    assert saved.active() == "v2"
    unknown = run("models", "activate", "v7", INKLING_HOME=str(tmp_path / "home"))
    assert (unknown.returncode, unknown.stderr) == (2, "error: there is no version 'v7'; there are v1, v2\n")


def test_feedback_and_models_through_the_service(run: Run, idle: Server, seven, encode) -> None:
    Path("seven.png").write_bytes(encode(seven))
    places = {"INKLING_URL": idle.url, "INKLING_API_KEY": KEY}
    sent = run("feedback", "send", "1", "seven.png", **places)
    assert sent.stdout.startswith("seven.png: v1 predicted 7; 1 stored for "), sent.stderr
    counted = run("feedback", **places)
    assert counted.returncode == 0
    home = str(idle.app.state.inference.settings.home)
    exported = run("feedback", "export", "corrections", INKLING_HOME=home)
    assert exported.stdout == "exported 1 to corrections\n", exported.stderr
    assert [path.parent.name for path in Path("corrections").rglob("*.png")] == ["1"]
    again = run("feedback", "export", "corrections", INKLING_HOME=home)
    assert again.returncode == 2
    assert "not an empty folder" in again.stderr
    name = sent.stdout.split()[-1]
    Path("words.png").write_text("no picture")
    mixed = run("feedback", "send", "7", "missing.png", "words.png", "seven.png", **places)
    assert mixed.returncode == 2
    assert mixed.stdout.startswith("seven.png: v1 predicted 7; 7 replaced the label of ")
    assert [line[:22] for line in mixed.stderr.splitlines()] == ["error: missing.png: mi", "error: words.png: 415:"]
    assert run("feedback", "delete", name, **places).returncode == 0
    refused = run("feedback", INKLING_URL=idle.url)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: 401: the key is missing")
    assert "v1 (active)" in run("models", **places).stdout


def test_retrain_follows_the_job_to_its_end(idle: Server) -> None:
    process = spawn(
        *("retrain", "--follow", "--epochs", "3", "--activate", "manual", "--no-use-feedback"),
        INKLING_URL=idle.url,
        INKLING_API_KEY=KEY,
    )
    jobs = idle.app.state.jobs
    wait_until(lambda: bool(jobs.list_newest()) or process.poll() is not None)
    (job,) = jobs.list_newest()
    assert job.parameters["epochs"] == 3
    assert (job.parameters["activate"], job.parameters["use_feedback"]) == ("manual", False)
    jobs.finish(job.id, "rejected", "v2 is worse")
    out, error = process.communicate(timeout=60)
    assert process.returncode == 1, error
    assert out.splitlines()[0] == f"job {job.id} is queued"
    assert out.splitlines()[-1] == "rejected: v2 is worse"
    assert "\x1b" not in out
