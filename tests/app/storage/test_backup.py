import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from app.settings import Settings
from app.storage import backup
from models.registry.registry import ModelRegistry
from tests.support.service import KEY, WITH_KEY, serving
from tests.support.waiting import wait_until

NEW_HOME = ["models/active", *(f"models/v1/{name}" for name in ("manifest.json", "model.onnx", "weights.pt"))]


def unpack(file: Path, folder: Path) -> Path:
    folder.mkdir()
    with tarfile.open(file) as tar:
        tar.extractall(folder, filter="data")
    return folder


@pytest.mark.processes  # more than two seconds
def test_a_backup_of_a_running_service_restores_its_state(tmp_path: Path, seven, encode) -> None:
    settings = Settings(home=tmp_path / "home", api_key=KEY)
    picture = encode(seven)
    with serving(settings) as server:
        server.client.headers.update(WITH_KEY)
        saved = ModelRegistry(settings.home)
        first = saved.load("v1")
        saved.activate(saved.write(first.network().state_dict(), first.manifest, first.compiled))
        wait_until(lambda: server.client.get("/health").json()["model"] == "v2")
        assert server.client.post("/feedback", files={"file": picture}, data={"label": "7"}).status_code == 201
        job = server.client.post("/retrain", json={"epochs": 1}).json()
        server.client.delete(f"/retrain/{job['id']}")
        before = state(server.client)
        backup.save(settings, tmp_path / "backup.tar")
        assert server.client.post("/feedback", files={"file": picture}, data={"label": "1"}).status_code == 200
        server.client.post("/models/v1/activate")
    assert (tmp_path / "backup.tar").stat().st_mode & 0o077 == 0
    home = unpack(tmp_path / "backup.tar", tmp_path / "restored")
    with serving(Settings(home=home, api_key=KEY)) as restored:
        restored.client.headers.update(WITH_KEY)
        assert state(restored.client) == before
        assert restored.predict(picture)["model"] == "v2"


def state(client: httpx.Client) -> list[object]:
    return [client.get(path).json() for path in ("/models", "/feedback", "/retrain")]


def test_temporary_files_data_sets_and_running_jobs_are_left_out(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    ModelRegistry(settings.home).seed("net")
    for name in ("models/.v2/weights.pt", "retraining/job/job.json", "data/MNIST/raw/x"):
        (settings.home / name).parent.mkdir(parents=True)
        (settings.home / name).touch()
    assert backup.save(settings, tmp_path / "backup.tar") == len(NEW_HOME)
    with tarfile.open(tmp_path / "backup.tar") as tar:
        assert tar.getnames() == NEW_HOME


def test_a_postgresql_database_is_left_out(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url="postgresql://nowhere/inkling")
    ModelRegistry(tmp_path).seed("net")
    assert not backup.has_database(settings)
    assert backup.save(settings, tmp_path / "backup.tar") == len(NEW_HOME)


@pytest.mark.parametrize(
    "home, file, words",
    [
        ("none", "backup.tar", "none holds no versions; INKLING_HOME"),
        ("home", "there.tar", "there.tar exists already"),
        ("home", "no/backup.tar", "no/backup.tar cannot be written: No such file"),
    ],
)
def test_a_backup_that_cannot_be_written_is_an_error_and_leaves_nothing(
    home: str, file: str, words: str, tmp_path: Path
) -> None:
    ModelRegistry(tmp_path / "home").seed("net")
    (tmp_path / "there.tar").touch()
    with pytest.raises(backup.BackupError, match=words):
        backup.save(Settings(home=tmp_path / home), tmp_path / file)
    assert {path.name for path in tmp_path.iterdir()} == {"home", "there.tar"}


@pytest.mark.processes
def test_the_command_line_writes_a_backup_once(
    tmp_path: Path, run: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    ModelRegistry(tmp_path / "home").seed("net")
    file = tmp_path / "backup.tar"
    made = run("backup", str(file), INKLING_HOME=str(tmp_path / "home"))
    assert (made.returncode, made.stdout, made.stderr) == (0, "", f"{len(NEW_HOME)} files of {tmp_path}/home\n")
    again = run("backup", str(file), INKLING_HOME=str(tmp_path / "home"))
    assert again.returncode == 2
    assert again.stderr == f"error: {file} exists already; a backup is written to a new file\n"


def test_a_full_disk_is_an_error(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    ModelRegistry(tmp_path).seed("net")
    with full.open("wb", buffering=0) as file, pytest.raises(backup.BackupError, match="No space left on device"):
        backup.write(Settings(home=tmp_path), file)
