"""What a program calls: `init`, `Run.config`, `Run.log`, `Run.finish`.

    import tune_bridge

    run = tune_bridge.init(config={"lr": 0.1})
    for epoch in range(10):
        run.log({"loss": train(run.config.lr)})

Inside of a sweep the trial that started the program listens at a local address, and a row counts as
logged when it has confirmed it: nothing is lost when the program ends right afterwards, and a
program cannot run ahead of the scheduler that judges it. Outside of any sweep `init` makes a
sweep with exactly one configuration in the backend, so that the same program run by hand can be
looked at as well.

Only the standard library is loaded; numpy scalars and tensors of one element are taken as numbers
without importing their libraries.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import math
import os
import shutil
import socket
import sys
import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tune_bridge.errors import BackendError, InputError
from tune_bridge.values import decode

__all__ = [
    "ADDRESS_ENV",
    "TOKEN_ENV",
    "Config",
    "Link",
    "Run",
    "RunStopped",
    "attach",
    "current",
    "init",
]

ADDRESS_ENV = "TUNE_BRIDGE_REPORT"
"""``host:port`` where the trial listens; set for every program that a sweep starts."""

TOKEN_ENV = "TUNE_BRIDGE_TOKEN"  # noqa: S105 - the name, not the secret
"""The secret that the first line has to hold."""

SWEEP_ENV = "TUNE_BRIDGE_SWEEP"
"""The sweep's file, for `init` without one: set it where W&B's own agent starts the program."""

LINE_LIMIT = 8 * 1024 * 1024
"""Bytes that one message may have."""

_current: Run | None = None
_here = threading.local()  # a function that an agent runs has its run in its own thread
_attached: set[int] = set()  # these threads


class RunStopped(BaseException):
    """Ends a function that an agent runs, where it reports: its run is over, or is paused.

    No ``except Exception`` of a training loop catches it; ``finally`` is executed.
    """


def attach(link: Link | None) -> None:
    """Says where `init` in this thread reports; None takes that back, and ends its run."""
    global _current  # noqa: PLW0603 - see init
    run: Run | None = getattr(_here, "run", None)
    if run is not None:
        run.active = False
        atexit.unregister(run._at_exit)
        if _current is run:
            _current = None
    _here.link, _here.run = link, None
    (_attached.add if link else _attached.discard)(threading.get_ident())


def current() -> Run | None:
    """The run that has begun: of an agent's function in its own thread, or of the process.

    Raises:
        InputError: It could be any of several.
    """
    if getattr(_here, "link", None) is not None:
        run: Run | None = _here.run
        return run
    if len(_attached) > 1:
        hint = "give the thread the run that tune_bridge.init() returns in the function"
        raise InputError("several runs share this process", hint=hint)
    return _current


def init(
    project: str | None = None,
    config: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    backend: str | None = None,
    sweep: str | os.PathLike[str] | Mapping[str, Any] | None = None,
) -> Run:
    """Begins the run of this program, or returns the one that has begun.

    In a program that W&B's own agent has started the parameters are those of its file
    (``WANDB_SWEEP_PARAM_PATH``); with `sweep` they are folded to the values that the search space
    stands for (see `tune_bridge.fold`).

    Args:
        project: Project of a run outside of a sweep; a sweep has its own.
        config: Defaults. Inside of a sweep the sweep's values win, name by name.
        name: Display name of a run outside of a sweep.
        backend: URL of the backend of a run outside of a sweep; the default one without.
        sweep: The sweep's file or config, for folding; the file in ``TUNE_BRIDGE_SWEEP`` by
            default. A space that is no mapping stays under its one name, ``space``.

    Returns:
        The run. It is finished when the program ends, at the latest.

    Raises:
        InputError: `config` holds something that cannot be stored, or the sweep's file cannot be
            read.
        BackendError: The trial or the backend does not answer.
    """
    global _current  # noqa: PLW0603 - one run per process, as with wandb.run
    run = current()
    if run is not None and run.active:
        return run
    defaults = _plain(dict(config or {}), "init(config=...)")
    attached: Link | None = getattr(_here, "link", None)
    if attached is not None:
        _here.run = _current = Run(attached, defaults)
        return _current
    sweep = os.environ.get(SWEEP_ENV) if sweep is None else sweep
    address = os.environ.get(ADDRESS_ENV)
    link: Link
    if address:
        link = _Trial(address, os.environ.get(TOKEN_ENV, ""))
        given = decode(link.about.get("config") or {})
        drawn = _drawn(given, sweep) if given and sweep is not None else {}
    else:
        drawn = _drawn({}, sweep)
        from tune_bridge.alone import Alone

        link = Alone(project, name, backend, {**defaults, **_plain(drawn, "sweep")})
    _current = Run(link, defaults, drawn)
    return _current


def _drawn(given: Mapping[str, Any], sweep: Any) -> dict[str, Any]:
    """Parameters folded by a sweep: those given, else what W&B's agent drew for this program."""
    path = os.environ.get("WANDB_SWEEP_PARAM_PATH")
    if not path and (sweep is None or not given):
        return {}
    from tune_bridge.dialects.sweep.folding import fold_names, read_parameter_file

    drawn = given or read_parameter_file(str(path))
    return dict(drawn) if sweep is None else fold_names(drawn, sweep)


