"""A command group that imports a command only when it is run or listed."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import click


class LazyGroup(click.Group):
    """Commands named in a table of `name -> "module:attribute"`."""

    def __init__(
        self,
        name: str,
        commands: Mapping[str, str],
        *,
        help: str,  # noqa: A002 - click's own name for it
    ) -> None:
        super().__init__(name, help=help)
        self._lazy = dict(commands)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, sorted."""
        del ctx
        return sorted(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command, or None when there is none of that name."""
        del ctx
        target = self._lazy.get(cmd_name)
        if target is None:
            return None
        module, _, attribute = target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{target} is not a command")  # a typo in a table of ours
        return command
