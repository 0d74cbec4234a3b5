"""python locks/audit.py FILE: what pip-audit's JSON report says, the packages it could not look up among it.

Exit codes: 0 every package was looked up and none has a known vulnerability; 1 otherwise.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def verdict(packages: list[dict[str, Any]]) -> tuple[int, str]:
    """Exit code and words for the report's list of packages."""
    asked = [package for package in packages if "vulns" in package]
    skipped = [package for package in packages if "vulns" not in package]
    lines = [
        f"{package['name']} {package['version']}: {fault['id']}, mended in {', '.join(fault['fix_versions']) or 'none'}"
        for package in asked
        for fault in package["vulns"]
    ]
    lines.append(f"{len(asked)} of {len(packages)} packages looked up, {len(lines)} known vulnerabilities")
    if skipped or not packages:
        why = f" ({skipped[0]['skip_reason']})" if skipped else ""
        lines.append(f"NOT audited: {len(skipped)} packages{why}: can the vulnerability database be reached from here?")
    return int(len(lines) > 1), "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Print the verdict on one report."""
    report = Path(arguments[0])
    if not report.is_file():
        sys.stderr.write("NOT audited: pip-audit wrote no report; what it says is above\n")
        return 1
    code, words = verdict(json.loads(report.read_text("utf-8"))["dependencies"])
    sys.stdout.write(words + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
