"""`make force`: a real server, runners and store, killed, frozen and cut off, seed after seed; then every row is accounted for.

Rounds go on for ten minutes at most. What is left is done by the next call with the same ROUNDS and SEED; how far it came, what
was found, the date and the commit are kept in bench/results/force.json. A seed that breaks a promise prints itself, and is run
again by `make force ROUNDS=1 SEED=…`. The data folder and log of a broken round stay in a temporary folder that is named.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from haulier.testing.force.plan import plan_of
from haulier.testing.force.round import Result, prepare_store, run_round
from haulier.testing.stores import SeaweedFS

RESULTS: Final = Path(__file__).parent / "results" / "force.json"
SECONDS_MAX: Final = 570.0
STORE_ROUNDS: Final = 40
"""A store is thrown away after so many rounds."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--seconds", type=float, default=SECONDS_MAX, help="begin no round after so many")
    parser.add_argument("--talk", action="store_true", help="tell what happens while it happens")
    arguments = parser.parse_args()
    kept = _kept(arguments.rounds, arguments.seed)
    until = time.monotonic() + arguments.seconds
    while kept["done"] < arguments.rounds and time.monotonic() < until:
        with SeaweedFS() as store:
            prepare_store(store)
            for _ in range(min(STORE_ROUNDS, arguments.rounds - kept["done"])):
                _one(store, arguments.seed + kept["done"], kept, talk=arguments.talk)
                _write(kept)
                if time.monotonic() > until:
                    break
    left = arguments.rounds - kept["done"]
    print(f"{kept['done']} rounds, {len(kept['broken'])} of them broken; {left} left{': call it again' if left else ''}")
    return 1 if kept["broken"] else 0


def _one(store: SeaweedFS, seed: int, kept: dict[str, Any], *, talk: bool) -> None:
    folder = Path(tempfile.mkdtemp(prefix=f"haulier-force-{seed}-"))
    plan = plan_of(seed)
    result = run_round(store, plan, (lambda line: print(f"    {line}", flush=True)) if talk else (lambda _: None), keep=folder)
    kinds = " and ".join(job.kind for job in plan.jobs)
    print(
        f"seed {seed}: {kinds}, {result.seconds} s; {', '.join(result.crashes) or 'nothing died'};"
        f" {result.tally.repeats} repeats, {result.tally.in_doubt} in doubt, {result.tally.foreign} written by somebody",
        flush=True,
    )
    for note in result.notes:
        print(f"    unknown: {note}", flush=True)
    if result.problems:
        print(f"BROKEN by seed {seed} (make force ROUNDS=1 SEED={seed}; {folder}): {plan}")
        for problem in result.problems:
            print(f"    {problem}", flush=True)
    else:
        subprocess.run(["rm", "-r", str(folder)], check=True)
    _add(kept, seed, result)


def _add(kept: dict[str, Any], seed: int, result: Result) -> None:
    kept["done"] += 1
    kept["seconds"] = round(kept["seconds"] + result.seconds)
    if result.problems:
        kept["broken"].append({"seed": seed, "problems": result.problems[:5]})
    if result.place_hit and result.plan.place is not None:
        kept["places"] = dict(sorted((Counter(kept["places"]) + Counter([result.plan.place.name])).items()))
    for died in result.crashes:
        what = died.partition(" at ")[0]
        kept["troubles"][what] = kept["troubles"].get(what, 0) + 1
    for job, status in zip(result.plan.jobs, result.statuses, strict=False):
        kinds = kept["jobs"].setdefault(job.kind, {})
        kinds[status] = kinds.get(status, 0) + 1
    for name, count in msgspec.structs.asdict(result.tally).items():
        kept["sums"][name] = kept["sums"].get(name, 0) + count


def _kept(rounds: int, seed: int) -> dict[str, Any]:
    """Where an unfinished call stopped, or a beginning."""
    if RESULTS.exists():
        kept: dict[str, Any] = json.loads(RESULTS.read_text())
        if (kept["rounds"], kept["seed"]) == (rounds, seed) and kept["done"] < rounds:
            return kept
    sums: dict[str, Any] = {"places": {}, "troubles": {}, "jobs": {}, "sums": {}}
    return {"rounds": rounds, "seed": seed, "done": 0, "seconds": 0, "broken": [], "commits": []} | sums


def _write(kept: dict[str, Any]) -> None:
    if kept["rounds"] == 1:
        return  # a seed that is looked at once more
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=RESULTS.parent
    ).stdout.strip()
    kept["commits"] = [*(each for each in kept["commits"] if each != commit), commit]
    kept["date"] = datetime.now(UTC).isoformat(timespec="seconds")
    kept["machine"] = {"cores": os.cpu_count(), "python": platform.python_version(), "load": round(os.getloadavg()[0], 1)}
    RESULTS.write_text(json.dumps(kept, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
