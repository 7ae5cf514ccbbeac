"""A random state of one's own for code that draws from global ones, and silence around it.

Searchers and schedulers draw from `random`, from ``numpy.random`` and from torch, and print. While
a `Sandbox` is entered, these states are its own; afterwards they are what they were, to the last
bit, and what was printed is in the log. The states are the process's: one thread at a time is in a
sandbox, whichever sweep it works for.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import logging
import random
import sys
import threading
import warnings
from types import TracebackType
from typing import Any

__all__ = ["Sandbox", "derived"]

_log = logging.getLogger("tune_bridge.engines")
_entered = threading.Lock()


def derived(seed: int, purpose: str, bits: int = 32) -> int:
    """A seed for one of several uses of a seed, below ``2**bits``."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % (1 << bits)


class Sandbox:
    """Global random states, standard output and warnings, swapped while it is entered.

    It is picklable, and goes on with the same draws. Entering it twice at once is an error of the
    caller. Torch is heavy and not imported here: its state is swapped once it is loaded.

    Args:
        seed: Where the states start.
    """

    def __init__(self, seed: int) -> None:
        # What would load numpy inside for the first time, would draw from a state that is not ours.
        importlib.import_module("numpy")
        self._seed = seed
        self._python: Any = random.Random(derived(seed, "random")).getstate()
        self._numpy: Any = None
        self._torch: Any = None
        self._outside: tuple[Any, Any, Any] | None = None
        self._stopped: list[Any] = []
        self._thread = 0

    def __enter__(self) -> Sandbox:  # noqa: PYI034 - Self came with Python 3.11
        if self._outside is not None and self._thread == threading.get_ident():
            raise RuntimeError("a sandbox is entered once at a time")
        _entered.acquire()
        try:
            return self._enter()
        except BaseException:
            _entered.release()
            raise

    def _enter(self) -> Sandbox:
        self._thread = threading.get_ident()
        self._outside = (random.getstate(), None, None)
        numpy, torch = _loaded("numpy"), _loaded("torch")
        if numpy is not None or torch is not None:
            self._outside = (
                self._outside[0],
                numpy and numpy.random.get_state(),
                torch and torch.random.get_rng_state(),
            )
        random.setstate(self._python)
        self._set(numpy, torch)
        caught = warnings.catch_warnings()
        caught.__enter__()
        warnings.simplefilter("ignore")
        self._stopped = [caught, sys.stdout, sys.stderr, io.StringIO()]
        sys.stdout = sys.stderr = self._stopped[3]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        caught, sys.stdout, sys.stderr, printed = self._stopped
        caught.__exit__(kind, error, trace)
        assert self._outside is not None
        before_python, before_numpy, before_torch = self._outside
        self._outside, self._stopped = None, []
        try:
            self._leave(before_python, before_numpy, before_torch)
        finally:
            _entered.release()
        text = printed.getvalue()
        if text:
            _log.debug("printed by a library: %s", text.rstrip())

    def _leave(self, before_python: Any, before_numpy: Any, before_torch: Any) -> None:
        self._python = random.getstate()
        random.setstate(before_python)
        numpy, torch = _loaded("numpy"), _loaded("torch")
        if before_numpy is not None:
            self._numpy = numpy.random.get_state()
            numpy.random.set_state(before_numpy)
        if before_torch is not None:
            self._torch = torch.random.get_rng_state().numpy().tobytes()
            torch.random.set_rng_state(before_torch)

    def _set(self, numpy: Any, torch: Any) -> None:
        if numpy is not None:
            if self._numpy is None:
                self._numpy = numpy.random.RandomState(derived(self._seed, "numpy")).get_state()
            numpy.random.set_state(self._numpy)
        if torch is not None:
            if self._torch is None:
                generator = torch.Generator().manual_seed(derived(self._seed, "torch"))
                state = generator.get_state()
            else:
                state = torch.frombuffer(bytearray(self._torch), dtype=torch.uint8)
            torch.random.set_rng_state(state)


def _loaded(name: str) -> Any:
    """A library that this process has loaded to its end, or None."""
    module = sys.modules.get(name)
    # Half-loaded modules (another thread imports them) have no such attribute yet.
    return module if module is not None and hasattr(module, "random") else None
