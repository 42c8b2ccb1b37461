"""Writes the dashboards as JSON, from the pages beside it.

python deploy/grafana/generate.py           write deploy/grafana/dashboards/*.json
python deploy/grafana/generate.py --check   exit 1 when one is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path

from arms import ARMS
from cost import COST
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from overview import OVERVIEW
from reliability import RELIABILITY

PAGES = (OVERVIEW, ARMS, COST, RELIABILITY)
FOLDER = Path(__file__).parent / "dashboards"


def dashboards() -> dict[Path, str]:
    """File to text."""
    encoder = JSONEncoder(sort_keys=True, indent=2)
    return {
        FOLDER / f"{page.uid.removeprefix('gattway-')}.json": encoder.encode(page.build().build()) + "\n"
        for page in PAGES
    }


if __name__ == "__main__":
    for path, text in dashboards().items():
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            sys.exit(f"{path.name} is out of date; run: python deploy/grafana/generate.py")
