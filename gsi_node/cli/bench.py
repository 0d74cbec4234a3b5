"""Where the time of a run goes, on the shipped models or on others in process: the
share of it inside forwards, tokens a CPU second alone and in company beside what
products alone would take, a step early and late in a response, and what the graph
itself costs. One of --models, --shape, --problems, --clip, --flips, --draws,
--tree, --lookahead, --judge-early, --engines, --endpoint, --forwards, --graphs
and --rewards measures something else instead.

--models and --shape: seconds of drafting, scoring, rewarding and falling back at
fixed lengths, gsi against sbon-base, and what the machine would allow. --shape
needs no checkpoint: random weights of a published shape.

  gsi bench --shape qwen2.5-1.5b,qwen2.5-7b,qwen2.5-prm-7b --device cuda
  gsi bench --models hf:DRAFT,hf:BASE,verifier?prior=0.7 --n 4 --prefix 256
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gsi_node.cli.shared import add_models, add_set
from gsi_node.errors import ConfigError
from gsi_node.host.options import above_zero, named_path, positive, positives, share
from gsi_node.host.shell import DONE, loading
from gsi_node.needs import install_extra

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gsi_node.tools.bench_sizes import Acceptance
    from gsi_node.tools.step_parts import StepSize

ROLES = ("draft", "base", "reward")


def three(text: str) -> tuple[str, str, str]:
    """The type of an option that names draft, base and reward: DRAFT,BASE,REWARD. Commas may stand in the last."""
    parts = text.split(",", 2)
    if len(parts) != 3 or not all(parts):
        raise argparse.ArgumentTypeError(f"want DRAFT,BASE,REWARD, got {text[:80]!r}")
    return parts[0], parts[1], parts[2]


def acceptances(text: str) -> tuple[Acceptance, ...]:
    """The type of --acceptance: shares of accepted steps, and the word measured."""
    return tuple("measured" if part == "measured" else share(part) for part in text.split(","))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is measured, and on what."""
    parser.usage = "%(prog)s [OPTION ...]"  # argparse does not wrap a group of which only one is taken
    add_models(parser)
    parser.add_argument(
        "--n",
        type=positives,
        help="candidates a step (8; with --models, --shape and --graphs 4,16,64; with --forwards 16,32,64,96)",
    )
    parser.add_argument("--method", default="gsi", help="the method of --problems and --flips (default gsi)")
    add_set(parser)
    parser.add_argument(
        "--repeats", type=positive, help="how often each timing is repeated (5; --rewards 9, sizes 2, --graphs 3)"
    )
    parser.add_argument("--quick", action="store_true", help="fewer problems in the table, and with --engines")
    parser.add_argument("--device", default="cpu", help="with --engines, --shape, --graphs: cpu, cuda, cuda:1")
    ahead = parser.add_argument_group("with --lookahead and --judge-early")
    ahead.add_argument("--size", type=positive, default=20, metavar="N", help="test problems (default 20)")
    ahead.add_argument(
        "--delay",
        type=above_zero,
        default=0.0,
        help="seconds that the reward takes longer; --judge-early: for n different candidates, fewer in proportion "
        "(default 0)",
    )
    sizes = parser.add_argument_group("with --models and --shape; --prefix, --tokens and --dtype also with --graphs")
    sizes.add_argument(
        "--prefix", type=positives, default=(256, 2048), help="tokens before the step (default 256,2048)"
    )
    sizes.add_argument("--tokens", type=positive, default=64, help="tokens of a candidate (default 64)")
    sizes.add_argument(
        "--acceptance",
        type=acceptances,
        metavar="SHARES",
        help="of accepted steps, to compare at (0.82, the published one; --models: 0.82,measured by the node over four "
        "questions)",
    )
    sizes.add_argument("--dtype", help="not with --models (default bfloat16 on CUDA, float32 on the CPU)")
    sizes.add_argument(
        "--company", type=positive, default=1, metavar="J", help="also time J calls at once, which `gsi scale` asks for"
    )
    sizes.add_argument("--json", type=named_path, metavar="FILE", help="written after each size that is finished")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--models", type=three, metavar="DRAFT,BASE,REWARD", help="three specs, in process or behind servers"
    )
    what.add_argument(
        "--shape", type=three, metavar="DRAFT,BASE,REWARD", help="three shapes, such as tiny,tiny,tiny-prm"
    )
    what.add_argument("--problems", type=positive, metavar="N", help="acceptance rate and accuracy on N test problems")
    what.add_argument("--clip", type=positive, metavar="N", help="log_ratio_clip for expgsi, on N validation problems")
    what.add_argument("--flips", type=positive, metavar="N", help="warm against cold caches on N test problems")
    what.add_argument("--draws", action="store_true", help="what drawing a token costs beside the draft's forward")
    what.add_argument("--tree", type=positive, metavar="N", help="drawing as a tree or a row each, on N test problems")
    what.add_argument(
        "--lookahead", type=positive, metavar="K", help="what guessing the next step is worth, beside none"
    )
    what.add_argument("--judge-early", action="store_true", help="what judging candidates as they end is worth")
    what.add_argument("--engines", action="store_true", help="what sharing forwards and keeping prefixes is worth")
    what.add_argument("--endpoint", action="store_true", help="what OpenAI's API around the node costs a run")
    what.add_argument("--forwards", action="store_true", help="the draft with packed layers, beside them as they are")
    what.add_argument("--graphs", metavar="SHAPE", help="decoding by CUDA graphs beside without, random weights")
    what.add_argument("--rewards", action="store_true", help="what a step costs the reward model early and late")


