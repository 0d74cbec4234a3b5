"""python -m evals paper --preset qwen2.5-math: the published comparison as ready commands, its figures beside them.

The settings of arXiv 2506.04118: β = 20, u = 0.5, T = 0.7, n = 1, 4, 16, 64, 500 problems a set, 3 seeds; from its
authors' code (github.com/j-geuter/GSI): 512 tokens a step, 45 steps, the system prompts. Nothing is run or reached; a
device, an address or a name that no command could take is refused before anything is printed.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evals.options import positive
from evals.report.published import figures_of, read_published
from gsi_node.errors import ConfigError
from gsi_node.host.options import named_path
from gsi_node.host.shell import complain
from gsi_node.models.servers.routes import route_to
from gsi_node.specs.kinds import MODELS, REWARDS
from gsi_node.specs.load import check_spec

ROLES = ("draft", "base", "reward")
SETS = ("math500", "olympiadbench", "minerva_math", "mmlu_stem", "gsm8k")
METHODS = "gsi,rsd-n,sbon-draft,sbon-base"
PROMPT = r"Please reason step by step, and put your final answer within \boxed{}."
PROMPTS = {
    "minerva_math": PROMPT + " Do not include units in your final answer. For example, if the answer is `5 m/s`, write "
    r"`\boxed{5}`."
}
"""Of the sets that have one of their own."""
REWARD = "Qwen/Qwen2.5-Math-PRM-7B"
LIMIT, SEEDS = 500, (0, 1, 2)
MEMBERS = {"minerva_math": 272}
"""Problems of the sets that have fewer than LIMIT."""
STEPS = 10
SETTINGS = (
    "beta=20",
    "threshold=0.5",
    "delta=0.7",
    "temperature=0.7",
    "top_p=1",
    "max_step_tokens=512",
    "max_steps=45",
)
"""Steps end at the default of every method there, a blank line."""


@dataclass(frozen=True, slots=True)
class Preset:
    """Two models of one family. asked: what the specs of draft and base say beside the system prompt."""

    draft: str
    base: str
    caution: str = ""
    asked: str = ""


PRESETS = {
    "qwen2.5-math": Preset("Qwen/Qwen2.5-Math-1.5B-Instruct", "Qwen/Qwen2.5-Math-7B-Instruct"),
    "qwen3": Preset(
        "Qwen/Qwen3-1.7B",
        "Qwen/Qwen3-14B",
        "The sizes of the two Qwen3 models, and that they do not think, are those that arXiv 2609.21899 compares "
        "itself with GSI at; the text of arXiv 2506.04118 was not at hand to check them. Look them up there, and give "
        "--draft and --base where they differ.",
        "&enable_thinking=false",
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `paper`."""
    parser.add_argument("--preset", choices=tuple(PRESETS), default="qwen2.5-math", help="the pair of models")
    parser.add_argument("--draft", metavar="NAME", help="another draft model (hub name or folder)")
    parser.add_argument("--base", metavar="NAME", help="another base model")
    parser.add_argument("--reward", metavar="NAME", default=REWARD, help="another PRM of Qwen's family")
    parser.add_argument(
        "--steps", type=positive, default=STEPS, help="of a response, for GPU hours (default %(default)s)"
    )
    parser.add_argument(
        "--sizes", type=named_path, metavar="FILE", help="of `gsi bench --shape … --json FILE`: GPU hours"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--devices",
        metavar="DRAFT,BASE,REWARD",
        default="cuda:0,cuda:1,cuda:2",
        help="of the three models in process; one device may stand several times (default %(default)s)",
    )
    where.add_argument(
        "--servers",
        metavar="DRAFT,BASE,REWARD",
        help="addresses of three model servers instead, such as http://a:8000/v1,http://b:8000/v1,http://c:8000/v1",
    )


def main(options: argparse.Namespace) -> int:
    """Print the commands; 2 with one line where one of them could not be run as it stands."""
    preset = PRESETS[options.preset]
    names = (options.draft or preset.draft, options.base or preset.base, options.reward)
    try:
        for role, name in zip(ROLES, (options.draft, options.base, options.reward), strict=True):
            if name is not None and not re.fullmatch(r"[^\s:@#?&|]+", name):
                raise ConfigError(f"--{role}: {name!r} is no hub name such as {preset.draft}, and no folder's")
        prompts = [PROMPTS.get(data, PROMPT) for data in SETS]
        specs = {prompt: _specs(options, names, f"system_prompt={prompt}{preset.asked}") for prompt in prompts}
        for models in specs.values():
            for role, spec in models.items():
                check_spec(spec, REWARDS if role == "reward" else MODELS, role)
        told = text(options.preset, names, specs)
        hours = _hours(options)
    except ConfigError as error:
        complain(str(error))
        return 2
    sys.stdout.write(told + hours)
    return 0


def three(option: str, given: str) -> list[str]:
    """One a role, with commas between. Raises ConfigError."""
    parts = [part.strip() for part in given.split(",")]
    if len(parts) != 3 or not all(parts):
        raise ConfigError(f"{option}: want three with commas between, of draft, base and reward; got {given!r}")
    return parts


