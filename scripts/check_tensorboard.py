#!/usr/bin/env python3
"""Reads the event files of a run with TensorBoard's own reader and holds them against metrics.jsonl.

usage: check_tensorboard.py RUN_FOLDER        needs: pip install tensorboard

Every scalar of every step and evaluation must be there, once, with the value of metrics.jsonl as
float32, and nothing else; text samples are counted. Exit code: 0 good, 1 different, 2 cannot check.
"""

import json
import math
import os
import struct
import sys

try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError:
    print("TensorBoard is not installed: pip install tensorboard", file=sys.stderr)
    sys.exit(2)

TAGS = {
    "train/loss": "loss",
    "train/grad_norm": "grad_norm",
    "train/learning_rate": "learning_rate",
    "train/loss_scale": "loss_scale",
    "train/consumed_tokens": "tokens",
    "train/tokens_per_second": "tokens_per_second",
    "train/step_time_s": "step_time_s",
    "train/mfu": "mfu",
    "memory/peak_gib": "peak_bytes",
    "valid/loss": "validation_loss",
    "valid/bits_per_byte": "bits_per_byte",
}


def expected_points(lines, tag, key):
    scale = 2.0**30 if tag == "memory/peak_gib" else 1.0
    return [(line["step"], struct.pack("<f", float(line[key]) / scale))
            for line in lines if key in line]


def same(expected, found):
    """Bits, but any NaN is as good as another."""
    return expected == found or (math.isnan(struct.unpack("<f", expected)[0])
                                 and math.isnan(struct.unpack("<f", found)[0]))


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    run = sys.argv[1]
    with open(os.path.join(run, "metrics.jsonl"), encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    events = EventAccumulator(os.path.join(run, "tb"), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    found_tags = events.Tags()
    problems = [f"unknown tag {tag}" for tag in found_tags["scalars"] if tag not in TAGS]
    points = 0
    for tag, key in TAGS.items():
        expected = expected_points(lines, tag, key)
        found = [(s.step, struct.pack("<f", s.value)) for s in events.Scalars(tag)] \
            if tag in found_tags["scalars"] else []
        points += len(found)
        if len(expected) != len(found) or any(
                a[0] != b[0] or not same(a[1], b[1]) for a, b in zip(expected, found)):
            problems.append(f"{tag}: {len(found)} points differ from {len(expected)} of metrics.jsonl")
    samples = 0
    for tag in found_tags["tensors"]:
        for event in events.Tensors(tag):
            samples += len(event.tensor_proto.string_val[0].decode("utf-8")) > 0
    for problem in problems:
        print(problem)
    print(f"{points} points and {samples} text samples read by TensorBoard, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
