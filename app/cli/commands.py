"""The commands `inkling models`, `retrain`, `feedback` and `backup`."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import terminal
from app.cli.options import options_of
from models.contract import JobParameters
from models.errors import printable

if TYPE_CHECKING:
    from app.client import Client, Job, Parameters, Version
    from app.settings import Settings
    from models.registry.manifest import Manifest

Quiet = Annotated[bool, typer.Option("--quiet", help="No bar.")]

CLIENT_WAIT_SECONDS = 3
"""How long a command tries to reach the service."""

models = typer.Typer(help="List the saved versions; `activate` makes one the active version.")
feedback = typer.Typer(help="Count the feedback; send, delete and export it.")


def check_variables() -> None:
    """Warns of INKLING_ variables that are not settings. Raises FormerSetting for a former name."""
    from app.settings import unknown_variables

    for warning in unknown_variables(os.environ):
        sys.stderr.write(f"warning: {printable(warning)}\n")


def settings(**options: Any) -> "Settings":
    """The settings from options and environment. Each invalid one prints one line; the exit status is then 2."""
    from pydantic import ValidationError

    from app.settings import Settings

    check_variables()
    try:
        return Settings(**options)
    except ValidationError as error:
        for found in error.errors():
            name = "INKLING_" + ".".join(map(str, found["loc"])).upper()
            sys.stderr.write(f"error: {name}={found['input']!r}: {found['msg']}\n")
        raise typer.Exit(2) from None


@models.callback(invoke_without_command=True, epilog="Example: inkling models")
def list_models(context: typer.Context) -> None:
    """List the versions of the service at INKLING_URL; if that is not set, those under INKLING_HOME."""
    if context.invoked_subcommand is not None:
        return
    active, found = _versions()
    rows = []
    for name, version in found.items():
        made = f"{version.created_at:%Y-%m-%d %H:%M}"
        title = f"{name} (active)" if name == active else name
        row = [title, version.network, version.state, version.parent or "", made, _accuracy(version.metrics)]
        rows.append(list(map(printable, row)))
    terminal.print_rows(["version", "network", "state", "parent", "made", "held-out MNIST"], rows)


def _accuracy(metrics: Mapping[str, Any]) -> str:
    """The accuracy in a manifest, which may have been written by hand."""
    held_out = metrics.get("held_out")
    accuracy = held_out.get("accuracy") if isinstance(held_out, Mapping) else None
    return f"{accuracy:.2%}" if isinstance(accuracy, float) else ""


@models.command("activate", epilog="Example: inkling models activate v2")
def activate_model(version: str) -> None:
    """Make a version the active one; an older version rolls back."""
    chosen = settings()
    if _has_url(chosen):
        with _service(chosen) as client:
            client.activate(version)
    else:
        from models.registry.registry import ModelRegistry

        ModelRegistry(chosen.home, chosen.runtime).activate(version)
    terminal.console().print(f"{version} is active")


@options_of(JobParameters)
def retrain(
    parameters: "Parameters",
    follow: Annotated[
        bool, typer.Option("--follow", help="Wait for the job's end, with a bar; exit status 1 unless it succeeds.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Have the service at INKLING_URL train a better version on MNIST and the feedback."""
    with _service(settings()) as client:
        job = client.retrain(**parameters)
        terminal.console().print(f"job {job.id} is {job.state}")
        if follow:
            _follow(client, job, quiet)


@feedback.callback(invoke_without_command=True, epilog="Example: inkling feedback")
def count_feedback(context: typer.Context) -> None:
    """Count the feedback that the service at INKLING_URL holds."""
    if context.invoked_subcommand is not None:
        return
    with _service(settings()) as client:
        counts = client.feedback_counts()
    rows = [[str(label), f"{counts.by_label.get(label, 0):,}"] for label in range(10)]
    terminal.print_rows(["digit", "images"], [*rows, ["all", f"{counts.total:,}"]])


