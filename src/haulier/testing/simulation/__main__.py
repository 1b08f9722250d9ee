"""`python -m haulier.testing.simulation --seeds 1000 --from 0`: run seeds until one fails; `make simulate` calls it."""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from haulier.testing.simulation import crashpoints
from haulier.testing.simulation.database import memory_folder
from haulier.testing.simulation.seeds import Sum, lines_of, run_seed, smallest, summed
from haulier.testing.simulation.world import Result

TOLD_SECONDS = 10.0


def main() -> int:
    """Exit status 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m haulier.testing.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first one")
    parser.add_argument("--processes", type=int, default=1, help="so many at a time")
    parser.add_argument("--digests", action="store_true", help="print what tells one run of a seed from another")
    arguments = parser.parse_args()
    begun = told_at = time.monotonic()

    def told(total: Sum) -> None:
        nonlocal told_at
        if time.monotonic() - told_at > TOLD_SECONDS:
            told_at = time.monotonic()
            print(f"{total.seeds} seeds, {total.seeds / (told_at - begun):.1f}/s", file=sys.stderr, flush=True)

    seeds = range(arguments.first, arguments.first + arguments.seeds)
    with _results(seeds, arguments.processes) as results:
        total = summed(_shown(results) if arguments.digests else results, told)
    for failure in total.failures:
        smaller, left_out = smallest(failure)
        print("\n".join(lines_of(smaller, left_out)))
        print(f"\nAgain: make simulate SEEDS=1 FROM={failure.plan.seed}")
    seconds = time.monotonic() - begun
    print(
        f"{total.seeds} seeds in {seconds:.0f} s ({total.seeds / seconds:.1f}/s), {len(total.failures)} failed;"
        f" {total.crashes} crashes, {len(crashpoints.ALL) - len(total.not_hit)} of {len(crashpoints.ALL)} places for one hit;"
        f" jobs: {', '.join(f'{count} {status}' for status, count in sorted(total.statuses.items()))}"
    )
    if total.not_hit:
        print(f"not hit: {', '.join(total.not_hit)}")
    return 1 if total.failures else 0


@contextmanager
def _results(seeds: range, processes: int) -> Iterator[Iterator[Result]]:
    if processes == 1:
        yield map(run_seed, seeds)
        return
    with memory_folder() as folder, multiprocessing.Pool(processes, _begin, (str(folder),)) as pool:
        yield pool.imap(run_seed, seeds, chunksize=5)


def _begin(folder: str) -> None:
    """In a process of the pool, which may be ended without a word: what it leaves goes with the folder."""
    _alone()
    tempfile.tempdir = folder


def _shown(results: Iterator[Result]) -> Iterator[Result]:
    for result in results:
        print(result.plan.seed, result.digest)
        yield result


def _alone() -> None:
    """Arrow's threads cost more here than they bring: files have a few rows."""
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Sets of strings have an order of their own in every process; a seed must not.
        command = [sys.executable, "-m", "haulier.testing.simulation", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONHASHSEED": "0"})
    _alone()
    sys.exit(main())
