"""`python -m training.evaluation`, and behind it `inkling evaluate`."""

import importlib.util
import sys
from pathlib import Path
from typing import Annotated

import typer

from models.errors import InklingError
from models.inference.runtimes import Runtime
from training import threads
from training.exit_status import exit_on_interrupt, run_command_line
from training.progress import Report

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog="Example: inkling evaluate --model convnet --report evaluation")
def evaluate(
    model: Annotated[
        str | None, typer.Option(help="A version (v3) or a released model (convnet, net); the active one if not given.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Measure on this alone: MNIST's folder, a folder of folders 0 to 9, or a USPS zip.*.gz."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write metrics.json and index.html, a page with images, here.")
    ] = None,
    pictures: Annotated[int, typer.Option(min=1, help="Images of each kind that is generated.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="The same seed generates the same images.")] = 0,
    home: Annotated[Path, typer.Option(envvar="INKLING_HOME", help="Where versions are kept.")] = Path("state"),
    digits: Annotated[Path, typer.Option(envvar="INKLING_DATA", help="Holds MNIST/raw, and usps/zip.*.gz.")] = Path(
        "data"
    ),
    download: Annotated[bool, typer.Option(envvar="INKLING_DOWNLOAD", help="Fetch MNIST where it is missing.")] = True,
    device: Annotated[str, typer.Option(envvar="INKLING_DEVICE", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    runtime: Annotated[
        Runtime, typer.Option(envvar="INKLING_RUNTIME", help="What answers on a CPU: onnxruntime, torch, or auto.")
    ] = "auto",
    compare: Annotated[
        bool, typer.Option(help="Compare the compiled model with the version's weights, on the same images.")
    ] = False,
    quiet: Annotated[bool, typer.Option(help="Print errors alone.")] = False,
) -> None:
    """Measure a model on test digits, other data sets, drawings, photographs, corruptions and outliers."""
    check_extra_installed()
    threads.limit_spinning()
    from models import devices
    from models.registry.registry import find
    from training.evaluation import comparison
    from training.evaluation import evaluate as evaluation
    from training.evaluation.report import writer
    from training.evaluation.report.table import comparison_table, table

    threads.limit_threads()
    with exit_on_interrupt("interrupted"):
        version = find(home, model)
        predictor = version.predictor(devices.resolve(device), "onnxruntime" if compare else runtime)
        if report:
            writer.prepare(report)
        folder, sets = (None, [data]) if data else (digits, sorted((digits / "usps").glob("zip.*.gz")))
        found = evaluation.evaluate(predictor, folder, sets, pictures, seed, download, Report(quiet))
        Report(quiet).line(table(found))
        if compare:
            compared = comparison.compare_kinds(found.kinds, version.predictor(runtime="torch"))
            Report(quiet).line(comparison_table(version.name, compared))
        if report:
            Report(quiet).line(f"wrote {writer.write(found, report)}")


def check_extra_installed() -> None:
    """Raises InklingError if a package of the extra `evaluate` is missing."""
    for package in ("matplotlib", "scipy", "sklearn"):
        if importlib.util.find_spec(package) is None:
            raise InklingError(f"evaluation needs {package}, which is not installed: pip install -e '.[evaluate]'")


def main(arguments: list[str] | None = None, name: str = "python -m training.evaluation") -> None:
    run_command_line(app, sys.argv[1:] if arguments is None else arguments, name)


if __name__ == "__main__":
    main()
