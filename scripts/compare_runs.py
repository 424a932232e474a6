#!/usr/bin/env python3
"""Compares what two runs computed: step, loss, grad_norm, learning_rate, tokens and evaluation
results of two metrics.jsonl files, bit for bit. Timing and memory are not compared.

usage: compare_runs.py A B [--tolerance REL]     A, B: metrics.jsonl or a run folder
       compare_runs.py --self-test

Prints the first difference, or "N steps equal, bit for bit". Exit code: 0 equal, 1 different,
2 unusable input.
"""

import argparse
import json
import os
import struct
import sys
import tempfile

STEP_KEYS = ("loss", "grad_norm", "learning_rate", "tokens", "skipped")
FP16_KEYS = ("loss_scale",)  # of steps where there is one
EVAL_KEYS = ("validation_loss", "bits_per_byte")
LOSSES = ("loss", "validation_loss", "bits_per_byte", "grad_norm")  # what --tolerance loosens


class Unusable(Exception):
    pass


def read_run(path):
    """Lines of a run as [(step, kind, {key: value})]; the file's order is part of the comparison."""
    if os.path.isdir(path):
        path = os.path.join(path, "metrics.jsonl")
    records = []
    try:
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    entry = json.loads(line)
                    kind = "eval" if "validation_loss" in entry else "step"
                    keys = EVAL_KEYS if kind == "eval" else STEP_KEYS
                    values = {key: entry[key] for key in keys} | {key: entry.get(key) for key in FP16_KEYS}
                    records.append((entry["step"], kind, values))
                except (ValueError, KeyError, TypeError) as error:
                    raise Unusable(f"{path}:{number}: not a line of metrics.jsonl ({error!r})")
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}")
    if not any(kind == "step" for _, kind, _ in records):
        raise Unusable(f"{path}: holds no steps")
    return records


def bits(value):
    """Equal only for equal bits: 0.0 is not -0.0, 1 is not True, "nan" is "nan"."""
    return struct.pack("<d", value) if isinstance(value, float) else (type(value), value)


def close(a, b, tolerance):
    if not all(isinstance(value, float) for value in (a, b)):
        return bits(a) == bits(b)
    return abs(a - b) <= tolerance * max(abs(a), abs(b))


def first_difference(a, b, tolerance):
    for (step, kind, left), (step_b, kind_b, right) in zip(a, b):
        if (step, kind) != (step_b, kind_b):
            return f"A has the {kind} line of step {step} where B has the {kind_b} line of step {step_b}"
        for key, value in left.items():
            other = right[key]
            if bits(value) == bits(other):
                continue
            if key in LOSSES and tolerance and close(value, other, tolerance):
                continue
            return f"step {step}: {key} {value!r} in A, {other!r} in B"
    if len(a) != len(b):
        shorter, longer, name = (a, b, "B") if len(a) < len(b) else (b, a, "A")
        return f"step {longer[len(shorter)][0]}: only {name} has this {longer[len(shorter)][1]} line"
    return None


def compare(path_a, path_b, tolerance):
    """(exit code, message)"""
    a, b = read_run(path_a), read_run(path_b)
    difference = first_difference(a, b, tolerance)
    if difference:
        return 1, difference
    steps = sum(kind == "step" for _, kind, _ in a)
    how = f"within {tolerance:g}" if tolerance else "bit for bit"
    return 0, f"{steps} steps equal, {how}"


def self_test():
    step = ('{"step": %d, "loss": %s, "grad_norm": 1.5, "learning_rate": 0.001, "tokens": %d, '
            '"tokens_per_second": %d.5, "skipped": false}\n')
    evaluation = '{"step": 2, "validation_loss": %s, "bits_per_byte": 1.25}\n'

    def run(losses, speed=1, validation="3.0"):
        return "".join(step % (i + 1, loss, 64 * (i + 1), speed) for i, loss in enumerate(losses)) + (
            evaluation % validation)

    base = run(["2.5", "2.25"])
    cases = [
        (base, run(["2.5", "2.25"], speed=9), 0, 0, "2 steps equal, bit for bit"),
        (base, run(["2.5", "2.2500002"]), 0, 1, "step 2: loss 2.25 in A, 2.2500002 in B"),
        (base, run(["2.5", "2.2500002"]), 1e-6, 0, "2 steps equal, within 1e-06"),
        (base, run(["2.5", "2.26"]), 1e-6, 1, "step 2: loss 2.25 in A, 2.26 in B"),
        (base, run(["2.5", "2.25"], validation="3.5"), 0, 1,
         "step 2: validation_loss 3.0 in A, 3.5 in B"),
        (base, run(["2.5", "2.25", "2.0"]), 0, 1,
         "A has the eval line of step 2 where B has the step line of step 3"),
        (base, base.replace('"skipped": false', '"skipped": false, "loss_scale": 2.0'), 0, 1,
         "step 1: loss_scale None in A, 2.0 in B"),
        (base, base + step % (3, "2.0", 192, 1), 0, 1, "step 3: only B has this step line"),
        (base + step % (3, "2.0", 192, 1), base, 0, 1, "step 3: only A has this step line"),
        (run(['"nan"', "0.0"]), run(['"nan"', "0.0"]), 0, 0, "2 steps equal, bit for bit"),
        (run(['"nan"', "0.0"]), run(['"nan"', "-0.0"]), 0, 1, "step 2: loss 0.0 in A, -0.0 in B"),
        (run(['"nan"', "1.0"]), run(['"inf"', "1.0"]), 1e-3, 1, "step 1: loss 'nan' in A, 'inf' in B"),
        (base, base.replace('"tokens": 64', '"tokens": 65'), 1.0, 1, "step 1: tokens 64 in A, 65 in B"),
        (base, base[:-5], 0, 2, "B:3: not a line"),
        (base, "", 0, 2, "holds no steps"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for number, (a, b, tolerance, code, message) in enumerate(cases):
            paths = [os.path.join(folder, name) for name in "AB"]
            for path, text in zip(paths, (a, b)):
                with open(path, "w", encoding="utf-8") as out:
                    out.write(text)
            try:
                result = compare(*paths, tolerance)
            except Unusable as error:
                result = 2, str(error)
            if result[0] != code or message not in result[1]:
                print(f"self-test case {number}: expected {(code, message)}, got {result}")
                return 1
    print(f"{len(cases)} passed, 0 failed")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="metrics.jsonl or a run folder")
    parser.add_argument("--tolerance", type=float, default=0.0, metavar="REL",
                        help="allowed relative difference of losses and gradient norms")
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    if arguments.self_test:
        return self_test()
    if len(arguments.runs) != 2:
        parser.error("two runs are needed")
    try:
        code, message = compare(*arguments.runs, arguments.tolerance)
    except Unusable as error:
        code, message = 2, str(error)
    print(message, file=sys.stderr if code == 2 else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main())
