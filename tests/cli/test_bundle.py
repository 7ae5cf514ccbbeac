"""``tune-bridge bundle``."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("dash")

from tests.server.seed import make_sweep
from tune_bridge.backends.local import LocalBackend
from tune_bridge.cli.main import cli


def test_bundle(tmp_path: Path) -> None:
    place = str(tmp_path / "sweeps.db")
    with LocalBackend.open(place) as backend:
        make_sweep(backend, 5)
    target = tmp_path / "out.html"
    done = CliRunner().invoke(
        cli, ["bundle", "local/vision/abcd1234", "-o", str(target), "--backend", place]
    )
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith(f"written: {target}")
    assert "resnet baseline" in target.read_text("utf-8")
