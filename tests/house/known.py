"""Violations that stand, as `rules.Violation.what` has them; `python -m tests.house.known` strikes out the mended."""

from __future__ import annotations

from pathlib import Path

KNOWN: tuple[str, ...] = ()


def strike(standing: set[str]) -> None:
    """Takes every line that is not among `standing` out of this file."""
    path = Path(__file__)
    lines = path.read_text("utf-8").splitlines(keepends=True)
    mended = {f'    "{what}",\n' for what in KNOWN if what not in standing}
    path.write_text("".join(line for line in lines if line not in mended), "utf-8")


if __name__ == "__main__":
    from tests.house.measure import measure
    from tests.house.rules import violations

    strike({violation.what for violation in violations(measure(Path(__file__).resolve().parents[2]))})
