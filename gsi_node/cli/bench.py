"""Where the time of a run goes, on the shipped models or on others in process: the
share of it inside forwards, seconds a step early and late in a response, and
what the graph itself costs. One of --problems, --clip, --flips, --engines,
--endpoint and --rewards measures something else instead.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gsi_node.cli.shared import add_models, add_set
from gsi_node.errors import ConfigError
from gsi_node.host.options import positive
from gsi_node.host.shell import DONE, loading
from gsi_node.needs import install_extra

if TYPE_CHECKING:
    from rich.console import RenderableType


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is measured, and on what."""
    parser.usage = "%(prog)s [OPTION ...]"  # argparse does not wrap a group of which only one is taken
    add_models(parser)
    parser.add_argument("--n", type=positive, default=8, help="candidates a step (default 8)")
    parser.add_argument("--method", default="gsi", help="the method of --problems and --flips (default gsi)")
    add_set(parser)
    parser.add_argument("--repeats", type=positive, help="how often each timing is repeated (5; with --rewards 9)")
    parser.add_argument("--quick", action="store_true", help="with --engines: fewer problems")
    parser.add_argument("--device", default="cpu", help="with --engines: cpu, cuda, cuda:1")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--problems", type=positive, metavar="N", help="acceptance rate and accuracy on N test problems")
    what.add_argument("--clip", type=positive, metavar="N", help="log_ratio_clip for expgsi, on N validation problems")
    what.add_argument("--flips", type=positive, metavar="N", help="warm against cold caches on N test problems")
    what.add_argument("--engines", action="store_true", help="what sharing forwards and keeping prefixes is worth")
    what.add_argument("--endpoint", action="store_true", help="what OpenAI's API around the node costs a run")
    what.add_argument("--rewards", action="store_true", help="what a step costs the reward model early and late")


def main(options: argparse.Namespace) -> int:
    """Measure, and show it; the exit code."""
    from gsi_node.host.screen import screen

    screen().show(_measured(options))
    return DONE


def _measured(options: argparse.Namespace) -> RenderableType:
    from gsi_node.specs.load import load_parts
    from gsi_node.step.layers import gathered, validated
    from gsi_node.tools import bench, bench_reward

    if options.engines:
        from gsi_node.tools import bench_engines  # it imports torch

        return bench_engines.table(options.device, options.n, options.quick)
    if options.endpoint:
        try:
            from gsi_node.tools import bench_endpoint
        except ModuleNotFoundError as error:
            raise ConfigError(f"--endpoint needs the package {error.name}: {install_extra('serve')}") from error
        return bench_endpoint.table(20, options.repeats or 30)
    specs = {"draft": options.draft, "base": options.base, "reward": options.reward}
    fields = {"method": options.method, "n": options.n, "max_step_tokens": 64, "max_steps": 12}
    config = validated(gathered([("option", fields), ("--set", dict(options.set))]))
    if options.flips:
        return bench.flips(specs, config, options.flips)
    with loading():
        parts = load_parts({"reward": options.reward} if options.rewards else specs)
    if options.rewards:
        return bench_reward.table(parts["reward"], options.n, options.repeats or 9)
    if options.clip:
        return bench.clip(parts, config, options.clip)
    if options.problems:
        return bench.on_pocket_math(parts, config, options.problems)
    return bench.table(parts, options.n, options.repeats or 5)
