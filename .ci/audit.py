"""Known vulnerabilities in what the image is locked to: `make audit`. Exit 1 where there is one.

pip-audit asks the package index for them. Where the index has none to give (a mirror of the files alone, say) nothing
can be said; that is reported, and is no failure.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCKS = Path(__file__).parents[1] / "deploy" / "image" / "locks"


def verdict(audited: list[dict[str, Any]]) -> tuple[int, str]:
    """Exit code, and what to say of pip-audit's list of dependencies."""
    known = [f"{one['name']} {one['version']}: {vuln['id']}" for one in audited for vuln in one.get("vulns", ())]
    if known:
        return 1, "known vulnerabilities:\n  " + "\n  ".join(known)
    skipped = [one["name"] for one in audited if "skip_reason" in one]
    if len(skipped) == len(audited):
        return 0, f"not audited: this package index has no vulnerability data ({len(audited)} packages)"
    of_these = f"; the index knows nothing of {', '.join(skipped)}" if skipped else ""
    return 0, f"no known vulnerability in {len(audited) - len(skipped)} packages{of_these}"


def _shipped() -> list[Path]:
    return [lock for lock in sorted(LOCKS.glob("*.txt")) if lock.stem not in ("build", "tools")]


def main() -> None:
    parser = argparse.ArgumentParser(description="Look the locked packages up in the index's vulnerability data.")
    parser.add_argument("--tools", type=Path, required=True, help="environment with pip-audit")
    tools: Path = parser.parse_args().tools
    locks = [argument for lock in _shipped() for argument in ("--requirement", str(lock))]
    command = [tools / "bin" / "pip-audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off", *locks]
    done = subprocess.run([*command, "--format", "json"], stdout=subprocess.PIPE, text=True, check=False)
    if not done.stdout:
        sys.exit("pip-audit could not run; it has said why")
    code, text = verdict(json.loads(done.stdout)["dependencies"])
    print(text)
    sys.exit(code)


if __name__ == "__main__":
    main()
