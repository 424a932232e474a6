#!/usr/bin/env python3
"""Includes point down only: the floors and vendor fences of the README, checked on every source file.

Usage: check_includes.py [--self-test]
"""
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# folder -> folders of ours it may include, besides itself. Longest matching prefix wins.
CORE = ["kernels/core"]
OPS = CORE + ["kernels/ops"]
DATA = ["trainer/config", "trainer/schedule"]
BELOW_MODEL = OPS + ["comm"] + DATA
BELOW_ENGINE = BELOW_MODEL + ["trainer/model"]
ALL_TRAINER = BELOW_ENGINE + ["trainer/shard", "trainer/optim", "trainer/data", "trainer/checkpoint", "trainer/metrics"]
FLOORS = {
    "kernels/core": [],
    "kernels/ops": CORE,
    "kernels/ref": OPS,
    "kernels/cpu": OPS,
    "kernels/cuda": OPS,
    "comm": OPS,
    "comm/threads": OPS + ["comm"],
    "comm/mpi": OPS + ["comm"],
    "comm/nccl": OPS + ["comm"],
    "trainer/config": [],
    "trainer/schedule": [],
    "trainer/model": BELOW_MODEL,
    "trainer/shard": BELOW_ENGINE,
    "trainer/optim": BELOW_ENGINE,
    "trainer/data": BELOW_ENGINE,
    "trainer/checkpoint": BELOW_ENGINE,
    "trainer/metrics": BELOW_ENGINE,
    "trainer/engine": ALL_TRAINER,
    "trainer/cli": ALL_TRAINER + ["trainer/engine"],
    "trainer": ALL_TRAINER + ["trainer/engine", "trainer/cli"],
}
# header pattern -> path prefixes that may include it
FENCES = [
    (r"^mpi\.h$", ["comm/mpi/"]),
    (r"^nccl.*\.h$", ["comm/nccl/", "tests/comm/fake_nccl"]),
    (r"^(cuda|cublas|cudnn|curand|nvtx3/|nvrtc).*", ["kernels/cuda/", "comm/nccl/"]),
    (r"^(dnnl|oneapi/dnnl).*", ["kernels/cpu/matmul", "tests/bench/matmul"]),
    (r"^boost/.*", ["kernels/cuda/emulation/"]),
    (r"^utf8proc\.h$", ["trainer/data/nfc.cc"]),
    (r"^yaml-cpp/.*", ["trainer/config/"]),
    (r"(^google/protobuf/.*|\.pb\.h$)", ["trainer/checkpoint/", "trainer/metrics/"]),
]
TOP_LEVEL = {"CMakeLists.txt", "CMakePresets.json", "README.md", "LICENSE", "kernels", "comm", "trainer",
             "configs", "launch", "tests", "scripts"}
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')


def floor_of(path):
    parts = path.split("/")
    for depth in range(len(parts) - 1, 0, -1):
        folder = "/".join(parts[:depth])
        if folder in FLOORS:
            return folder
    return None


def check_file(path, text):
    """Problems of one file, as 'path:line: why'."""
    problems = []
    source = floor_of(path)
    is_test = path.startswith("tests/")
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        header = match.group(2)
        where = f"{path}:{number}: "
        if header.startswith("tests/") and not is_test:
            problems.append(where + "nobody includes tests")
        target = floor_of(header)
        if target and not is_test:
            if source is None:
                problems.append(where + "this folder has no floor in scripts/check_includes.py")
            elif target != source and target not in FLOORS[source]:
                problems.append(where + f"{source} may not include {target}")
        for pattern, allowed in FENCES:
            if re.match(pattern, header) and not any(path.startswith(prefix) for prefix in allowed):
                if not (is_test and pattern.startswith("(^google")):
                    problems.append(where + f"<{header}> belongs in {' and '.join(allowed)} only")
    return problems


def self_test():
    bad = [
        ("kernels/core/a.h", '#include "kernels/ops/matmul.h"'),
        ("kernels/cpu/a.cc", '#include "kernels/ref/matmul.h"'),
        ("comm/mpi/a.cc", '#include "comm/threads/b.h"'),
        ("comm/a.cc", "#include <mpi.h>"),
        ("trainer/optim/a.cc", '#include "trainer/shard/b.h"'),
        ("trainer/model/a.cc", '#include "trainer/engine/b.h"'),
        ("trainer/config/a.cc", '#include "kernels/core/check.h"'),
        ("trainer/main.cc", '#include "tests/support/a.h"'),
        ("kernels/cpu/norm.cc", "#include <dnnl.hpp>"),
    ]
    good = [
        ("kernels/cpu/matmul.cc", '#include <dnnl.hpp>\n#include "kernels/ops/matmul.h"'),
        ("trainer/engine/a.cc", '#include "trainer/optim/b.h"\n#include "comm/world.h"'),
        ("tests/comm/a.cc", '#include "trainer/engine/b.h"'),
    ]
    for path, text in bad:
        assert check_file(path, text), f"not caught: {path}: {text}"
    for path, text in good:
        assert not check_file(path, text), f"wrongly caught: {path}: {text}"
    print("self-test: ok")


def main():
    if "--self-test" in sys.argv:
        return self_test()
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, text=True, check=True).stdout.split("\n")
    problems = []
    for path in filter(None, listed):
        top = path.split("/")[0]
        if top not in TOP_LEVEL and not top.startswith("."):
            problems.append(f"{path}: '{top}' is not one of the repository's top-level entries")
        if Path(path).suffix in {".h", ".cc", ".cu", ".cuh", ".inc"} and (ROOT / path).exists():
            problems += check_file(path, (ROOT / path).read_text())
    print("\n".join(problems) if problems else "includes: ok")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
