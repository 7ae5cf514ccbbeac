"""Makes or updates the virtual environment; the Makefile calls it. Standard library only.

    python3 tools/environment.py .venv demo
    python3 tools/environment.py .venv dev

Versions come from constraints.txt. pip's own output goes to install.log in the environment; what is
shown is one line of progress and, when something fails, one message that says what to do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 10)
ENGINES = "optuna,configspace,nevergrad,zoopt,skopt,bayesopt,pb2,ax,hebo"
GROUPS = ("test", "lint", "bench")
SETS = {
    "demo": ["-e", ".[ray,dashboard,examples]"],
    "dev": ["-e", f".[all,{ENGINES}]", *(word for group in GROUPS for word in ("--group", group))],
}
LOOSE = {"demo": [], "dev": ["HEBO>=0.3.6,<0.4", "hpbandster>=0.7.4"]}
"""Installed without what they ask for, which the sets above bring: HEBO excludes numpy 2, with
which it works, and hpbandster wants a netifaces that only a compiler can make."""
NO_ENSUREPIP = """\
{python} cannot make virtual environments: its ensurepip module is missing.
Debian and Ubuntu keep it in a package of its own; install it and run make again:

    sudo apt-get install -y python{major}.{minor}-venv
"""


def fail(message: str) -> NoReturn:
    """Ends with one message and exit code 1."""
    sys.exit(f"\nerror: {message.rstrip()}")


def create(venv: Path) -> Path:
    """Makes the environment if there is no working one; returns its interpreter."""
    python = venv / "bin" / "python"
    if python.exists() and works(python, "import pip"):
        return python
    if venv.exists():
        if not (venv / "pyvenv.cfg").exists() and any(venv.iterdir()):
            fail(f"{venv} exists and is not a virtual environment: move it away, or make VENV=...")
        shutil.rmtree(venv)
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"making {venv} with Python {version}", flush=True)
    if works(Path(sys.executable), "import ensurepip, venv"):
        command = [sys.executable, "-m", "venv", str(venv)]
    elif shutil.which("uv"):
        command = ["uv", "venv", "--quiet", "--seed", "--python", sys.executable, str(venv)]
    elif shutil.which("virtualenv"):
        command = ["virtualenv", "--quiet", "--python", sys.executable, str(venv)]
    else:
        major, minor = sys.version_info[:2]
        fail(NO_ENSUREPIP.format(python=sys.executable, major=major, minor=minor))
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        fail(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return python


def works(python: Path, code: str) -> bool:
    """Whether `code` runs under `python`."""
    done = subprocess.run([str(python), "-c", code], check=False, capture_output=True)
    return done.returncode == 0


def pip_install(python: Path, log: Path, arguments: list[str]) -> None:
    """Runs ``pip install``, showing how far it is."""
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    environment = {**os.environ, "PIP_USER": "0", "PYTHONUNBUFFERED": "1"}
    progress = Progress()
    errors = []
    with log.open("a") as file:
        file.write(f"$ {' '.join(command)}\n")
        pip = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for line in pip.stdout or ():
            file.write(line)
            progress.see(line)
            if line.startswith("ERROR:"):
                errors.append(line.removeprefix("ERROR:").strip())
    progress.end()
    if pip.wait():
        said = "\n".join(f"  {line}" for line in errors[-5:]) or "  (no message)"
        fail(f"pip could not install the packages:\n{said}\nEverything it said is in {log}")


class Progress:
    """A line that is rewritten on a terminal, and a line now and then in a log."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()
        self.count = 0
        self.next_time = 0.0

    def see(self, line: str) -> None:
        """Takes one line of pip's output."""
        words = line.split()
        if words[:1] in (["Collecting"], ["Obtaining"]):
            self.count += 1
            self.show(f"  {self.count} packages looked up: {words[1]}")
        elif words[:1] in (["Downloading"], ["Using"]) and ".whl" in line:
            self.show(f"  {self.count} packages looked up: {' '.join(words)}")
        elif words[:2] == ["Installing", "collected"]:
            self.show(f"  unpacking {len(words) - 3} packages (a minute or two)", now=True)

    def show(self, text: str, *, now: bool = False) -> None:
        """Shows a state; without a terminal at most every ten seconds."""
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\033[K{text[:width]}", end="", flush=True)
        elif now or time.monotonic() >= self.next_time:
            print(text, flush=True)
            self.next_time = time.monotonic() + 10

    def end(self) -> None:
        """Leaves the line empty."""
        if self.live:
            print("\r\033[K", end="", flush=True)


def main() -> None:
    """Brings the environment that is named to the state that pyproject.toml asks for."""
    if sys.version_info < OLDEST:
        found = ".".join(map(str, sys.version_info[:3]))
        fail(f"Python 3.10 or newer is needed, {sys.executable} is {found}: make PYTHON=...")
    venv, name = Path(sys.argv[1]), sys.argv[2]
    started = time.monotonic()
    python = create(venv)
    log = venv / "install.log"
    log.write_text("")
    print(f"installing what `{name}` needs into {venv} (once; it takes a few minutes)", flush=True)
    # Dependency groups came with pip 25.1.
    pip_install(python, log, ["--upgrade", "pip>=25.1"])
    pip_install(python, log, ["--constraint", "constraints.txt", *SETS[name]])
    if LOOSE[name]:
        pip_install(python, log, ["--constraint", "constraints.txt", "--no-deps", *LOOSE[name]])
    print(f"ready after {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\ninterrupted; run make again to go on")
