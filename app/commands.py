"""`inkling models`, `retrain`, `feedback` and `backup`: what the service does and has, from a shell."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from app.client import Client
    from app.settings import Settings

models = typer.Typer(help="List the saved versions; `activate` makes one the version that answers.")
feedback = typer.Typer(help="Count the corrections; send, delete and export them.")


def settings() -> "Settings":
    """From the environment; one line for each variable that does not fit, and status 2."""
    from pydantic import ValidationError

    from app.settings import Settings

    try:
        return Settings()
    except ValidationError as error:
        for found in error.errors():
            name = "INKLING_" + ".".join(map(str, found["loc"])).upper()
            sys.stderr.write(f"error: {name}={found['input']!r}: {found['msg']}\n")
        raise typer.Exit(2) from None


@models.callback(invoke_without_command=True, epilog="Example: inkling models")
def list_models(context: typer.Context) -> None:
    """List the saved versions: of the service at INKLING_URL, or under INKLING_HOME where no URL is given."""
    if context.invoked_subcommand is not None:
        return
    from rich.table import Table

    found = _versions()
    table = Table("version", "network", "state", "parent", "made", "held-out MNIST")
    for version in found["versions"]:
        accuracy = version["metrics"].get("held_out", {}).get("accuracy")
        name = f"{version['version']} (active)" if version["version"] == found["active"] else version["version"]
        made = str(version["created_at"])[:16].replace("T", " ")
        right = "" if accuracy is None else f"{accuracy:.2%}"
        table.add_row(name, version["network"], version["state"], version["parent"] or "", made, right)
    _console().print(table)


@models.command("activate", epilog="Example: inkling models activate v2")
def activate_model(version: str) -> None:
    """Make a version the one that answers; an older one rolls back."""
    chosen = settings()
    if _has_url(chosen):
        with _client(chosen) as client:
            client.activate(version)
    else:
        from models.versions import Versions

        Versions(chosen.home).activate(version)
    _console().print(f"{version} is active")


def retrain(
    follow: Annotated[
        bool, typer.Option("--follow", help="Wait for the end, with a bar; status 1 unless it succeeds.")
    ] = False,
    network: Annotated[
        str | None, typer.Option(help="Another network than the active version's; from scratch.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data.", show_default=False)] = None,
    start_from: Annotated[str, typer.Option(help="current: fine-tune the active version; or scratch.")] = "current",
    use_feedback: Annotated[bool, typer.Option(help="Train on the corrections, too.")] = True,
    seed: Annotated[int, typer.Option()] = 0,
    learning_rate: Annotated[float | None, typer.Option(show_default=False)] = None,
    activate: Annotated[str, typer.Option(help="auto: a version that passes takes over; or manual.")] = "auto",
) -> None:
    """Have the service at INKLING_URL train a better version, of MNIST and the corrections."""
    given = {"network": network, "epochs": epochs, "learning_rate": learning_rate}
    parameters = {"start_from": start_from, "use_feedback": use_feedback, "seed": seed, "activate": activate}
    parameters |= {name: value for name, value in given.items() if value is not None}
    with _client(settings()) as client:
        job = client.retrain(parameters)
        _console().print(f"job {job['id']} is {job['state']}")
        if follow:
            _follow(client, job)


@feedback.callback(invoke_without_command=True, epilog="Example: inkling feedback")
def count_feedback(context: typer.Context) -> None:
    """Count the corrections that the service at INKLING_URL holds."""
    if context.invoked_subcommand is not None:
        return
    from rich.table import Table

    with _client(settings()) as client:
        counts = client.feedback()
    table = Table("digit", "corrections")
    for label in map(str, range(10)):
        table.add_row(label, f"{counts['by_label'].get(label, 0):,}")
    table.add_row("all", f"{counts['total']:,}")
    _console().print(table)


@feedback.command("send", epilog="Example: inkling feedback send 7 seven.png another.png")
def send_feedback(
    label: Annotated[int, typer.Argument(min=0, max=9, help="The digit that they show.")],
    pictures: Annotated[list[Path], typer.Argument(help="Picture files.", show_default=False)],
) -> None:
    """Send pictures of one digit to the service at INKLING_URL."""
    with _client(settings()) as client:
        for picture in pictures:
            stored = client.correct(picture, label)
            verb = "replaces another label of" if stored["replaced"] else "is"
            line = f"{picture}: read as {stored['prediction']} by {stored['model']}; {label} {verb} {stored['id']}"
            _console().print(line, markup=False)


@feedback.command("delete", epilog="Example: inkling feedback delete b27b684c...")
def delete_feedback(correction: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Delete a correction and its picture."""
    with _client(settings()) as client:
        client.delete(correction)


@feedback.command("export", epilog="Example: inkling feedback export corrections")
def export_feedback(
    folder: Annotated[Path, typer.Argument(help="A folder that is new or empty.", show_default=False)],
) -> None:
    """Write the corrections under INKLING_HOME as torchvision's ImageFolder reads them: FOLDER/LABEL/ID.png."""
    from app.corrections import Corrections
    from app.database import Database

    chosen = settings()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        sys.stderr.write(f"error: {folder} exists and is not an empty folder; name another one\n")
        raise typer.Exit(2)
    database = Database(chosen)
    database.migrate()
    count = Corrections(chosen.home, database, chosen.feedback_limit).export(folder)
    database.close()
    _console().print(f"{count:,} corrections in {folder}", markup=False)


def backup(
    file: Annotated[Path, typer.Argument(help="A new file; - is standard output.", show_default=False)],
) -> None:
    """Write versions, corrections and database under INKLING_HOME to a tar file, also while a service uses them."""
    from app import backup

    chosen = settings()
    if str(file) == "-" and sys.stdout.isatty():
        sys.stderr.write("error: a backup is no text; name a file, or send standard output to one\n")
        raise typer.Exit(2)
    count = backup.write(chosen, sys.stdout.buffer) if str(file) == "-" else backup.save(chosen, file)
    sys.stderr.write(f"{count:,} files of {chosen.home}\n")
    if not backup.has_database(chosen):
        sys.stderr.write("the database is not among them: PostgreSQL has tools of its own\n")


def _follow(client: "Client", job: dict[str, Any]) -> None:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = _console()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    state = None
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(job["state"], total=1.0)
        for news in client.follow(job["id"]):
            progress.update(task, description=news["state"], completed=news["progress"])
            if news["state"] != state:
                state = news["state"]
                console.print(f"{state}{': ' + news['reason'] if news['reason'] else ''}", markup=False)
    if state != "succeeded":
        raise typer.Exit(1)


def _versions() -> dict[str, Any]:
    chosen = settings()
    if _has_url(chosen):
        with _client(chosen) as client:
            return client.versions()
    from app.versions import describe
    from models.versions import Versions

    return describe(Versions(chosen.home)).model_dump()


def _has_url(chosen: "Settings") -> bool:
    return "url" in chosen.model_fields_set


def _client(chosen: "Settings") -> "Client":
    from app.client import Client

    return Client(chosen)


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)
