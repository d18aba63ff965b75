"""The command line. Commands import what they need when they run, so that `inkling --help` answers at once."""

import io
import sys
from typing import Annotated

import typer

from app.cli import commands

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Reads handwritten digits, and says so when it is not sure.",
)


# The trainer and the evaluation parse these options themselves.
_FORWARDED = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command(epilog="Example: INKLING_PORT=9000 inkling serve")
def serve(
    workers: Annotated[
        int | None, typer.Option(help="Number of worker processes; INKLING_WORKERS.", show_default=False)
    ] = None,
) -> None:
    """Serve the active model over HTTP, configured by INKLING_* variables."""
    settings = commands.settings() if workers is None else commands.settings(workers=workers)
    from app.processes.supervisor import serve

    serve(settings)


@app.command(context_settings=_FORWARDED)
def train(context: typer.Context) -> None:
    """Train a network on MNIST and save it as the next version; `inkling train --help` lists the options."""
    commands.check_variables()
    from training.__main__ import main

    main(context.args, "inkling train")


@app.command(context_settings=_FORWARDED)
def evaluate(context: typer.Context) -> None:
    """Evaluate a model on images that it was not trained on; `inkling evaluate --help` lists the options."""
    commands.check_variables()
    from training.evaluation.__main__ import main

    main(context.args, "inkling evaluate")


@app.command(epilog="Example: inkling predict seven.png scans/ --json")
def predict(
    pictures: Annotated[list[str], typer.Argument(help="Image files, folders of them, or - for standard input.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line, as the service answers.")
    ] = False,
    quiet: commands.Quiet = False,
) -> None:
    """Read the digits in image files, without a server; exit status 2 if one cannot be read."""
    settings = commands.settings()
    from app.cli import predict

    if not predict.predict(pictures, settings, as_json, quiet):
        raise typer.Exit(2)


app.add_typer(commands.models, name="models")
app.command(epilog="Example: inkling retrain --follow")(commands.retrain)
app.add_typer(commands.feedback, name="feedback")
app.command(epilog="Example: inkling backup monday.tar")(commands.backup)


def main() -> None:
    """Runs the command line. An error that the user can correct prints one line and exits with status 2."""
    from training.exit_status import run_command_line

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode gets question marks, not a traceback
    run_command_line(app, sys.argv[1:] or ["--help"], "inkling")