def main(options: argparse.Namespace) -> int:
    """Measure, and show it; the exit code."""
    from gsi_node.host.screen import screen

    sized = options.models or options.shape
    screen().show(*(_sizes(options) if sized else [_measured(options)]))
    return DONE


def _sizes(options: argparse.Namespace) -> Sequence[RenderableType]:
    from gsi_node.tools import bench_sizes

    usual: tuple[Acceptance, ...] = (bench_sizes.PUBLISHED_ACCEPTANCE,)
    if options.shape:
        named, parts = _random_models(options)
        if "measured" in (options.acceptance or ()):
            raise ConfigError("--acceptance measured: random weights accept by chance; give a share, or --models")
    else:
        from gsi_node.specs.load import load_parts

        named, usual = dict(zip(ROLES, options.models, strict=True)), (*usual, "measured")
        with loading():
            parts = load_parts(named)
    record = bench_sizes.SizesRecord(models=named, repeats=options.repeats or 2)
    shares = options.acceptance or usual
    return bench_sizes.tables(
        bench_sizes.measure_sizes(
            parts, _step_sizes(options), shares, record, company=options.company, file=options.json
        )
    )


def _step_sizes(options: argparse.Namespace) -> list[StepSize]:
    from gsi_node.tools.step_parts import StepSize

    return [StepSize(n, prefix, options.tokens) for prefix in options.prefix for n in options.n or (4, 16, 64)]


def _dtype(options: argparse.Namespace) -> str:
    usual = "bfloat16" if options.device.startswith("cuda") else "float32"
    return str(options.dtype or usual)


def _random_models(options: argparse.Namespace) -> tuple[dict[str, str], dict[str, Any]]:
    """The models of --shape, and what they are called."""
    from gsi_node.tools import shapes  # it imports torch

    dtype = _dtype(options)
    for role, name in zip(ROLES, options.shape, strict=True):
        shapes.find_shape(name, judges=role == "reward")  # before the first is made
    makers: Sequence[Callable[[str, str, str], Any]] = (
        shapes.language_model,
        shapes.language_model,
        shapes.reward_model,
    )
    with loading():
        parts = {
            role: make(name, options.device, dtype)
            for role, name, make in zip(ROLES, options.shape, makers, strict=True)
        }
    where = f"device={options.device}&dtype={dtype}"
    return {role: f"{name}?{where}" for role, name in zip(ROLES, options.shape, strict=True)}, parts


def _measured(options: argparse.Namespace) -> RenderableType:
    from gsi_node.specs.load import load_parts
    from gsi_node.step.layers import gathered, validated
    from gsi_node.tools import bench, bench_reward

    if options.forwards:
        from gsi_node.tools import bench_forwards  # it imports torch

        with loading():
            return bench_forwards.table(options.draft, options.n or bench_forwards.ROWS, options.repeats or 3)
    if options.graphs:
        from gsi_node.tools import bench_graphs  # it imports torch

        sizes = _step_sizes(options)
        return bench_graphs.table(options.graphs, options.device, _dtype(options), sizes, options.repeats or 3)
    n = 8 if options.n is None else options.n[0]
    if options.n is not None and len(options.n) > 1:
        raise ConfigError(f"--n: several sizes ({len(options.n)}) are for --models, --shape, --graphs and --forwards")
    if options.engines:
        from gsi_node.tools import bench_engines  # it imports torch

        return bench_engines.table(options.device, n, options.quick)
    if options.endpoint:
        try:
            from gsi_node.tools import bench_endpoint
        except ModuleNotFoundError as error:
            raise ConfigError(f"--endpoint needs the package {error.name}: {install_extra('serve')}") from error
        return bench_endpoint.table(20, options.repeats or 30)
    if options.draws or options.tree:
        from gsi_node.tools import bench_draw, bench_tree  # they import torch

        with loading():
            draft = load_parts({"draft": options.draft})["draft"]
        if options.tree:
            return bench_tree.table(draft, options.tree)
        return bench_draw.table(draft, options.repeats or 5)
    specs = {"draft": options.draft, "base": options.base, "reward": options.reward}
    fields = {"method": options.method, "n": n, "max_step_tokens": 64, "max_steps": 12}
    config = validated(gathered([("option", fields), ("--set", dict(options.set))]))
    if options.flips:
        return bench.flips(specs, config, options.flips)
    with loading():
        parts = load_parts({"reward": options.reward} if options.rewards else specs)
    if options.rewards:
        return bench_reward.table(parts["reward"], n, options.repeats or 9)
    if options.lookahead:
        from gsi_node.tools import bench_lookahead

        return bench_lookahead.table(parts, config, options.lookahead, options.size, options.delay)
    if options.judge_early:
        from gsi_node.tools import bench_early

        return bench_early.table(parts, config, options.size, options.delay)
    if options.clip:
        return bench.clip(parts, config, options.clip)
    if options.problems:
        return bench.on_pocket_math(parts, config, options.problems)
    return bench.table(parts, n, options.repeats or 5, options.quick)
