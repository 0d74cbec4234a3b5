"""A command that has commands of its own: one table, of which a call imports no more than the module it names."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

from gsi_node.host.shell import DONE, WRONG_CALL, Parser, complain
from gsi_node.needs import install, install_extra

OURS = ("", "gsi_node", "evals", "tests")
TORCH = "torch"
"""The one dependency of all that a server-only environment does without."""


@dataclass(frozen=True, slots=True)
class Command:
    """One row. module: has add_arguments(parser) and main(options) -> exit code; its docstring describes it.

    extra: of this package's extras, the one that brings what the module imports beyond the dependencies of all.
    """

    module: str
    help: str
    extra: str | None = None


@dataclass(frozen=True, slots=True)
class CommandTable:
    """program: as it is called, and how messages name it. about: above the table of commands in its help. extra: of
    the commands that name none of their own."""

    program: str
    about: str
    commands: Mapping[str, Command]
    extra: str | None = None

    def main(self, argv: Sequence[str]) -> int:
        """The exit code of the command that argv[0] names."""
        if not argv or argv[0] in ("-h", "--help"):
            sys.stdout.write(self.usage())
            return DONE if argv else WRONG_CALL
        if argv[0] not in self.commands:
            complain(f"no command {argv[0]!r}; the commands are {', '.join(self.commands)}")
            return WRONG_CALL
        return self.call(argv[0], argv[1:])

    def usage(self) -> str:
        """The help of the whole."""
        width = max(map(len, self.commands))
        known = "\n".join(f"  {name:{width}} {command.help}" for name, command in self.commands.items())
        return f"usage: {self.program} COMMAND …\n\n{self.about}\n\n{known}\n\nCOMMAND --help lists options\n"

    def call(self, name: str, argv: Sequence[str], program: str | None = None) -> int:
        """The exit code of one command. program: how its help names it, where it is not called by this table."""
        command = self.commands[name]
        try:
            module = import_module(command.module)
            parser = Parser(
                prog=program or f"{self.program} {name}",
                description=(module.__doc__ or "").strip(),
                raw=True,
            )
            module.add_arguments(parser)
            return int(module.main(parser.parse_args(argv)))
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            extra = command.extra or self.extra
            if package in OURS or (extra is None and package != TORCH):
                raise
            brings = install(TORCH) if extra is None else install_extra(extra)
            complain(f"`{self.program.split()[-1]} {name}` needs the package {package}: {brings}")
            return WRONG_CALL
