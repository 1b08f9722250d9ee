"""`make kill-rounds`: kill -9 of the server (or of a runner) at random moments of a copy job on SeaweedFS, restarted each time.

Passes when the job ends Complete, succeeded + failed = total, and the report names every key exactly once. The seed is printed;
--seed repeats a run's moments.
"""

import argparse
import random
import sys
import time

from haulier.testing.killing import Plan, run_trial
from haulier.testing.stores import SeaweedFS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--victim", choices=["server", "runner"], default="server")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    arguments = parser.parse_args()
    plan = Plan(arguments.tasks, arguments.tasks // 100, arguments.kills, arguments.seed, victim=arguments.victim)
    print(f"seed {plan.seed}: {plan.tasks:,} tasks, {plan.missing} of them without an object", flush=True)
    began = time.monotonic()
    with SeaweedFS() as store:
        trial = run_trial(store, plan, lambda line: print(line, flush=True))
    print(f"{trial.job['Status']}: {trial.job['ProgressSummary']}; {time.monotonic() - began:.0f} s")
    for problem in trial.problems:
        print(f"BROKEN: {problem}")
    if trial.kills < plan.kills:
        print(f"the job had ended before kill {trial.kills + 1}: give it more --tasks")
    elif not trial.problems:
        print(f"{trial.kills} kills of the {plan.victim}, every key exactly once")
    return 0 if not trial.problems and trial.kills == plan.kills else 1


if __name__ == "__main__":
    sys.exit(main())
