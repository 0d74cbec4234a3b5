"""python -m evals paper --preset qwen2.5-math: the published comparison as ready commands, its figures beside them.

The settings of arXiv 2506.04118: β = 20, u = 0.5, T = 0.7, n = 1, 4, 16, 64, 500 problems a set, 3 seeds.
Nothing is run or reached; a device, an address or a name that no command could take is refused before anything is
printed.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gsi_node.errors import ConfigError
from gsi_node.host.shell import complain
from gsi_node.models.servers.routes import route_to
from gsi_node.specs.kinds import MODELS, REWARDS
from gsi_node.specs.load import check_spec

ROLES = ("draft", "base", "reward")
SETS = ("math500", "olympiadbench", "minerva_math", "mmlu_stem", "gsm8k")
METHODS = "gsi,rsd-n,sbon-draft,sbon-base"
PROMPT = r"Please reason step by step, and put your final answer within \boxed{}."
REWARD = "Qwen/Qwen2.5-Math-PRM-7B"


@dataclass(frozen=True, slots=True)
class Preset:
    """Two models of one family and what was published about them, all at n = 16.

    acceptance: share of accepted steps. gsi, base: seconds a step of gsi and of sbon-base. device: of those seconds.
    asked: what the specs of draft and base say beside the system prompt.
    """

    draft: str
    base: str
    acceptance: float
    gsi: float
    base_seconds: float
    device: str
    caution: str = ""
    asked: str = ""


PRESETS = {
    "qwen2.5-math": Preset(
        "Qwen/Qwen2.5-Math-1.5B-Instruct", "Qwen/Qwen2.5-Math-7B-Instruct", 0.820, 0.72, 0.94, "H100"
    ),
    "qwen3": Preset(
        "Qwen/Qwen3-1.7B",
        "Qwen/Qwen3-14B",
        0.915,
        1.21,
        1.82,
        "A100",
        "The sizes of the two Qwen3 models are our assumption: the paper's text was not at hand to check them. Look "
        "them up there, and give --draft and --base where they differ.",
        "&enable_thinking=false",
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `paper`."""
    parser.add_argument("--preset", choices=tuple(PRESETS), default="qwen2.5-math", help="the pair of models")
    parser.add_argument("--draft", metavar="NAME", help="another draft model (hub name or folder)")
    parser.add_argument("--base", metavar="NAME", help="another base model")
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
    draft = preset.draft if options.draft is None else options.draft
    base = preset.base if options.base is None else options.base
    try:
        for option, name in (("--draft", draft), ("--base", base)):
            if not re.fullmatch(r"[^\s:@#?&|]+", name):
                raise ConfigError(f"{option}: {name!r} is no hub name such as {preset.draft}, and no folder's")
        if options.servers is not None:
            models = served(draft, base, three("--servers", options.servers), preset.asked)
        else:
            models = in_process(draft, base, three("--devices", options.devices), preset.asked)
        for role, spec in models.items():
            check_spec(spec, REWARDS if role == "reward" else MODELS, role)
    except ConfigError as error:
        complain(str(error))
        return 2
    sys.stdout.write(text(options.preset, preset, draft, base, models))
    return 0


def three(option: str, given: str) -> list[str]:
    """One a role, with commas between. Raises ConfigError."""
    parts = [part.strip() for part in given.split(",")]
    if len(parts) != 3 or not all(parts):
        raise ConfigError(f"{option}: want three with commas between, of draft, base and reward; got {given!r}")
    return parts


def in_process(draft: str, base: str, devices: Sequence[str], further: str) -> dict[str, str]:
    """Specs by role, each on its device. further: options of draft and base. Raises ConfigError for no device's name;
    whether it is there is known on the machine of the run alone."""
    for device in devices:
        if not re.fullmatch(r"cpu|cuda(:[0-9]{1,3})?", device):
            raise ConfigError(f"--devices: {device!r} is no device; use cuda:0, cuda:1 … or cpu")
    where = [f"?device={device}&dtype=bfloat16" for device in devices]
    asked = _asked(further)
    specs = [f"hf:{draft}{where[0]}&{asked}", f"hf:{base}{where[1]}&{asked}", f"prm:{REWARD}@qwen{where[2]}"]
    return dict(zip(ROLES, specs, strict=True))


def served(draft: str, base: str, addresses: Sequence[str], further: str) -> dict[str, str]:
    """Specs by role, each behind its server. Raises SpecError for no server's address."""
    for address in addresses:
        route_to(address)
    specs = [
        f"server:{address}#{name}?tokenizer={name}&{_asked(further)}"
        for address, name in zip(addresses, (draft, base), strict=False)
    ]
    return dict(zip(ROLES, [*specs, f"server:{addresses[2]}#{REWARD}@qwen?tokenizer={REWARD}"], strict=True))


def _asked(further: str) -> str:
    return f"system_prompt={PROMPT}{further}"


def text(name: str, preset: Preset, draft: str, base: str, specs: Mapping[str, str]) -> str:
    """Everything that is printed: a command a data set, one for latencies, the published figures."""
    models = [part for role, spec in specs.items() for part in (f"--{role}", spec)]
    settings = ["--set", "beta=20", "--set", "threshold=0.5", "--set", "delta=0.7", "--set", "temperature=0.7"]
    settings += ["--set", "max_step_tokens=512"]
    folder = f"runs/paper-{name}"

    def command(data: str, methods: str, n: str, seeds: str, *, limit: int, out: str, concurrency: int) -> str:
        what = ["python", "-m", "evals", "run", "--data", data, "--limit", str(limit), "--methods", methods]
        what += ["--n", n, "--seeds", seeds]
        how = ["--record", "summary", "--concurrency", str(concurrency), "--out", f"{folder}/{out}"]
        return " \\\n    ".join(shlex.join(part) for part in (what, models[:2], models[2:4], models[4:], settings, how))

    caution = f"NOTE: {preset.caution}\n" if preset.caution and (draft, base) == (preset.draft, preset.base) else ""
    latency = command("math500", "gsi,sbon-base", "16", "0", limit=50, out="latency", concurrency=1)
    runs = "\n\n".join(
        command(data, METHODS, "1,4,16,64", "0,1,2", limit=500, out=data, concurrency=16) for data in SETS
    )
    return f"""\
The comparison of arXiv 2506.04118 with {draft} (draft), {base} (base) and {REWARD} (reward).
{caution}
Check the models first:

gsi doctor {shlex.join(models)}

Accuracies: 500 problems a set (sets with fewer: all), 3 seeds; resumable, rerun the same command after a stop.

{runs}

for data in {" ".join(SETS)}; do python -m evals report {folder}/$data; done

Latencies: n = 16, one problem in flight.

{latency}

python -m evals report {folder}/latency

Published, n = 16 (compare "acceptance" of the first report and "wall s a step" of the last):

| | acceptance of gsi | seconds a step, gsi | seconds a step, sbon-base | device |
| --- | --- | --- | --- | --- |
| {name} | {100 * preset.acceptance:.1f} % | {preset.gsi:.2f} | {preset.base_seconds:.2f} | {preset.device} |

Here --limit draws 500 problems by seed and keeps the set's order; the authors' code takes the first ones.
"""
