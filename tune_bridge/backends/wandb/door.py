"""What W&B's own client does for us: requests, and errors that say what to do.

Requests go through ``wandb.Api``, which knows proxies, certificates and keys. Before it is used it
is looked whether anybody answers: the client waits for minutes where a backend has to say quickly
that it is away.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from tune_bridge.backends.wandb.place import WandbPlace
from tune_bridge.errors import BackendError, InputError, MissingExtraError, TuneBridgeError

__all__ = ["Door", "load_wandb"]

_TIMEOUT = 20
"""Seconds that one request may take."""

_PROBE_TIMEOUT = 5.0
_FRESH = 10.0
"""Seconds for which a server that has answered is taken to be there."""

_REFUSED = "input:"
"""How the client's messages of a server's errors begin."""

_VIEWER = "query Viewer { viewer { entity username } }"


def load_wandb() -> Any:
    """The wandb package.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import wandb
    except ImportError as error:
        raise MissingExtraError("wandb", "wandb", "W&B as a backend") from error
    return wandb


class Door:
    """The way to one W&B server. Thread-safe; nothing is asked before it is used.

    Args:
        place: Which one.
    """

    def __init__(self, place: WandbPlace) -> None:
        self._wandb = load_wandb()
        self._place = place
        self._lock = threading.RLock()
        self._server = place.server
        self._key: str | None = None
        self._api: Any = None
        self._entity = place.entity
        self._heard = 0.0

    @property
    def server(self) -> str:
        """The server's address."""
        if self._server is None:
            found = self._wandb.setup().settings.base_url
            self._server = str(os.environ.get("WANDB_BASE_URL") or found).rstrip("/")
        return self._server

    @property
    def key(self) -> str:
        """The key, from ``WANDB_API_KEY`` or ``wandb login``.

        Raises:
            InputError: There is none, or it is none that W&B could have given.
        """
        if self._key is None:
            from wandb.sdk.lib import wbauth

            found = os.environ.get("WANDB_API_KEY")
            if not found:
                with contextlib.suppress(Exception):  # a file of others, in whatever state
                    found = wbauth.read_netrc_auth(host=self.server)
            if not found:
                raise InputError(
                    f"there is no key for {self.server}",
                    hint="wandb login, or set WANDB_API_KEY",
                )
            problem = wbauth.check_api_key(found)
            if problem:
                raise InputError(
                    "this is no key of W&B",
                    path="WANDB_API_KEY",
                    found=problem.rstrip("."),
                    hint=f"see {self.server}/authorize",
                )
            self._key = found
        return self._key

    def check(self) -> None:
        """Looks whether the server answers, unless it did a moment ago.

        Raises:
            BackendError: Nobody answers.
            InputError: There is no key, or the server refuses it.
        """
        with self._lock:
            if time.monotonic() - self._heard < _FRESH:
                return
            data = json.dumps({"query": _VIEWER}).encode()
            token = b64encode(f"api:{self.key}".encode()).decode()
            headers = {"Content-Type": "application/json", "Authorization": f"Basic {token}"}
            request = urllib.request.Request(f"{self.server}/graphql", data, headers)  # noqa: S310
            try:
                with urllib.request.urlopen(request, timeout=_PROBE_TIMEOUT) as answer:  # noqa: S310
                    found = json.load(answer)
            except urllib.error.HTTPError as error:
                raise self._refused(error.code) from None
            except (OSError, ValueError) as error:
                reason = getattr(error, "reason", error)
                raise BackendError(f"{self.server}: W&B does not answer: {reason}") from None
            viewer = (found.get("data") or {}).get("viewer") if isinstance(found, dict) else None
            if not viewer:
                raise self._refused(401)
            self._entity = self._entity or viewer.get("entity") or viewer.get("username")
            self._heard = time.monotonic()

    def _refused(self, status: int) -> TuneBridgeError:
        if status in (401, 403):
            return InputError(
                f"{self.server} refuses the key",
                path="WANDB_API_KEY",
                hint=f"wandb login --relogin, or take one from {self.server}/authorize",
            )
        return BackendError(f"{self.server}: W&B answers with an error: HTTP {status}")

    @property
    def entity(self) -> str:
        """The entity of the place: the one that is named, else the key's own."""
        if self._entity is None:
            self.check()
        return str(self._entity)

    @property
    def api(self) -> Any:
        """A ``wandb.Api`` that has seen nothing yet.

        Raises:
            BackendError: Nobody answers.
            InputError: There is no key, or the server refuses it.
        """
        with self._lock:
            self.check()
            if self._api is None:
                with self.errors():
                    self._api = self._wandb.Api(
                        overrides={"base_url": self.server, "entity": self.entity},
                        timeout=_TIMEOUT,
                        api_key=self.key,
                    )
            self._api.flush()
            return self._api

    def ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """One GraphQL request.

        Raises:
            BackendError: Nobody answers, or not in time.
            InputError: The server refuses what is asked.
        """
        api = self.api
        with self.errors():
            found: dict[str, Any] = api._service_api.execute_graphql(query, dict(variables))
            return found

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """What W&B's client raises, as errors of ours.

        Raises:
            BackendError: Nobody answered, or the server had an error.
            InputError: The server refuses what was asked.
        """
        try:
            yield
        except TuneBridgeError:
            raise
        except Exception as error:  # noqa: BLE001 - the client raises what it likes
            raise self._translated(error) from None

    def _translated(self, error: BaseException) -> TuneBridgeError:
        cause: BaseException | None = error
        status = 0
        while cause is not None:
            response = getattr(cause, "response", None)
            status = status or int(getattr(response, "http_status", 0) or 0)
            cause = cause.__cause__ or cause.__context__ or getattr(cause, "exc", None)
        text = " ".join(str(error).split()) or type(error).__name__
        if status in (401, 403):
            return self._refused(status)
        if 400 <= status < 500 and status not in (408, 409, 429):
            return InputError(f"W&B refuses this: {text[:500]}")
        if text.startswith(_REFUSED):  # an error of GraphQL, in an answer that came
            return InputError(f"W&B refuses this: {text.removeprefix(_REFUSED).strip()[:500]}")
        self._heard = 0.0
        return BackendError(f"{self.server}: {text[:500]}")

    def page_of(self, entity: str, project: str, sweep: str | None = None) -> str:
        """The address of a project's page, or of a sweep's."""
        app = self.server
        with contextlib.suppress(Exception):
            from wandb.util import app_url

            app = str(app_url(self.server)).rstrip("/")
        path = f"{app}/{quote(entity, safe='')}/{quote(project, safe='')}"
        return path if sweep is None else f"{path}/sweeps/{quote(sweep, safe='')}"