class Config(dict[str, Any]):
    """A run's parameters: a dict whose items are attributes too, nested dicts included.

    Setting an item records it with the run. A name that is also a method of dict (``items``,
    ``keys``) is reached as an item only.
    """

    def __init__(self, values: Mapping[str, Any], run: Run | None = None) -> None:
        super().__init__({key: _wrap(value) for key, value in values.items()})
        object.__setattr__(self, "_run", run)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(
                f"no parameter {name!r}; there are {', '.join(map(str, self)) or 'none'}"
            ) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Sets several parameters at once and records them."""
        values = _plain(dict(*args, **kwargs), "config")
        for key, value in values.items():
            super().__setitem__(key, _wrap(value))
        run = self.__dict__.get("_run")
        if run is not None and values:
            run._configured(values)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(key for key in self if str(key).isidentifier())]

    def __reduce__(self) -> tuple[Any, ...]:
        return (Config, (dict(self),))


class Run:
    """One run, as its program sees it.

    Use it as a context manager, or let the end of the program finish it.

    Attributes:
        id: The run's id.
        name: Its display name.
        sweep_id: Its sweep.
        project: Its project.
        config: Its parameters.
        summary: Last value of every logged key; what is set here is kept with the run.
        checkpoint_dir: A folder that survives a pause, and that a run which goes on from another
            one's state (population based training) finds filled; None outside of a sweep.
    """

    def __init__(
        self, link: Link, defaults: Mapping[str, Any], drawn: Mapping[str, Any] | None = None
    ) -> None:
        self._link = link
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._step = int(link.about.get("first_step", 0)) - 1
        self._logged: dict[str, Any] = {}
        self.active = True
        self.stopping = False
        about = link.about
        self.id: str = about.get("id", "")
        self.name: str = about.get("name", "")
        self.sweep_id: str = about.get("sweep_id", "")
        self.project: str = about.get("project", "")
        folder = about.get("checkpoint_dir")
        self.checkpoint_dir: Path | None = Path(folder) if folder else None
        given: dict[str, Any] = {**decode(about.get("config") or {}), **(drawn or {})}
        extra = {key: value for key, value in defaults.items() if key not in given}
        self.config = Config({**extra, **given}, self)
        self.summary: dict[str, Any] = {}
        if extra or drawn:
            self._configured(_plain({**extra, **(drawn or {})}, "sweep"))
        atexit.register(self._at_exit)

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Logs one row; returns when it is safe.

        Args:
            values: Numbers, strings, bools, or lists and dicts of them; nested dicts become names
                with ``/``. NaN and infinities are kept.
            step: Counts up by itself. The same step again adds to its row; an earlier one is
                refused with a warning, as W&B does.

        Raises:
            InputError: A value cannot be stored; the message names its key.
        """
        row = _plain(dict(values), "log()")
        with self._lock:
            if not self.active:
                raise InputError("log() after finish()", hint="call tune_bridge.init() first")
            number = self._step + 1 if step is None else int(step)
            if number < self._step:
                warnings.warn(
                    f"log(step={number}) comes after step {self._step} and is left out",
                    stacklevel=2,
                )
                return
            self._step = number
            self.summary.update(row)
            self._logged.update(row)
            self._send({"log": row, "step": number, "time": time.time()})

    def checkpoint(self) -> Path | None:
        """The folder with the state to go on from; None to begin at the beginning.

        A run that was paused finds what it saved last; one that a population made a copy finds the
        state of its donor. Call it before training, also when there is nothing yet: it says that
        this program can go on, which schedulers that pause and copy runs need to know.
        """
        self._send({"resumable": True})
        folder = self.checkpoint_dir
        return folder if folder is not None and folder.is_dir() and any(folder.iterdir()) else None

    def save_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Keeps a state to go on from: the one before it is replaced, in one step.

        Save first and `log` then: the state belongs to the row that follows it. Outside of a sweep
        nothing is kept.

        Args:
            path: A folder, or a file; it is copied.

        Raises:
            InputError: There is nothing at `path`.
        """
        source, folder = Path(path), self.checkpoint_dir
        if not source.exists():
            raise InputError("there is nothing to save", path=str(source), expected="a folder")
        if folder is None or os.getpid() != self._pid:
            return
        self._send({"resumable": True})
        if source.resolve() == folder.resolve():
            return
        fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
        for left in (fresh, old):
            shutil.rmtree(left, ignore_errors=True)
        if source.is_dir():
            shutil.copytree(source, fresh)
        else:
            fresh.mkdir(parents=True)
            shutil.copy2(source, fresh)
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
        shutil.rmtree(old, ignore_errors=True)

    def finish(self, exit_code: int = 0) -> None:
        """Ends the run. Idempotent.

        Args:
            exit_code: Other than 0 for a failure; of a program in a sweep its own exit code counts.
        """
        with self._lock:
            if not self.active:
                return
            missing = object()
            own = {
                key: value
                for key, value in self.summary.items()
                if self._logged.get(key, missing) is not value
            }
            try:
                if own:
                    self._send({"summary": _plain(own, "summary")})
            finally:
                self.active = False
                self._link.close(exit_code)
                atexit.unregister(self._at_exit)

    def __enter__(self) -> Run:  # noqa: PYI034 - Self is newer than the oldest Python
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.finish(0 if kind is None else 1)

    def __repr__(self) -> str:
        return f"<Run {self.id} of sweep {self.sweep_id}, project {self.project}>"

    def _configured(self, values: dict[str, Any]) -> None:
        with self._lock:
            if self.active:
                self._send({"config": values})

    def _send(self, message: dict[str, Any]) -> None:
        if os.getpid() != self._pid:
            return  # a fork of the program, say a data loader's worker
        if self._link.send(message):
            self.stopping = True
            if self._link.raises:
                raise RunStopped("the run was stopped")

    def _at_exit(self) -> None:
        if os.getpid() != self._pid:
            return
        # The interpreter leaves the exception that ended the program here.
        failed = getattr(sys, "last_type", None) is not None
        with contextlib.suppress(Exception):
            self.finish(1 if failed else 0)


class Link:
    """Where messages go: to the trial, to a backend, or to the agent whose function this is.

    Attributes:
        about: What the run is told of itself.
        raises: A stop ends the function with `RunStopped`; a program is ended by a signal.
    """

    about: dict[str, Any]
    raises = False

    def send(self, message: dict[str, Any]) -> bool:
        """Delivers a message; returns whether the run is to stop."""
        raise NotImplementedError

    def close(self, exit_code: int) -> None:
        """Says that the run has ended."""
        raise NotImplementedError


class _Trial(Link):
    """The connection to the trial: one JSON line each way per message.

    Args:
        address: ``host:port``.
        token: The secret.

    Raises:
        BackendError: Nobody answers there.
    """

    def __init__(self, address: str, token: str) -> None:
        host, _, port = address.rpartition(":")
        try:
            self._socket: socket.socket | None = socket.create_connection((host, int(port)), 30)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.settimeout(None)  # a row may have to wait for the scheduler
            self._lines = self._socket.makefile("rb")
            self.about = self._exchange({"token": token})
        except (OSError, ValueError) as error:
            raise BackendError(
                f"the trial that started this program does not answer at {address} ({error}); "
                f"unset {ADDRESS_ENV} to run it outside of a sweep"
            ) from None

    def _exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._socket is not None
        data = json.dumps(message).encode() + b"\n"
        if len(data) > LINE_LIMIT:
            raise InputError(
                "too much for one row",
                found=f"{len(data)} bytes",
                expected=f"at most {LINE_LIMIT}",
                hint="write large things to a file and log its name",
            )
        self._socket.sendall(data)
        line = self._lines.readline()
        if not line:
            raise ConnectionError("the connection was closed")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def send(self, message: dict[str, Any]) -> bool:
        """Sends one message and waits for the answer.

        Raises:
            InputError: The trial refused it.
        """
        if self._socket is None:
            return True
        try:
            answer = self._exchange(message)
        except OSError as error:
            # The trial is gone, and this program is about to be ended: that is no error of its own.
            warnings.warn(f"the sweep does not listen any more ({error})", stacklevel=4)
            self.close(0)
            return True
        if "error" in answer:
            raise InputError(str(answer["error"]))
        return bool(answer.get("stop"))

    def close(self, exit_code: int) -> None:
        """Closes the connection; the trial takes the exit code from the process itself."""
        del exit_code
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._lines.close()
                self._socket.close()
            self._socket = None


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, with names joined by ``/``, as Ray Tune names nested results."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{name}/"))
        else:
            flat[name] = value
    return flat


def _wrap(value: Any) -> Any:
    return Config(value) if isinstance(value, dict) and not isinstance(value, Config) else value


def _plain(values: dict[str, Any], where: str) -> dict[str, Any]:
    """The values as JSON holds them, floats that JSON does not know included.

    Raises:
        InputError: Naming the first key whose value cannot be stored.
    """
    plain = {}
    for key, value in values.items():
        kind = type(value)
        if kind is float or kind is int or kind is bool or kind is str or value is None:
            plain[str(key)] = value
            continue
        try:
            plain[str(key)] = json.loads(json.dumps(value, default=_number))
        except (TypeError, ValueError, RecursionError):
            raise InputError(
                f"{where}: the value of {str(key)!r} cannot be stored",
                path=str(key),
                found=f"{kind.__module__}.{kind.__qualname__}",
                expected="a number, a string, a bool, None, or lists and dicts of them",
            ) from None
    return plain


def _number(value: Any) -> Any:
    """Scalars and arrays of numpy, tensors and alike by what they offer, without importing them."""
    for method in ("item", "tolist"):
        convert = getattr(value, method, None)
        if callable(convert):
            with contextlib.suppress(ValueError, RuntimeError, TypeError):
                return convert()
    raise TypeError


def finite(value: Any) -> bool:
    """Whether a value is a number that a searcher can use."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
