"""A random state of one's own for code that draws from global ones, and silence around it.

Searchers and schedulers draw from `random`, from ``numpy.random`` and from torch, and print. While
a `Sandbox` is entered, these states are its own; afterwards they are what they were, to the last
bit, and what was printed is in the log. The states are the process's: one thread at a time is in a
sandbox, whichever sweep it works for.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import io
import logging
import random
import sys
import threading
import warnings
from types import TracebackType
from typing import Any, NamedTuple

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
        numpy, torch = _loaded("numpy"), _loaded("torch")
        outside = random.getstate()
        random.setstate(self._python)
        if numpy is not None and self._numpy is None:
            self._numpy = fresh_numpy(derived(self._seed, "numpy"))
        self._outside = (
            outside,
            None if numpy is None else swap_numpy(self._numpy),
            None if torch is None else torch.random.get_rng_state(),
        )
        if torch is not None:
            self._set_torch(torch)
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
        if before_numpy is not None:
            self._numpy = swap_numpy(before_numpy)
        if before_torch is not None:
            torch = _loaded("torch")
            self._torch = torch.random.get_rng_state().numpy().tobytes()
            torch.random.set_rng_state(before_torch)

    def _set_torch(self, torch: Any) -> None:
        if self._torch is None:
            generator = torch.Generator().manual_seed(derived(self._seed, "torch"))
            state = generator.get_state()
        else:
            state = torch.frombuffer(bytearray(self._torch), dtype=torch.uint8)
        torch.random.set_rng_state(state)


class _Numpy(NamedTuple):
    """The global state of numpy: its bit generator, and the normal draw that waits, if one does."""

    bits: Any
    has_gauss: int
    gauss: float


class _StandIn:
    """In the place of a bit generator, while the draw that waits is read or written alone."""

    state: Any

    def __init__(self) -> None:
        self.state = {"bit_generator": "none", "state": None}


def fresh_numpy(seed: int) -> Any:
    """A state for `swap_numpy`: that after ``numpy.random.seed(seed)``."""
    import numpy as np

    made: Any = np.random.RandomState(seed)
    return _Numpy(made._bit_generator, 0, 0.0) if _quick() else made.get_state()


def swap_numpy(state: Any) -> Any:
    """Sets numpy's global random state; returns what it was.

    Reading and writing the 624 words of a state takes 0.2 ms, more than many a suggestion. So the
    generators themselves are exchanged (numpy 1.24 and later); the one draw that is kept beside
    them goes along.
    """
    import numpy as np

    if not _quick():
        before = np.random.get_state()
        np.random.set_state(state)
        return before
    module: Any = np.random
    shared = module.mtrand._rand
    found = _StandIn()
    bits, shared._bit_generator = shared._bit_generator, found
    try:
        waits = shared.get_state(legacy=False)
    finally:
        shared._bit_generator = bits
    module.set_bit_generator(state.bits)
    if state.has_gauss:
        _set_gauss(shared, state)
    return _Numpy(bits, waits["has_gauss"], waits["gauss"])


def _set_gauss(shared: Any, state: _Numpy) -> None:
    bits, shared._bit_generator = shared._bit_generator, _StandIn()
    try:
        shared.set_state(
            {
                "bit_generator": "none",
                "state": None,
                "has_gauss": state.has_gauss,
                "gauss": state.gauss,
            }
        )
    finally:
        shared._bit_generator = bits


@functools.cache
def _quick() -> bool:
    """Whether generators can be exchanged in this numpy: tried on a state of its own."""
    import numpy as np

    if not hasattr(np.random, "set_bit_generator"):
        return False
    try:
        tried: Any = np.random.RandomState(1)
        tried.standard_normal()  # another one waits
        bits, tried._bit_generator = tried._bit_generator, _StandIn()
        waits = tried.get_state(legacy=False)
        tried.set_state({"bit_generator": "none", "state": None, "has_gauss": 0, "gauss": 0.0})
        none = tried.get_state(legacy=False)["has_gauss"]
        tried._bit_generator = bits
        return bool(waits["has_gauss"]) and not none
    except (AttributeError, KeyError, TypeError, ValueError):  # a numpy that does it otherwise
        return False


def _loaded(name: str) -> Any:
    """A library that this process has loaded to its end, or None."""
    module = sys.modules.get(name)
    # Half-loaded modules (another thread imports them) have no such attribute yet.
    return module if module is not None and hasattr(module, "random") else None
