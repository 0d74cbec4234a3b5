"""Solve math problems step by step with Guided Speculative Inference: a small
draft model proposes steps, a reward model judges them, and a base model
vouches for them or writes the step itself.
"""

from __future__ import annotations

import argparse

from gsi_node.cli import arguments, methods

add_arguments = arguments.add_arguments


def main(options: argparse.Namespace) -> int:
    """Do what the command line asks for; the exit code. Nothing heavy is imported before it is known to be right."""
    if options.list_methods:
        return methods.main(options)
    if options.examples:
        from gsi_node.cli.outside import examples

        return examples()
    from gsi_node.cli.start import start

    job = start(options)
    from gsi_node.cli.run import run

    return run(job)
