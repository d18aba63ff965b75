import subprocess

import pytest

from models import subprocesses


@pytest.mark.processes
def test_a_module_of_inkling_runs_and_sees_no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("INKLING_API_KEY", "secret")
    monkeypatch.setenv("OTHER", "seen")
    monkeypatch.chdir(tmp_path)
    environment = subprocesses.environment()
    assert (environment.get("INKLING_API_KEY"), environment["OTHER"]) == (None, "seen")
    command = subprocesses.command("models.compilation", tmp_path / "missing", tmp_path / "new")
    result = subprocess.run(command, cwd=subprocesses.ROOT, env=environment, capture_output=True, text=True)
    assert (result.returncode, "manifest.json cannot be read" in result.stderr) == (1, True)
