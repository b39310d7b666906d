"""The command line: one module for each command."""

from fcnjax.cli.command_line import COMMANDS, console, main, usage

__all__ = ["COMMANDS", "console", "main", "usage"]
