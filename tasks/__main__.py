"""The command line: ``semaflow VERB ...``."""

from __future__ import annotations

import argparse
import importlib
import sys

VERBS = {
    "demo": ("demo", "the whole story on a simulated scene"),
    "fit": ("fit", "learn a field from a video or scene"),
    "perceive": ("perceive", "learn to perceive scenes never seen: train, tune, eval, labels"),
    "adapt": ("adapt", "adapt a flow field to a new scene"),
    "complete": ("complete", "learn labels of both ends of a video, fill in the gap between them"),
    "follow": ("follow", "learn labels of the first part of a video, follow them through the rest"),
    "select": ("select", "name an object by click, text or mask"),
    "track": ("track", "follow an object: masks, video, 3D trajectories"),
    "edit": ("edit", "remove, recolour, move, repeat or insert things"),
    "render": ("render", "render along a camera path"),
    "eval": ("evaluate", "measure a run on held-out views"),
    "view": ("view", "look at a run in 3D"),
    "export": ("export", "write PLY, PLY sequence or GLB"),
    "doctor": ("doctor", "versions, devices, kernels, viewer"),
}


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments, and where to read more, instead of the whole usage."""

    def error(self, message: str):
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser_for(verb: str | None) -> argparse.ArgumentParser:
    """The parser; only ``verb``'s arguments are added, since each verb's module brings its own imports."""
    from ..kernels.garbage import put_off

    parser = Parser(prog="semaflow", description="From a monocular video to a dynamic 3D semantic field.")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, (module, help_line) in VERBS.items():
        sub = verbs.add_parser(
            name, help=help_line, description=help_line, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        if name == verb:
            with put_off():
                chosen = importlib.import_module(f".{module}", __package__)
            chosen.add_arguments(sub)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; exit code 0 done, 2 bad input (one line on stderr), 130 interrupted."""
    from ..kernels.threads import setting
    from .visible import see_own_device

    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        setting()
        see_own_device()
    except ValueError as error:  # here, since what is imported below heeds it
        print(f"semaflow: {error}", file=sys.stderr)
        return 2
    verb = arguments[0] if arguments and arguments[0] in VERBS else None
    parsed = parser_for(verb).parse_args(arguments)

    from ..scenes.files import BadInput

    try:
        importlib.import_module(f".{VERBS[parsed.verb][0]}", __package__).run(parsed)
    except BadInput as error:
        print(f"semaflow {parsed.verb}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except OSError as error:  # a folder that cannot be read, a path too long
        print(f"semaflow {parsed.verb}: {error.filename or 'file'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"semaflow {parsed.verb}: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
