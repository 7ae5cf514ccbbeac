"""What becomes of a result's values: numbers, texts, lists, histograms, files, and the rest."""

from __future__ import annotations

import enum
import io
import json
import logging
import math
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("ray.tune")

from tests.test_callback import Trial
from tune_bridge import SweepCallback
from tune_bridge.backends import open_backend
from tune_bridge.callback_files import (
    LEFT_OUT,
    LONGEST_TEXT,
    Attachments,
    folder_of,
    is_of_this_machine,
)
from tune_bridge.server.wandb.files import Files, Found
from tune_bridge.server_process import files_of


class Pair(NamedTuple):
    a: int
    b: int


class Scalar:
    """A tensor of one number, of whatever library."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def item(self) -> Any:
        return self.value


class Reports:
    """One run in a place of its own."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder / 'sweeps.db'}"
        self.callback = SweepCallback("demo", backend=self.url, **options)
        self.callback.setup()
        self.trial = Trial("a")
        self.callback.on_trial_start(0, [self.trial], self.trial)

    def result(self, **values: Any) -> None:
        self.callback.on_trial_result(0, [self.trial], self.trial, values)

    def rows(self) -> list[dict[str, Any]]:
        """All rows, when all is over."""
        self.callback.on_trial_complete(0, [self.trial], self.trial)
        self.callback.on_experiment_end([self.trial])
        with open_backend(self.url) as backend:
            (self.run,) = backend.runs(self.callback.sweep_id or "")
            return [row.values for row in backend.history(self.run.id)]

    def files(self) -> dict[str, Found]:
        """The files of the run, as the server finds them."""
        found = Files(self.folder / "wandb" / "files", 1 << 30)
        return {file.name: file for file in found.list((self.run.sweep_id, self.run.id))}


@pytest.fixture
def reports(tmp_path: Path) -> Iterator[Reports]:
    made = Reports(tmp_path, exclude=["secret", "val/secret"])
    yield made
    made.callback.close()


def test_plain_values(reports: Reports) -> None:
    reports.result(
        zero_d=np.array(1.5), numpy=np.float32(0.5), tensor=Scalar(3), flag=np.bool_(True),
        word=np.str_("w"), nan=math.nan, inf=np.float64("-inf"), none=None, text="text",
        secret=1, val={"loss": 2, "secret": 3, "deep": {"er": np.int64(4)}},
        list=[1, np.float32(2), ["x", None]], pair=(1, 2), short=np.arange(3),
    )  # fmt: skip
    (row,) = reports.rows()
    assert math.isnan(row.pop("nan"))
    assert row == {
        "zero_d": 1.5, "numpy": 0.5, "tensor": 3, "flag": True, "word": "w", "inf": -math.inf,
        "none": None, "text": "text", "val/loss": 2, "val/deep/er": 4,
        "list": [1, 2.0, ["x", None]], "pair": [1, 2], "short": [0, 1, 2],
    }  # fmt: skip
    assert {type(row[key]) for key in ("numpy", "zero_d")} == {float}
    assert row["flag"] is True
    assert not reports.files()


def test_odd_values(reports: Reports) -> None:
    class Word(str):
        __slots__ = ()

    class Level(enum.IntEnum):
        HIGH = 3

    reports.result(
        big=2**70, half="a\ud800b", nul="a\0b", level=Level.HIGH, word=Word("w"), pair=Pair(1, 2),
        long=np.longdouble(1.5), empty=np.zeros((0,)), halves=["\ud800"], nested={5: {6: 1}},
        wide=np.zeros(2, np.longdouble), nothing={}, many=np.uint64(2**64 - 1),
    )  # fmt: skip
    assert reports.rows() == [
        {
            "big": 2**70, "half": "a?b", "nul": "a\0b", "level": 3, "word": "w", "pair": [1, 2],
            "long": 1.5, "empty": [], "halves": ["?"], "nested/5/6": 1, "wide": [0.0, 0.0],
            "many": 2**64 - 1,
        }
    ]  # fmt: skip


def test_histograms_are_those_of_wandb(reports: Reports) -> None:
    counts = np.histogram(np.array([0.0, 1.0, 1.0, 2.0]), bins=2)
    reports.result(hist=counts)
    assert reports.rows() == [
        {"hist": {"_type": "histogram", "values": [1, 3], "bins": [0.0, 1.0, 2.0]}}
    ]


