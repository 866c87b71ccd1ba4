"""The command line `harness VERB …`: one file a verb in harness/verbs; an error becomes one line and an exit code."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from benchmarks.resuming import signals
from harness import __version__, plugins
from harness.engine import distributed
from harness.terminal import Traced, report
from methods.contract import Raised


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code.

    0 done, 1 some of many runs failed, 2 refused in one line (HARNESS_TRACEBACK=1 shows where), 130 stopped by Ctrl-C,
    75 (EX_TEMPFAIL) stopped by SIGTERM or SIGUSR1: the same command continues, now or when a scheduler repeats it.
    """
    line = sys.argv[1:] if argv is None else list(argv)
    try:
        return run(line)
    except KeyboardInterrupt as stop:
        if distributed.world().leads:
            print("; ".join(["\nharness: stopped", *getattr(stop, "__notes__", [])]), file=sys.stderr)
        return os.EX_TEMPFAIL if isinstance(stop, signals.Requeued) else 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        if os.environ.get("HARNESS_TRACEBACK"):
            raise
        distributed.wait_for_cause(error)
        report(Traced(str(error), plugins.frames_of(error.__cause__)) if isinstance(error, Raised) else error)
        return 2


def run(line: Sequence[str]) -> int:
    """Run the verb that the line begins with; without a verb, print the help."""
    verbs = plugins.verb_files()
    if not line:
        top_parser().print_help()
        return 2  # a script that has lost its arguments must not go on as if something had been done
    if line[0] == "help":
        line = [*line[1:2], "--help"]  # `harness help run` is `harness run --help`
    if line[0].startswith("-"):
        top_parser().parse_args(line)
    name, *options = line
    if name not in verbs:
        raise plugins.unknown("verb", name, verbs)
    verb = plugins.verb(name)
    summary, _, details = (verb.__doc__ or "").partition("\n")
    parser = Parser(prog=f"harness {name}", description=summary, epilog=details.strip())
    verb.add_options(parser)
    args = parser.parse_args(options)
    args.line = line
    verb.main(args)
    return 0


def top_parser() -> Parser:
    """Return the parser of `harness` alone, whose help lists the verbs with the first lines of their files."""
    lines = [
        f"  {name:<10} {plugins.first_line(plugins.docstring(file))}" for name, file in plugins.verb_files().items()
    ]
    parser = Parser(
        prog="harness",
        usage="harness VERB [options]",
        description="Compare dense self-supervised pre-training strategies.",
        epilog="\n".join(["verbs:", *lines, "", "Example: harness run --strategy location"]),
    )
    parser.add_argument("--version", action="version", version=f"harness {__version__}", help="print the version")
    parser.add_help_last()
    return parser


class Parser(argparse.ArgumentParser):
    """A parser that lists -h last, keeps the lines of its epilog, and says of a wrong option which one is near."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, add_help=False, formatter_class=argparse.RawDescriptionHelpFormatter)

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """Parse as argparse does, but refuse an unknown option here, where the usage of the verb is known."""
        self.add_help_last()
        known, rest = super().parse_known_args(args, namespace)
        if rest:
            self.refuse(rest[0])
        return known, rest

    def add_help_last(self) -> None:
        """Add -h, if it is not there yet."""
        if "--help" not in self._option_string_actions:
            self.add_argument("-h", "--help", action="help", help="show this help")

    def refuse(self, argument: str) -> NoReturn:
        """Exit with the usage and one line about an argument that the verb does not take."""
        if argument in plugins.strategy_files() and "--strategy" in self._option_string_actions:
            self.error(f"{argument!r} was not expected here: did you mean '--strategy {argument}'?")
        if not argument.startswith("-"):
            self.error(f"{argument!r} was not expected here")
        near = difflib.get_close_matches(argument.partition("=")[0], self._option_string_actions, n=1)
        self.error(f"no option {argument!r}" + (f": did you mean {near[0]!r}?" if near else ""))
