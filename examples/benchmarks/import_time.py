"""Import time of `neuralop_irno`, without its hosts: `python examples/benchmarks/import_time.py`.

Every run is a new process that imports neuralop and torch_geometric first, and then the package.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

CODE = """
import time
import neuralop, torch_geometric
start = time.perf_counter()
import neuralop_irno
print(time.perf_counter() - start)
"""


def main() -> None:
    times = []
    for _ in range(7):
        command = [sys.executable, "-W", "ignore", "-c", CODE]
        times.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    print(f"above neuralop and torch_geometric: median {statistics.median(times):.3f} s of {len(times)} runs")


if __name__ == "__main__":
    main()