def test_wandbs_own_values(reports: Reports) -> None:
    wandb = pytest.importorskip("wandb")
    pytest.importorskip("PIL")
    reports.result(
        hist=wandb.Histogram([1, 2, 2], num_bins=2),
        image=wandb.Image(np.zeros((4, 6, 3), np.uint8)),
    )
    (row,) = reports.rows()
    assert row["hist"]["values"] == [1, 2]
    assert len(row["hist"]["bins"]) == 3
    assert row["image"] == {"_type": "image-file", "path": "media/images/image_0.png"}
    assert list(reports.files()) == ["media/images/image_0.png"]


def test_what_is_no_row_is_a_file(reports: Reports) -> None:
    array = np.arange(100.0).reshape(10, 10)
    long = "x" * (LONGEST_TEXT + 1)
    reports.result(val={"array": array}, raw=b"\x00\x01", text=long)
    reports.result(val={"array": array + 1})
    rows = reports.rows()
    assert rows == [
        {
            "val/array": {"_type": "file", "path": "media/files/val/array_0.npy"},
            "raw": {"_type": "file", "path": "media/files/raw_0.bin"},
            "text": {"_type": "file", "path": "media/files/text_0.txt"},
        },
        {"val/array": {"_type": "file", "path": "media/files/val/array_1.npy"}},
    ]
    found = reports.files()
    assert set(found) == {value["path"] for row in rows for value in row.values()}
    assert (np.load(found["media/files/val/array_1.npy"].path) == array + 1).all()
    assert found["media/files/raw_0.bin"].path.read_bytes() == b"\x00\x01"
    assert found["media/files/text_0.txt"].path.read_text() == long
    assert reports.run.summary["val/array"]["path"] == "media/files/val/array_1.npy"
    json.dumps(reports.run.summary)


def test_pictures(reports: Reports) -> None:
    image = pytest.importorskip("PIL.Image")
    figure = pytest.importorskip("matplotlib.figure").Figure((1, 1))
    axes = figure.subplots()
    reports.result(image=image.new("RGB", (5, 7)), figure=figure, axes=axes)
    (row,) = reports.rows()
    found = reports.files()
    assert {key: value["_type"] for key, value in row.items()} == dict.fromkeys(
        ("image", "figure", "axes"), "image-file"
    )
    for value in row.values():
        with image.open(found[value["path"]].path) as picture:
            assert picture.format == "PNG"
    with image.open(io.BytesIO(found[row["image"]["path"]].path.read_bytes())) as picture:
        assert picture.size == (5, 7)


def test_everything_else_is_refused_once(
    reports: Reports, caplog: pytest.LogCaptureFixture
) -> None:
    class Evil:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    cyclic: list[Any] = []
    cyclic.append(cyclic)
    strange: dict[str, Any] = {
        "object": object(), "decimal": Decimal(1), "complex": 1j, "set": {1}, "evil": Evil(),
        "function": print, "cyclic": cyclic, "objects": np.array([object()] * 40),
        "../../up": b"x",
    }  # fmt: skip
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            reports.result(loss=1, **strange)
    assert reports.rows() == [{"loss": 1}] * 3
    for key in strange:
        assert caplog.text.count(f"{key} is not logged") == 1
    assert not list((reports.folder / "wandb").rglob("*.bin"))


def test_a_place_without_files_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert folder_of("wandb://somebody/project") is None
    files = Attachments(None, "s")
    with caplog.at_level(logging.WARNING):
        assert files.take("r", 0, "raw", b"x") is LEFT_OUT
    assert "this place keeps none; log it with wandb in the program" in caplog.text
    assert files.take("r", 0, "h", np.histogram([1.0], bins=1))["_type"] == "histogram"


def test_files_of_a_database_stay_where_its_server_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TUNE_BRIDGE_HOME", str(tmp_path))
    place = "postgresql://somebody:secret@nowhere/db"
    folder = folder_of(place)
    assert folder == files_of(place).store / "wandb" / "files"
    assert folder == folder_of("postgresql://somebody@nowhere/db")
    assert is_of_this_machine(place)
    assert not is_of_this_machine(str(tmp_path / "sweeps.db"))
    files = Attachments(folder, "s", stays=True)
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            files.take("r", step, "raw", b"x")
        files.close(60)
    assert caplog.text.count("files of runs stay on this machine") == 1
    assert "secret" not in caplog.text
    assert len(list(folder.glob("s/r/media/files/raw_*.bin"))) == 3


def test_a_disk_that_refuses(reports: Reports, caplog: pytest.LogCaptureFixture) -> None:
    (reports.folder / "wandb").write_text("no folder")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            reports.result(loss=1, raw=b"x")
        assert [row["loss"] for row in reports.rows()] == [1, 1, 1]
    assert caplog.text.count("raw is not logged: its file cannot be made") == 1
