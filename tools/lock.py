"""Writes constraints.txt: one exact version of everything, for every supported Python.

Each interpreter resolves what the development environment has (``pip install --dry-run``), and the
answers are merged into one file. Where they differ, markers say which version is for whom. The file
holds names and versions only: it means the same on every package index.

    python tools/lock.py python3.10 python3.11 python3.12 python3.13
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.environment import LOOSE, SETS

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "constraints.txt"
PINS = ("torch==2.13.0",)
"""Newer ones bring gigabytes of CUDA wherever they come from; this one has a build without."""
CUDA = ("cuda-", "nvidia-", "triton")
"""What torch brings where it comes with CUDA, in versions that it says itself."""
HEADER = """\
# Written by `make lock`; do not edit. Exact versions for a repeatable environment, resolved with
# Python {versions}. The package itself asks only for the ranges in pyproject.toml.
"""


def version_of(python: str) -> tuple[int, int]:
    """The (major, minor) version of an interpreter."""
    code = "import sys; print(*sys.version_info[:2])"
    answer = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    major, minor = answer.stdout.split()
    return int(major), int(minor)


def resolve(python: str, *, keep: bool) -> dict[str, str]:
    """Name -> version of all that pip would install for `python`, this project left out.

    Args:
        python: The interpreter.
        keep: Versions that are in constraints.txt stay.
    """
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder, "pins.txt")
        pins.write_text("\n".join(PINS) + "\n")
        given = ["--constraint", str(pins)]
        given += ["--constraint", str(TARGET)] if keep else []
        for words in (SETS["dev"], ["--no-deps", *LOOSE["dev"]]):
            report = Path(folder, "report.json")
            # This pip runs under the other interpreter, whose own may be too old for groups.
            command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
            command += ["--dry-run", "--ignore-installed", "--report", str(report), *given, *words]
            subprocess.run(command, check=True, cwd=ROOT)
            for item in json.loads(report.read_text())["install"]:
                found[item["metadata"]["name"]] = item["metadata"]["version"]
    del found["tune-bridge"]
    # A local label such as +cpu names a private build, which a public index does not have.
    return {
        name: version.split("+")[0] for name, version in found.items() if not name.startswith(CUDA)
    }


def merge(resolved: dict[tuple[int, int], dict[str, str]]) -> list[str]:
    """The requirement lines that say the same as all of `resolved` together."""
    pythons = sorted(resolved)
    lines = []
    for name in sorted({name for found in resolved.values() for name in found}, key=str.lower):
        runs = itertools.groupby(pythons, key=lambda python: resolved[python].get(name))
        for version, members in runs:
            if version is None:
                continue
            span = list(members)
            bounds = []
            if span[0] != pythons[0]:
                bounds.append(f'python_version >= "{span[0][0]}.{span[0][1]}"')
            if span[-1] != pythons[-1]:
                after = pythons[pythons.index(span[-1]) + 1]
                bounds.append(f'python_version < "{after[0]}.{after[1]}"')
            marker = f" ; {' and '.join(bounds)}" if bounds else ""
            lines.append(f"{name}=={version}{marker}")
    return lines


def main() -> None:
    """Resolves with each interpreter that is named and writes the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "pythons", nargs="+", metavar="PYTHON", help="an interpreter, 3.10 or newer"
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the versions that are there as they are"
    )
    arguments = parser.parse_args()
    resolved = {}
    for python in arguments.pythons:
        version = version_of(python)
        print(f"resolving for Python {version[0]}.{version[1]} ...", flush=True)
        resolved[version] = resolve(python, keep=arguments.keep)
    versions = ", ".join(f"{major}.{minor}" for major, minor in sorted(resolved))
    lines = merge(resolved)
    TARGET.write_text(HEADER.format(versions=versions) + "\n".join(lines) + "\n")
    print(f"{TARGET.name}: {len(lines)} lines")


if __name__ == "__main__":
    main()
