"""`make bench-profile`: a reference profile of a million rows by 50 columns, in time and memory.

Each arm runs in a process of its own, so that its peak of resident memory is its own: the table in
memory, batches that are made one at a time, and batches with all that a profile can have.
"""

import argparse
import json
import subprocess
import sys

from tests.bench.ours import write_result
from tests.bench.profile_arm import ARMS


def main() -> None:
    """Measure, print, write `build/bench/profile.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=50)
    options = parser.parse_args()
    found: list[dict[str, float]] = []
    sizes = ["--rows", str(options.rows), "--columns", str(options.columns)]
    for arm in ARMS:
        command = [sys.executable, "-m", "tests.bench.profile_arm", arm, *sizes]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        each = json.loads(done.stdout)
        found.append(each)
        print(
            f"{arm:>12}: {each['cpuSeconds']:.1f} s of CPU ({each['wallSeconds']:.1f} s by the"
            f" clock), {each['peakMb']:.0f} MB at the most ({each['mbBefore']:.0f} before),"
            f" {each['streams']} streams of {each['rows']} rows, {each['profileMb']:.2f} MB of JSON"
        )
    print(f"written to {write_result('profile', {'arms': found})}")


if __name__ == "__main__":
    main()