@feedback.command("send", epilog="Example: inkling feedback send 7 seven.png another.png")
def send_feedback(
    label: Annotated[int, typer.Argument(min=0, max=9, help="The digit that the images show.")],
    pictures: Annotated[list[Path], typer.Argument(help="Image files.", show_default=False)],
    quiet: Quiet = False,
) -> None:
    """Send images of one digit to the service at INKLING_URL."""
    from app.client import BadPicture, PictureRefused

    failed = False
    with _service(settings()) as client, terminal.Bar("sending", len(pictures), "images", quiet) as bar:
        for picture in pictures:
            name = printable(picture)
            try:
                stored = client.feedback(picture, label)
            except (BadPicture, PictureRefused) as error:
                sys.stderr.write(f"error: {name}: {printable(error)}\n")
                failed = True
            else:
                verb = "replaced the label of" if stored.replaced else "stored for"
                bar.print(f"{name}: {stored.model} predicted {stored.prediction}; {label} {verb} {stored.id}")
            bar.advance(1)
    if failed:
        raise typer.Exit(2)


@feedback.command("delete", epilog="Example: inkling feedback delete b27b684c...")
def delete_feedback(name: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Delete one feedback image."""
    with _service(settings()) as client:
        client.delete_feedback(name)


@feedback.command("export", epilog="Example: inkling feedback export digits")
def export_feedback(
    folder: Annotated[Path, typer.Argument(help="A folder that is new or empty.", show_default=False)],
    quiet: Quiet = False,
) -> None:
    """Write the feedback under INKLING_HOME as an ImageFolder: FOLDER/LABEL/ID.png."""
    from app.storage.database import Database
    from app.storage.feedback import FeedbackStore

    chosen = settings()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        sys.stderr.write(f"error: {folder} exists and is not an empty folder; name another one\n")
        raise typer.Exit(2)
    database = Database(chosen)
    database.migrate()
    store = FeedbackStore(database, chosen.max_feedback)
    with terminal.Bar("exporting", store.count(), "images", quiet) as bar:
        count = store.export_images(folder, bar.advance)
    database.close()
    terminal.console().print(f"exported {count:,} to {folder}")


def backup(file: Annotated[Path, typer.Argument(help="A new file; - is standard output.", show_default=False)]) -> None:
    """Write the versions and the database under INKLING_HOME to a tar file, also while a service runs."""
    from app.storage import backup

    chosen = settings()
    if str(file) == "-" and sys.stdout.isatty():
        sys.stderr.write("error: a backup is binary; name a file, or redirect standard output to one\n")
        raise typer.Exit(2)
    count = backup.write(chosen, sys.stdout.buffer) if str(file) == "-" else backup.save(chosen, file)
    sys.stderr.write(f"{count:,} files of {chosen.home}\n")
    if not backup.has_database(chosen):
        sys.stderr.write("the database is not included: back up PostgreSQL with pg_dump\n")


def _follow(client: "Client", job: "Job", quiet: bool) -> None:
    state = None
    with terminal.Bar(job.state, 100, "%", quiet) as bar:
        for event in client.follow(job.id):
            bar.update(100 * event.progress, event.state)
            if event.state != state:
                state = event.state
                bar.print(f"{state}: {event.reason}" if event.reason else state)
    if state != "succeeded":
        raise typer.Exit(1)


def _versions() -> "tuple[str | None, Mapping[str, Version | Manifest]]":
    """The active version's name, and all versions, newest first."""
    chosen = settings()
    if _has_url(chosen):
        with _service(chosen) as client:
            listed = client.versions()
        return listed.active, {version.version: version for version in listed.versions}
    from models.errors import VersionError
    from models.registry.reader import ModelRegistryReader

    saved = ModelRegistryReader(chosen.home)
    active, found = saved.list_versions()
    for name in saved.names():
        if name not in found:
            try:
                found[name] = saved.manifest(name)
            except VersionError as error:
                sys.stderr.write(f"{name} is left out: {error}\n")
    return active, found


def _has_url(chosen: "Settings") -> bool:
    return "url" in chosen.model_fields_set


@contextmanager
def _service(chosen: "Settings") -> Iterator["Client"]:
    """A client of the service at INKLING_URL. Its errors end the command with one line and status 2."""
    from app.api import keys
    from app.client import Client, ClientError

    try:
        first = next((key.decode() for key in keys.read(chosen)), "")
        with Client(chosen.url, first, retry_seconds=CLIENT_WAIT_SECONDS) as client:
            yield client
    except ClientError as error:
        sys.stderr.write(f"error: {error}\n")
        raise typer.Exit(2) from None
