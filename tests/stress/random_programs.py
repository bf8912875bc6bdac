"""Run random programs on uringtrio and on Trio, and compare what they do, step by step.

What is compared, and what is not, says tests/differential/test_same_trace.py. A difference is
reduced to a small program and printed, with the seed, and the script fails at the end.
"""

import argparse
import faulthandler
import os
import sys
from collections import Counter
from pathlib import Path
from random import Random

import measure

sys.path.insert(0, str(Path(__file__).parents[1]))

import trio

import uringtrio
from differential.features import features_of
from differential.interpreter import compare, difference, run_program
from differential.programs import draw_program
from differential.reduction import reduced

# More than a batch of programs takes on a busy machine; a program that waits for ever is an error.
BATCH = 500
BATCH_SECONDS_MAX = 120.0
DIFFERENCES_MAX = 5


def check(seed):
    """Run the program of `seed`; return its features, and whether the runtimes agreed."""
    program = draw_program(Random(seed))
    theirs = run_program(program, trio)
    if compare(theirs.trace, run_program(program, uringtrio).trace) is None:
        return features_of(theirs), True
    small = reduced(program)
    sys.stdout.write(f"seed {seed}: {small}\n{difference(small)}\n")
    return features_of(theirs), False


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--driver", default="io_uring")
    parser.add_argument("--count", type=int, default=20_000, help="how many programs")
    parser.add_argument("--seed", type=int, default=0, help="of the first one")
    parser.add_argument("--features", action="store_true", help="print what they met with")
    options = parser.parse_args()
    os.environ["URINGTRIO_DRIVER"] = options.driver
    met = Counter()
    differences = done = 0
    progress = measure.Progress()
    while done < options.count and differences < DIFFERENCES_MAX:
        if done % BATCH == 0:
            faulthandler.dump_traceback_later(BATCH_SECONDS_MAX, exit=True)
        features, agreed = check(options.seed + done)
        met.update(features)
        differences += not agreed
        done += 1
        progress.say(f"{done} programs, {differences} differences")
    faulthandler.cancel_dump_traceback_later()
    if options.features:
        for feature, count in sorted(met.items(), key=lambda item: -item[1]):
            sys.stdout.write(f"{count / done:7.1%}  {feature}\n")
    progress.say(f"{options.driver}: {done} programs, {differences} differences", now=True)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
