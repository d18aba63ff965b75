"""`python -m training`, and behind it `inkling train`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from training.exit_status import ending, keep_to_quota, run
from training.progress import Report
from training.recipes import RECIPES

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _recipe(name: str) -> str:
    if name not in RECIPES:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(RECIPES)}")
    return name


@app.command(epilog="Example: inkling train --recipe tutorial --seed 3 --no-activate")
def train(
    recipe: Annotated[str, typer.Option(callback=_recipe, help=f"One of {', '.join(RECIPES)}.")] = "default",
    output: Annotated[
        Path | None, typer.Option(help="Write weights.pt and manifest.json here instead of a version under HOME.")
    ] = None,
    activate: Annotated[bool, typer.Option(help="Make the new version the one that is served.")] = True,
    network: Annotated[str | None, typer.Option(help="Train this network instead of the recipe's.")] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Passes over the data instead of the recipe's, all like its first and untaught."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="The same seed on the same processor gives the same weights.")
    ] = 0,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Keep the run's state in this file; the same command goes on from it. Not for `tutorial`."),
    ] = None,
    teachers: Annotated[
        Path | None,
        typer.Option(help="Keep a recipe's teachers in this folder; those that are there are not trained again."),
    ] = None,
    home: Annotated[Path, typer.Option(envvar="INKLING_HOME", help="Where versions are kept.")] = Path("state"),
    data: Annotated[Path, typer.Option(envvar="INKLING_DATA", help="Holds MNIST/raw; fetched if not there.")] = Path(
        "data"
    ),
    download: Annotated[bool, typer.Option(envvar="INKLING_DOWNLOAD", help="Fetch MNIST where it is missing.")] = True,
    device: Annotated[str, typer.Option(envvar="INKLING_DEVICE", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    quiet: Annotated[bool, typer.Option(help="Print errors alone.")] = False,
) -> None:
    """Train a network on MNIST and save it as the next version."""
    from models.inference.networks import NETWORKS
    from training import run
    from training.run import Run

    if network is not None and network not in NETWORKS:
        raise typer.BadParameter(f"{network!r} is none of {', '.join(NETWORKS)}", param_hint="--network")
    if checkpoint is not None and recipe == "tutorial":
        raise typer.BadParameter("the tutorial takes seconds and keeps no checkpoint", param_hint="--checkpoint")
    if teachers is not None and not RECIPES[recipe].but(epochs=epochs).teachers:
        taught = bool(RECIPES[recipe].teachers)
        why = "a run with --epochs is not taught" if taught else f"the recipe {recipe!r} has no teachers"
        raise typer.BadParameter(why, param_hint="--teachers")
    if checkpoint:
        ended = f"interrupted; the same command goes on from {checkpoint}"
    else:
        ended = (
            f"interrupted; what there is of teachers is in {teachers}" if teachers else "interrupted; nothing was saved"
        )
    keep_to_quota()
    with ending(ended):
        run.train(
            Run(recipe, data, home, output, activate, download, device, seed, network, epochs, checkpoint, teachers),
            Report(quiet),
        )


def main(arguments: list[str] | None = None, name: str = "python -m training") -> None:
    """Runs the trainer and exits: 2 for what the caller can mend, 130 after Ctrl-C."""
    run(app, sys.argv[1:] if arguments is None else arguments, name)


if __name__ == "__main__":
    main()
