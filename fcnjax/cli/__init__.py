"""The command line: one module for each command."""

from fcnjax.cli.command_line import COMMANDS, console, main

__all__ = ["COMMANDS", "console", "main"]