def _specs(options: argparse.Namespace, names: Sequence[str], asked: str) -> dict[str, str]:
    if options.servers is not None:
        return served(names, three("--servers", options.servers), asked)
    return in_process(names, three("--devices", options.devices), asked)


def in_process(names: Sequence[str], devices: Sequence[str], asked: str) -> dict[str, str]:
    """Specs by role, each on its device. asked: options of draft and base. Raises ConfigError for no device's name;
    whether it is there is known on the machine of the run alone."""
    for device in devices:
        if not re.fullmatch(r"cpu|cuda(:[0-9]{1,3})?", device):
            raise ConfigError(f"--devices: {device!r} is no device; use cuda:0, cuda:1 … or cpu")
    where = [f"?device={device}&dtype=bfloat16" for device in devices]
    draft, base, reward = names
    specs = [f"hf:{draft}{where[0]}&{asked}", f"hf:{base}{where[1]}&{asked}", f"prm:{reward}@qwen{where[2]}"]
    return dict(zip(ROLES, specs, strict=True))


def served(names: Sequence[str], addresses: Sequence[str], asked: str) -> dict[str, str]:
    """Specs by role, each behind its server. Raises SpecError for no server's address."""
    for address in addresses:
        route_to(address)
    specs = [f"server:{address}#{name}" for address, name in zip(addresses, names, strict=True)]
    read = [f"?tokenizer={name}&{asked}" for name in names[:2]] + [f"@qwen?tokenizer={names[2]}"]
    return {role: spec + options for role, spec, options in zip(ROLES, specs, read, strict=True)}


def text(preset: str, names: Sequence[str], specs: Mapping[str, Mapping[str, str]]) -> str:
    """Everything that is printed but for GPU hours: a command a data set, one for latencies, the published figures.

    names: of the models, by role. specs: of draft, base and reward, by system prompt.
    """
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    folder, seeds = f"runs/paper-{preset}", ",".join(map(str, SEEDS))

    def command(data: str, methods: str, n: str, seeds: str, *, limit: int, out: str, concurrency: int) -> str:
        models = [[f"--{role}", spec] for role, spec in specs[PROMPTS.get(data, PROMPT)].items()]
        what = ["python", "-m", "evals", "run", "--data", data, "--limit", str(limit), "--methods", methods]
        what += ["--n", n, "--seeds", seeds]
        how = ["--record", "summary", "--concurrency", str(concurrency), "--out", f"{folder}/{out}"]
        return " \\\n    ".join(shlex.join(part) for part in (what, *models, settings, how))

    known = PRESETS[preset]
    caution = f"NOTE: {known.caution}\n" if known.caution and tuple(names[:2]) == (known.draft, known.base) else ""
    latency = command("math500", "gsi,sbon-base", "16", "0", limit=50, out="latency", concurrency=1)
    runs = "\n\n".join(
        command(data, METHODS, "1,4,16,64", seeds, limit=LIMIT, out=data, concurrency=16) for data in SETS
    )
    doctor = shlex.join(part for role, spec in specs[PROMPT].items() for part in (f"--{role}", spec))
    return f"""\
The comparison of arXiv 2506.04118 with {names[0]} (draft), {names[1]} (base) and {names[2]} (reward).
{caution}
Check the models first:

gsi doctor {doctor}

Accuracies: {LIMIT} problems a set (sets with fewer: all), {len(SEEDS)} seeds; rerun the same command after a stop.

{runs}

for data in {" ".join(SETS)}; do python -m evals report {folder}/$data --published {preset}; done

Latencies: n = 16, one problem in flight.

{latency}

python -m evals report {folder}/latency --published {preset}

Where the authors' code differs: it takes the first {LIMIT} problems of a set, --limit draws them by seed and keeps the
set's order; it accepts where β·r̃ is above 10, here at 10, too; it gives a response up where all rewards of a batch are
below 0.1; on Minerva Math its base writes under the prompt above, and scores under the general one.

Published ({folder}/…/report lays them beside the run):

{figures_of(preset).markdown()}"""


def _hours(options: argparse.Namespace) -> str:
    """The table of GPU hours. Raises ConfigError."""
    from evals.report import hours  # with langgraph, which --help and the commands do without
    from gsi_node.tools.bench_sizes import read_sizes

    figures = read_published()[options.preset]
    if options.sizes is None:
        seconds, told = hours.of_figures(figures), "at the published seconds a step (n = 16 alone)"
    else:
        acceptance = next(one.value for one in figures if one.quantity == "acceptance")
        seconds = hours.of_sizes(read_sizes(options.sizes), acceptance)
        told = f"at the seconds of {options.sizes}, {acceptance:g} of the steps accepted"
    problems = sum(MEMBERS.get(data, LIMIT) for data in SETS)
    gpus = len(set(options.devices.split(","))) if options.servers is None else len(ROLES)
    found = hours.table("GPU hours", seconds, problems=problems, seeds=len(SEEDS), steps=options.steps, gpus=gpus)
    return f"\nGPU hours of the accuracies {told}:\n\n{found.markdown()}"
