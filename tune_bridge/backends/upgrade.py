"""Brings the schema of a database up to date; Alembic is loaded only when there is work for it."""

from __future__ import annotations

import threading
from pathlib import Path

import sqlalchemy as sa

from tune_bridge.backends.schema import HEAD, VERSION_TABLE
from tune_bridge.errors import BackendError

__all__ = ["bring_up_to_date"]

_UPGRADING = threading.Lock()
"""Alembic keeps its context in a global variable: two files at once, in two threads, mix it up."""


def bring_up_to_date(connection: sa.Connection, place: str, elsewhere: str) -> None:
    """Makes the tables, or changes those of an older version.

    Args:
        connection: In a transaction that no other process can do the same beside.
        place: The database, for messages.
        elsewhere: What to do when it belongs to another program.

    Raises:
        BackendError: It does, or was written by a newer version.
    """
    found = _version(connection, place, elsewhere)
    if found != HEAD:
        _upgrade(connection, found, place)


def _version(connection: sa.Connection, place: str, elsewhere: str) -> str | None:
    """The schema's version, None for a database that is empty."""
    names = sa.inspect(connection).get_table_names()
    if VERSION_TABLE in names:
        found = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()  # noqa: S608
        return str(found) if found is not None else None
    if names:
        raise BackendError(
            f"{place}: is a database of another program (it has a table {sorted(names)[0]!r}); "
            f"{elsewhere}"
        )
    return None


def _upgrade(connection: sa.Connection, found: str | None, place: str) -> None:
    """Brings the schema up to date in the transaction that is open."""
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    from tune_bridge.backends import migrations

    folder = Path(migrations.__file__).parent
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise BackendError(
            f"{place}: was written by a newer tune-bridge (schema {found}, this one knows {HEAD}); "
            "upgrade tune-bridge, or name another place"
        )
    with _UPGRADING:
        command.upgrade(config, "head")
