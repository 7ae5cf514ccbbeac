"""Runs benchmarks: ``python -m benchmarks`` all of them, ``python -m benchmarks cli rows`` some.

A benchmark is a module of this folder with ``run() -> list[tuple[str, str]]``: what was measured,
and the result with its unit. The first line of its docstring is its title.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table


def names() -> list[str]:
    """The benchmarks, in alphabetical order."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(file.stem for file in files if not file.stem.startswith("_"))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(names())}")
    chosen = parser.parse_args().names
    unknown = sorted(set(chosen) - set(names()))
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(names())}")
    console = Console()
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}"
    console.print(f"{machine}. Other work on the machine shows; trust ratios.\n")
    failures = 0
    for name in chosen or names():
        started = time.perf_counter()
        try:
            module = importlib.import_module(f"benchmarks.{name}")
            rows = module.run()
        except Exception as error:  # noqa: BLE001  one broken benchmark must not hide the others
            failures += 1
            console.print(f"{name}: failed: {type(error).__name__}: {error}", markup=False)
            continue
        title = (module.__doc__ or name).strip().splitlines()[0]
        seconds = time.perf_counter() - started
        console.print(f"{name}: {title} ({seconds:.0f} s)", markup=False, soft_wrap=True)
        table = Table()
        table.add_column("what")
        table.add_column("result", justify="right")
        for what, result in rows:
            table.add_row(what, result)
        console.print(table, "")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
