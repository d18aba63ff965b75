"""Fixtures for all tests. They write only to temporary folders and read only the data sets."""

import io
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import sqlalchemy as sa
import torch
from PIL import Image, ImageDraw

from app.settings import Settings
from app.storage.database import Database
from tests.support import services
from tests.support.environment import DATA
from tests.support.service import KEY, Server, free_port, running, spawn
from tests.support.waiting import wait_until
from training.data import mnist

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hides the machine's settings, and puts the default HOME into the test's folder."""
    for name in list(os.environ):
        if name.startswith("INKLING_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    if not (DATA / "MNIST" / "raw").is_dir():
        pytest.skip(f"MNIST is not in {DATA}; INKLING_DATA names another folder")
    return DATA


@pytest.fixture(scope="session")
def training_digits(data_folder: Path) -> mnist.Digits:
    return mnist.training_set(data_folder, download=False)


@pytest.fixture(scope="session")
def test_digits(data_folder: Path) -> mnist.Digits:
    return mnist.test_set(data_folder, download=False)


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """Encodes pixels or a Pillow image as the bytes of an image file."""

    def encode(picture: np.ndarray | Image.Image, kind: str = "PNG", **options: object) -> bytes:
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return encode


@pytest.fixture(scope="session")
def seven() -> Image.Image:
    """A seven drawn in black on white, 280 x 280, so that tests of the whole path need no data set."""
    image = Image.new("L", (280, 280), 255)
    ImageDraw.Draw(image).line([(80, 60), (190, 60), (125, 220)], fill=0, width=22, joint="curve")
    return image


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server that listens on a Unix socket."""
    programs = services.find("initdb", "postgresql", also_in="/usr/lib/postgresql/*/bin").parent
    # initdb refuses root
    user = next((name for name in ("postgres", "nobody") if os.geteuid() == 0 and _is_user(name)), None)
    folder = Path(tempfile.mkdtemp(prefix="inkling-postgres-"))
    try:
        if user:
            shutil.chown(folder, user)
        command = [programs / "initdb", "-D", folder / "data", "-U", "inkling", "-A", "trust", "-E", "UTF8", "-N"]
        subprocess.run(command, user=user, cwd=folder, check=True, capture_output=True)
        options = ["-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
        command = [programs / "postgres", "-D", folder / "data", *options]
        with subprocess.Popen(command, user=user, cwd=folder, stderr=subprocess.DEVNULL) as process:
            try:
                ready = [programs / "pg_isready", "-q", "-h", folder]  # its socket is there before it answers
                wait_until(lambda: subprocess.run(ready).returncode == 0 or process.poll() is not None)
                yield f"postgresql://inkling@/postgres?host={folder}"
            finally:
                process.send_signal(signal.SIGINT)  # a fast shutdown
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_user(name: str) -> bool:
    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each supported kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/inkling.db"
    url: str = request.getfixturevalue("postgres")
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with empty tables."""
    found = Database(Settings(database_url=database_url))
    found.migrate()
    yield found
    found.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One service for all tests that need no settings of their own."""
    with running(Settings(home=tmp_path_factory.mktemp("home"))) as found:
        yield found


@pytest.fixture(scope="session")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`inkling serve` with two workers and a key, as a process of its own, which logs to a file."""
    folder = tmp_path_factory.mktemp("two-workers")
    port = free_port()
    variables = {"HOME": str(folder / "home"), "PORT": str(port), "WORKERS": "2", "API_KEY": KEY}
    with (folder / "log").open("w") as file:
        process = spawn("serve", stderr=file, **{f"INKLING_{name}": value for name, value in variables.items()})
    found = Server(f"http://127.0.0.1:{port}", process, log=folder / "log")
    try:
        with found.client:
            wait_until(lambda: process.poll() is not None or "inkling_workers 2" in _metrics(found))
            assert process.poll() is None, found.log.read_text()
            yield found
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts `inkling serve` as a process of its own, with INKLING_* variables, and waits until it answers."""
    started: list[Server] = []

    def serve(**variables: str) -> Server:
        environment = {"INKLING_HOME": str(tmp_path / "home"), "INKLING_PORT": str(free_port()), **variables}
        environment["TMPDIR"] = str(tmp_path)  # a killed service leaves files there
        log = tmp_path / f"log-{environment['INKLING_PORT']}"  # a pipe that nobody reads would fill up
        with log.open("w") as file:
            process = spawn("serve", stderr=file, **environment)
        found = Server(f"http://127.0.0.1:{environment['INKLING_PORT']}", process, log=log)
        started.append(found)
        wait_until(lambda: process.poll() is not None or _answers(found))
        assert process.poll() is None, log.read_text()
        return found

    yield serve
    for found in started:
        found.client.close()
        if found.process is not None and found.process.poll() is None:
            found.process.kill()
        if found.process is not None:
            found.process.communicate()


@pytest.fixture(scope="session")
def run() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `inkling` to its end."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        process = spawn(*arguments, **variables)
        try:
            out, error = process.communicate(timeout=120)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, out, error)

    return run


def _metrics(server: Server) -> str:
    try:
        return httpx.get(f"{server.url}/metrics", timeout=30).text
    except httpx.TransportError:
        return ""


def _answers(server: Server) -> bool:
    try:
        return server.client.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False
