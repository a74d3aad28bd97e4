"""Reads r.hlog and r.hgrm of a folder by HdrHistogram's own reader and compares them with r.json.

Usage: PYTHONPATH=... python3 hdr.py FOLDER
"""

import json
import re
import sys
from pathlib import Path

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

HOUR_NS = 3_600_000_000_000
folder = Path(sys.argv[1])
report = json.loads((folder / "r.json").read_text())
wanted = report["summary"]["latency_ns"]["GET"]["response"]

merged = HdrHistogram(1, HOUR_NS, 3)
reader = HistogramLogReader(str(folder / "r.hlog"), HdrHistogram(1, HOUR_NS, 3))
intervals = 0
while interval := reader.get_next_interval_histogram():
    merged.add(interval)
    intervals += 1

text = (folder / "r.hgrm").read_text()
rows = [line.split() for line in text.splitlines() if re.match(r"\s+[\d.]+\s+[01]\.\d+\s+\d+", line)]
distribution = [(float(row[1]), float(row[0]) * 1000, int(row[2])) for row in rows]
count = int(re.search(r"Total count\s*=\s*(\d+)", text)[1])

wrong = 0


def check(what, got, expected, share):
    say(what, abs(got - expected) <= share * expected, got, expected)


def say(what, fine, got, expected):
    global wrong
    wrong += not fine
    print(f"{'OK    ' if fine else 'FAILED'} {what}: {got} (report: {expected})")


def check_by_rank(what, percentile, expected):
    """The two readers round a percentile's rank differently, by one at most: in a thin tail the
    neighbour is another value. So the report's value has to lie between those of the neighbours."""
    rank = 100 / merged.total_count
    low, high = (
        merged.get_value_at_percentile(min(max(percentile + step, 0), 100)) for step in (-rank, rank)
    )
    # Three significant digits are kept.
    say(what, low * 0.997 <= expected <= high * 1.003, f"{low} to {high}", expected)


print(f"{intervals} intervals, {merged.total_count} values")
check("values in .hlog", merged.total_count, count, 0)
check("last row of .hgrm", distribution[-1][2], count, 0)
for name, percentile in [("p50", 50), ("p90", 90), ("p99", 99)]:
    if name not in wanted:
        continue
    expected = wanted[name]["value"]
    check_by_rank(f"{name} by .hlog", percentile, expected)
    # The rows of .hgrm are steps of a tenth of what is left, so that a percentile lies between two:
    # in a thin tail their values are far apart.
    above = next(at for at, row in enumerate(distribution) if row[0] >= percentile / 100 - 1e-9)
    low, high = distribution[max(above - 1, 0)][1], distribution[above][1]
    within = low * 0.997 <= expected <= high * 1.003
    say(f"{name} by .hgrm", within, f"{low} to {high}", expected)
sys.exit(1 if wrong or intervals < 2 else 0)
