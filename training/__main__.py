"""`python -m training`, which `inkling train` runs, too."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from training import recipes, threads
from training.exit_status import exit_on_interrupt, run_command_line
from training.progress import Report

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _recipe(name: str) -> str:
    if name not in recipes.NAMES:
        raise typer.BadParameter(f"{name!r} is not a recipe; expected one of {', '.join(recipes.NAMES)}")
    return name


@app.command(epilog="Example: inkling train --recipe tutorial --seed 3 --no-activate")
def train(
    recipe: Annotated[str, typer.Option(callback=_recipe, help=f"One of {', '.join(recipes.NAMES)}.")] = "default",
    output: Annotated[
        Path | None, typer.Option(help="Write weights.pt and manifest.json here instead of a version under HOME.")
    ] = None,
    activate: Annotated[bool, typer.Option(help="Serve the new version.")] = True,
    network: Annotated[str | None, typer.Option(help="Train this network instead of the recipe's.")] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Train so many epochs of the recipe's first stage, without teachers."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="The same seed on the same processor gives the same weights.")
    ] = 0,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Save the run's state in this file after every epoch; the same command resumes from it."),
    ] = None,
    teachers: Annotated[
        Path | None, typer.Option(help="Keep the recipe's teachers in this folder; train only those missing there.")
    ] = None,
    home: Annotated[Path, typer.Option(envvar="INKLING_HOME", help="Where versions are kept.")] = Path("state"),
    data: Annotated[
        Path, typer.Option(envvar="INKLING_DATA", help="The folder with MNIST/raw; fetched if it is missing.")
    ] = Path("data"),
    download: Annotated[bool, typer.Option(envvar="INKLING_DOWNLOAD", help="Fetch MNIST if it is missing.")] = True,
    device: Annotated[str, typer.Option(envvar="INKLING_DEVICE", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    quiet: Annotated[bool, typer.Option(help="Print errors only.")] = False,
) -> None:
    """Train a network on MNIST and save it as the next version."""
    threads.limit_spinning()
    from models.inference.networks import NETWORKS
    from training import run
    from training.run import Run

    changed = recipes.find(recipe).with_changes(network=network, epochs=epochs)
    if changed.network not in NETWORKS:
        expected = ", ".join(NETWORKS)
        raise typer.BadParameter(f"{network!r} is not a network; expected one of {expected}", param_hint="--network")
    if checkpoint is not None and recipe == "tutorial":
        raise typer.BadParameter("the tutorial takes seconds and keeps no checkpoint", param_hint="--checkpoint")
    if teachers is not None and not changed.teachers:
        has_teachers = recipes.find(recipe).teachers
        why = "a run with --epochs has no teachers" if has_teachers else f"the recipe {recipe!r} has no teachers"
        raise typer.BadParameter(why, param_hint="--teachers")
    message = "interrupted; nothing was saved"
    if checkpoint:
        message = f"interrupted; the same command resumes from {checkpoint}"
    elif teachers:
        message = f"interrupted; the teachers trained so far are in {teachers}"
    threads.limit_threads(changed.network)
    with exit_on_interrupt(message):
        run.train(
            Run(recipe, data, home, output, activate, download, device, seed, network, epochs, checkpoint, teachers),
            Report(quiet),
        )


def main(arguments: list[str] | None = None, name: str = "python -m training") -> None:
    """Runs the trainer and exits: 2 for an error that the caller can correct, 130 after Ctrl-C."""
    run_command_line(app, sys.argv[1:] if arguments is None else arguments, name)


if __name__ == "__main__":
    main()
