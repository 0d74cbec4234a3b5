"""python -m evals paper --preset qwen2.5-math: the published comparison as ready commands, its figures beside them.

The settings of arXiv 2506.04118: β = 20, u = 0.5, T = 0.7, n = 1, 4, 16, 64, 500 problems a set, 3 seeds.
Nothing is run.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import dataclass

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
    parser.add_argument(
        "--servers",
        metavar="DRAFT,BASE,REWARD",
        help="addresses of three running model servers, such as http://a:8000/v1,http://b:8000/v1,http://c:8000/v1; "
        "default: three GPUs of this machine, in process",
    )
    parser.set_defaults(parser=parser)


def main(options: argparse.Namespace) -> int:
    """Print the commands; 2 where --servers does not name three."""
    addresses = None if options.servers is None else [part.strip() for part in options.servers.split(",")]
    if addresses is not None and (len(addresses) != 3 or not all(addresses)):
        options.parser.error(f"--servers: want three addresses with commas between, got {options.servers!r}")
    preset = PRESETS[options.preset]
    draft, base = options.draft or preset.draft, options.base or preset.base
    sys.stdout.write(text(options.preset, preset, draft, base, addresses))
    return 0


def specs(draft: str, base: str, addresses: list[str] | None, further: str) -> list[str]:
    """--draft, --base and --reward: one GPU each, or one server each. further: options of draft and base."""
    asked = f"system_prompt={PROMPT}{further}"
    if addresses is None:
        where = [f"?device=cuda:{i}&dtype=bfloat16" for i in range(3)]
        found = [f"hf:{draft}{where[0]}&{asked}", f"hf:{base}{where[1]}&{asked}", f"prm:{REWARD}@qwen{where[2]}"]
    else:
        models = zip(addresses, (draft, base), strict=False)
        found = [f"server:{address}#{name}?tokenizer={name}&{asked}" for address, name in models]
        found.append(f"server:{addresses[2]}#{REWARD}@qwen?tokenizer={REWARD}")
    return [part for name, spec in zip(("draft", "base", "reward"), found, strict=True) for part in (f"--{name}", spec)]


def text(name: str, preset: Preset, draft: str, base: str, addresses: list[str] | None) -> str:
    """Everything that is printed: a command a data set, one for latencies, the published figures."""
    models = specs(draft, base, addresses, preset.asked)
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
