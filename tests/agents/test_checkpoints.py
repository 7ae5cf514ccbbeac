from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from tune_bridge.agents.checkpoints import Folder, unpack
from tune_bridge.errors import BackendError


def _tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_what_is_packed_comes_out_again(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "a").write_bytes(b"\x00\xff" * 1000)
    (source / "deep" / "er" / "b ü").write_text("text")
    (source / "empty").mkdir()
    Folder(source).pack(tmp_path / "c.tar")
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").write_text("gone afterwards")
    unpack(tmp_path / "c.tar", target)
    assert _tree(target) == _tree(source)
    assert (target / "empty").is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.tar", "source", "target"]


def test_changes_are_seen_once(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    watched = Folder(folder)
    assert not watched.changed()
    assert not watched.filled
    folder.mkdir()
    (folder / "state").write_text("1")
    assert watched.changed()
    kept = watched.pack(tmp_path / "c.tar")
    assert watched.changed()  # it may not have arrived
    kept()
    assert not watched.changed()
    assert watched.filled
    (folder / "state").write_text("2")
    os.utime(folder / "state", ns=(1, 1))
    assert watched.changed()
    assert not Folder(folder).changed()  # what was there at the start is no change


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out"])
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "c.tar", "w") as tar:
        member = tarfile.TarInfo(name)
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    target = tmp_path / "in" / "target"
    target.mkdir(parents=True)
    (target / "kept").write_text("here")
    with pytest.raises(BackendError, match="refused"):
        unpack(tmp_path / "c.tar", target)
    assert _tree(tmp_path / "in") == {"target/kept": b"here"}
    assert not list(tmp_path.rglob("out"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "c.tar", "w") as tar:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(BackendError, match="refused"):
        unpack(tmp_path / "c.tar", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_links_are_not_packed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "real").write_text("x")
    (source / "link").symlink_to("/etc/passwd")
    Folder(source).pack(tmp_path / "c.tar")
    unpack(tmp_path / "c.tar", tmp_path / "target")
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["real"]


@pytest.mark.parametrize("content", [b"", b"no archive at all" * 100])
def test_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.tar").write_bytes(content)
    with pytest.raises(BackendError, match="cannot be unpacked"):
        unpack(tmp_path / "c.tar", tmp_path / "target")
