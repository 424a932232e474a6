#!/usr/bin/env python3
"""Registers of every CUDA kernel by architecture, as ptxas told them while a preset was built.

  kernel_resources.py write BUILD   writes what BUILD (build/cuda-release) says to kernels/cuda/registers.txt
  kernel_resources.py check BUILD   fails where a kernel of BUILD takes more registers than that file says on one of
                                    the architectures it was built for, or is not in it; shared memory is the launch's
                                    alone, so a kernel with some of its own fails too

A line is a kernel's name, then its registers on each architecture of the first line.
"""
import pathlib
import re
import subprocess
import sys

TABLE = pathlib.Path(__file__).resolve().parent.parent / "kernels/cuda/registers.txt"
ENTRY = re.compile(r"Compiling entry function '(\S+)' for 'sm_(\w+)'")
USED = re.compile(r"Used (\d+) registers(.*)")


def demangle(names):
    out = subprocess.run(["c++filt", "-p"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    short = [line.replace("frugal::cu::", "").replace("(anonymous namespace)::", "").replace("frugal::", "")
             for line in out.splitlines()]
    return dict(zip(names, short))


def read_build(build):
    """{kernel: {architecture: registers}}, and what is wrong with kernels."""
    files = sorted(pathlib.Path(build).rglob("*.o.ptxas"))
    if not files:
        sys.exit(f"{build} holds no .ptxas files: build a cuda preset there")
    used, wrong = {}, []
    for file in files:
        entry = None
        for line in file.read_text().splitlines():
            if match := ENTRY.search(line):
                entry = match.groups()
            elif (match := USED.search(line)) and entry:
                used.setdefault(entry[0], {})[entry[1]] = int(match[1])
                if "smem" in match[2]:
                    wrong.append(f"{entry[0]}: shared memory of its own on sm_{entry[1]}:{match[2]}")
                entry = None
    names = demangle(sorted(used))
    return {names[k]: v for k, v in used.items()}, wrong


def order(architecture):
    return int(re.sub(r"\D", "", architecture))


def read_table():
    first, *lines = TABLE.read_text().splitlines()
    architectures = first.split()[1:]
    out = {}
    for line in lines:
        *name, = line.rsplit(maxsplit=len(architectures))
        out[name[0]] = dict(zip(architectures, map(int, name[1:])))
    return out


def write(build):
    used, wrong = read_build(build)
    architectures = sorted({a for v in used.values() for a in v}, key=order)
    rows = [[name] + [str(v.get(a, 0)) for a in architectures] for name, v in sorted(used.items())]
    width = max(len(row[0]) for row in rows)
    lines = [" ".join(["kernel".ljust(width)] + [a.rjust(4) for a in architectures])]
    lines += [" ".join([row[0].ljust(width)] + [x.rjust(4) for x in row[1:]]) for row in rows]
    TABLE.write_text("\n".join(lines) + "\n")
    print(f"{len(rows)} kernels on {', '.join(architectures)}")
    if wrong:
        sys.exit("\n".join(wrong))


def check(build):
    used, wrong = read_build(build)
    table = read_table()
    for name, by_architecture in sorted(used.items()):
        for architecture, registers in by_architecture.items():
            known = table.get(name, {}).get(architecture)
            if known is None:
                wrong.append(f"{name}: not in {TABLE.name} for sm_{architecture}")
            elif registers > known:
                wrong.append(f"{name}: {registers} registers on sm_{architecture}, {TABLE.name} says {known}")
    if wrong:
        sys.exit("\n".join(wrong) + "\nscripts/kernel_resources.py write BUILD, with all architectures, if that is meant")
    print(f"registers of {len(used)} kernels: ok")


def main():
    match sys.argv[1:]:
        case ["write", build]:
            write(build)
        case ["check", build]:
            check(build)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
