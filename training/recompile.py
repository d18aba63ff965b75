"""Compiles the version in a folder again, as for a release: `python -m training.recompile models/released/convnet`.

Its weights stay as they are. `model.onnx` and what the manifest says of both are made anew.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from models import fs
from training import threads
from training.exit_status import exit_on_interrupt, run_command_line
from training.progress import Report

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def recompile(
    folder: Annotated[Path, typer.Argument(help="A version that no service uses.", show_default=False)],
    data: Annotated[
        Path, typer.Option(envvar="INKLING_DATA", help="The folder with MNIST/raw; fetched if it is missing.")
    ] = Path("data"),
    download: Annotated[bool, typer.Option(envvar="INKLING_DOWNLOAD", help="Fetch MNIST if it is missing.")] = True,
) -> None:
    """Compile the version in a folder for CPUs again, and measure it and its weights."""
    threads.limit_spinning()
    from models.registry import version_files
    from models.registry.manifest import MANIFEST
    from models.registry.version_files import COMPILED
    from training import packaging
    from training.data import mnist

    threads.limit_threads()
    with exit_on_interrupt("interrupted; nothing was changed"):
        version = version_files.read(folder)
        digits, held_out = mnist.split(mnist.training_set(data, download))
        packaged = packaging.package(version.network(), digits, held_out)
        manifest = packaged.describe(version.manifest)
        files = {COMPILED: packaged.content, MANIFEST: f"{manifest.model_dump_json(indent=2)}\n".encode()}
        for name, content in files.items():
            if content:
                fs.write_atomically(folder / name, content)
    for line in packaged.lines():
        Report().line(line)


if __name__ == "__main__":
    run_command_line(app, sys.argv[1:], "python -m training.recompile")
