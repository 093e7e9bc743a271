"""Bringing a database to the schema of this build, and refusing one that has another."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

from sealward.controlplane.adapters.db import engine
from sealward.controlplane.domain.errors import Code, Refused


def migrate(url: str) -> None:
    """Create the database when it is missing and run every migration it lacks.

    Each migration is one transaction under the write lock: of two processes one waits, then finds
    nothing to do.

    Raises:
        Refused(wrong_database), Unavailable(database_unavailable): it cannot be opened.
        Refused(schema_mismatch): a newer build has migrated it further.
    """
    writer = engine.write_engine(url)
    try:
        with writer.begin() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
            if current is not None:
                _require_known(current)
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except DBAPIError as error:
        raise engine.translate(error) from None
    finally:
        writer.dispose()


def require_current(url: str) -> None:
    """Return when the schema is that of this build; Refused(schema_mismatch) otherwise."""
    reader = engine.read_engine(url)
    try:
        with reader.begin() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
    except DBAPIError as error:
        raise engine.translate(error) from None
    finally:
        reader.dispose()
    if current is not None:
        _require_known(current)
    if current != _scripts().get_current_head():
        raise Refused(
            Code.schema_mismatch,
            "the database has the schema of an older build, or none",
            "run `sealward migrate`",
        )


def _require_known(revision: str) -> None:
    if revision not in {script.revision for script in _scripts().walk_revisions()}:
        raise Refused(
            Code.schema_mismatch,
            f"the database has schema {revision}, which this build does not know",
            "run the build that migrated it, or a newer one",
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "sealward:migrations")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())
