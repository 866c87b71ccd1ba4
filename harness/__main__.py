"""`python -m harness` is the command `harness`, which Ctrl-C stops in one line, also while its modules are imported."""

import sys


def main() -> int:
    """Run the command line and return its exit code: 130 after Ctrl-C."""
    try:
        from harness import cli

        return cli.main()
    except KeyboardInterrupt:
        print("\nharness: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
