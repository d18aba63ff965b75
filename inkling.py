"""The command line. Each command imports what it needs inside itself, so that `inkling --help` answers at once."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from app import commands

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Reads handwritten digits, and says so when it is not sure.",
)


@app.command(epilog="Example: INKLING_PORT=9000 inkling serve")
def serve(
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that answer; INKLING_WORKERS.", show_default=False)
    ] = None,
) -> None:
    """Serve the active model over HTTP; INKLING_* variables set it up."""
    settings = commands.settings()
    from app.supervisor import serve

    serve(settings if workers is None else settings.model_copy(update={"workers": workers}))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def train(context: typer.Context) -> None:
    """Train a network on MNIST and save it as the next version; `inkling train --help` lists the options."""
    from training.__main__ import main

    main(context.args, "inkling train")


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def evaluate(context: typer.Context) -> None:
    """Measure a model on digits that it was not trained on; `inkling evaluate --help` lists the options."""
    from training.evaluation.__main__ import main

    main(context.args, "inkling evaluate")


@app.command(epilog="Example: inkling predict seven.png --json")
def predict(
    images: Annotated[list[Path], typer.Argument(help="Picture files.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, as the service answers.")] = False,
) -> None:
    """Read the digits in picture files, without a server."""
    settings = commands.settings()
    from models import devices, versions
    from models.errors import PictureError
    from models.normalisation import normalise
    from models.pictures import decode

    predictor = versions.find(settings.home, None, settings.model).predictor(devices.resolve(settings.device))
    failed = False
    for path in images:
        try:
            tile = normalise(decode(path.read_bytes(), settings.max_pixels))
        except (OSError, PictureError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            print(f"error: {path}: {reason}", file=sys.stderr)
            failed = True
            continue
        answer = predictor.predict(tile.pixels[None])[0]
        if as_json:
            print(json.dumps({"file": str(path), **answer._asdict(), "steps": tile.steps}))
        else:
            bar = "█" * round(20 * answer.confidence)
            print(f"{path}  {answer.digit}  {bar:20s} {answer.confidence:7.2%}  {answer.verdict}")
    if failed:
        raise typer.Exit(2)


app.add_typer(commands.models, name="models")
app.command(epilog="Example: inkling retrain --follow")(commands.retrain)
app.add_typer(commands.feedback, name="feedback")
app.command(epilog="Example: inkling backup monday.tar")(commands.backup)


def main() -> None:
    """Runs the command line: 2 for what the caller can mend, and one line that says what it is."""
    from models.errors import InklingError

    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a terminal without Unicode gets question marks, not a traceback
    try:
        app()
    except InklingError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
