"""python -m evals COMMAND: each command is a module with add_arguments(parser) and main(options) -> exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gsi_node.host.commands import Command, CommandTable
from gsi_node.host.shell import ending

EVALS = CommandTable(
    "python -m evals",
    (__doc__ or "").strip(),
    {
        "run": Command(
            "evals.run.command", "solve a data set with several methods, numbers of candidates and seeds; resumable"
        ),
        "merge": Command("evals.run.merge", "one folder with the rows of several runs of one configuration"),
        "report": Command(
            "evals.report.command", "accuracies, intervals, paired tests, costs and plots of a run folder"
        ),
        "compare": Command("evals.report.compare", "two run folders, row by row"),
        "pace": Command(
            "evals.report.pace", "seconds a committed token, method against method, beside what parts predict"
        ),
        "verifiers": Command(
            "evals.report.verifiers", "how well rewards tell a run's right responses from wrong ones, and their cost"
        ),
        "bank": Command(
            "evals.campaign.bank", "one sample, majority, best by each reward and pass@k of the samples of a run"
        ),
        "power": Command("evals.campaign.power", "what a paired comparison of two methods can see, exactly"),
        "design": Command(
            "evals.campaign.draw", "which problems of a bank are solved by dearer methods, and what is compared"
        ),
        "pack": Command("evals.campaign.pack", "a run's rows compressed, without the data set's own text"),
        "tune": Command("evals.tune.command", "search beta, threshold, log_c and n on a calibration split"),
        "train-reward": Command(
            "evals.train_reward.command", "a process reward model of your own, from problems with checkable answers"
        ),
        "paper": Command("evals.report.paper", "the published settings as ready commands, with the published figures"),
        "jko": Command(
            "evals.jko.command", "neural JKO sampling against ground truth, its noise, HMC, MALA and SMC", "jko"
        ),
        "jko-pilots": Command(
            "evals.jko.pilots", "what neural JKO's pilot finds on each target, nothing trained", "jko"
        ),
        "jko-truth": Command("evals.jko.long_chains", "draws and log Z of the Cox process by long HMC chains", "jko"),
        "jko-ablate": Command("evals.jko.ablation", "neural JKO with single settings changed, by seeds", "jko"),
        "jko-steps": Command("evals.jko.steps", "what a training step of neural JKO costs, part by part", "jko"),
        "jko-gpu": Command("evals.jko.gpu", "a step of neural JKO's preset paper and a full run on a GPU", "jko"),
    },
    extra="evals",
)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of a command; only the named command's module is imported."""
    return EVALS.main(list(sys.argv[1:] if argv is None else argv))


if __name__ == "__main__":
    with ending():
        sys.exit(main())
