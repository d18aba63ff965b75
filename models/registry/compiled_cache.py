"""Compiled models of versions that bring none: those of earlier releases, and those that were made by hand.

    HOME/compiled/SHA256/model.onnx      compiled from the weights with that checksum
    HOME/compiled/SHA256/manifest.json   the version's manifest, which also describes the compiled model

An entry appears whole or not at all. Removing the folder costs no more than compiling again.
"""

import logging
import shutil
import subprocess
import tempfile
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from models import fs, subprocesses
from models.errors import BrokenVersion
from models.inference import runtimes
from models.registry.manifest import read_manifest
from models.registry.version_files import COMPILED, Version, read_file

COMPILE_SECONDS = 300

log = logging.getLogger(__name__)


class CompiledCache:
    """Compiled models in one folder, by the checksum of the weights. Several processes may use the same folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def complete(self, version: Version) -> Version:
        """The version with the compiled model that the cache has for it, or as it is."""
        if version.compiled is None:
            with suppress(BrokenVersion):
                return self._read(version)
        return version

    def compile(self, version: Version, folder: Path) -> Version:
        """Compiles a version from its folder in a process of its own, unless another process just did.

        Raises BrokenVersion if that fails, and HomeError.
        """
        missing = [library for library in ("torch", "onnx") if not runtimes.is_installed(library)]
        if missing:
            raise BrokenVersion(
                f"{version.name} has no {COMPILED}, and making one needs {' and '.join(missing)} (not installed here)"
            )
        with fs.locked(self.folder / ".lock"), fs.home_errors(self.folder):
            completed = self.complete(version)
            if completed.compiled is None:
                log.info("compiling %s for CPUs, which happens once", version.name)
                self._compile(version, folder)
                completed = self._read(version)
        return completed

    def prune(self, kept: Collection[str]) -> None:
        """Removes all entries but those of the weights with these checksums, and what killed processes left."""
        if not self.folder.is_dir():
            return
        with fs.locked(self.folder / ".lock"):
            for path in self.folder.iterdir():
                if path.is_dir() and path.name not in kept:
                    shutil.rmtree(path, ignore_errors=True)

    def _read(self, version: Version) -> Version:
        folder = self.folder / version.manifest.sha256
        described = read_manifest(folder).compiled
        if described is None:
            raise BrokenVersion(f"{folder} describes no compiled model")
        manifest = version.manifest.model_copy(update={"compiled": described})
        return replace(version, manifest=manifest, compiled=read_file(folder / COMPILED, described.sha256))

    def _compile(self, version: Version, folder: Path) -> None:
        building = Path(tempfile.mkdtemp(prefix=".building-", dir=self.folder))
        entry = self.folder / version.manifest.sha256
        try:
            _run(version.name, folder, building / "new")
            shutil.rmtree(entry, ignore_errors=True)  # a damaged one
            (building / "new").rename(entry)
            fs.sync(self.folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)


def _run(name: str, folder: Path, output: Path) -> None:
    """Raises BrokenVersion with the last line of what the process wrote."""
    try:
        subprocess.run(  # noqa: S603 Inkling's own module
            subprocesses.command("models.compilation", folder.absolute(), output.absolute()),
            cwd=subprocesses.ROOT,
            env=subprocesses.environment(),
            check=True,
            capture_output=True,
            text=True,
            timeout=COMPILE_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise BrokenVersion(f"{name} could not be compiled within {COMPILE_SECONDS} s") from error
    except subprocess.CalledProcessError as error:
        reason = error.stderr.strip().rpartition("\n")[2] or f"status {error.returncode}"
        raise BrokenVersion(f"{name} could not be compiled for CPUs: {reason}") from error
