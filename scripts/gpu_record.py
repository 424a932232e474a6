#!/usr/bin/env python3
"""Records of scripts/gpu_check.sh.

  gpu_record.py write WORK [FILE]   makes the record of the stages that lie in WORK; by default
                                    tests/bench/results/DATE-GPU.json
  gpu_record.py readme              prints tests/bench/README.md: the figures of CPUs as written by hand in
                                    tests/bench/cpu_figures.md, and those of GPUs out of the records
  gpu_record.py check               fails where that page is not what `readme` prints, or a record is malformed
"""
import datetime
import json
import pathlib
import re
import subprocess
import sys

BENCH = pathlib.Path(__file__).resolve().parent.parent / "tests/bench"
RESULTS = BENCH / "results"
GPU_FACTS = ["name", "driver_version", "memory.total", "power.limit", "compute_cap", "pcie.link.gen.max"]


def json_lines(path):
    out = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        if line.startswith("{"):
            try:
                out.append(json.loads(line))
            except ValueError:  # cut off by the stage's limit
                pass
    return out


def gpus():
    query = subprocess.run(["nvidia-smi", "--query-gpu=" + ",".join(GPU_FACTS), "--format=csv,noheader"],
                           capture_output=True, text=True, check=True)
    return [dict(zip(GPU_FACTS, line.split(", "))) for line in query.stdout.strip().splitlines()]


def bad(stages):
    return {stage["name"] for stage in stages if stage["state"] not in ("passed", "skipped")}


def make_record(work, devices, now):
    stages = []
    for line in (work / "stages").read_text().splitlines():
        name, state, code, seconds = line.split("\t")
        stages.append({"name": name, "state": state, "exit_code": int(code), "seconds": int(seconds)})
    for stage in stages:
        if stage["state"] not in ("passed", "skipped"):
            text = "".join((work / f"{stage['name']}.{end}").read_text(errors="replace")
                           for end in ("log", "err") if (work / f"{stage['name']}.{end}").exists())
            stage["output"] = text[-2000:]
    steps = [figure | {"stage": path.stem} for path in sorted(work.glob("step-*.log")) for figure in json_lines(path)]
    torch = [figure | {"stage": path.stem} for path in sorted(work.glob("torch-*.log")) for figure in json_lines(path)]
    return {
        "date": now,
        "commit": (work / "commit").read_text().split("\n")[0] + (
            " with changes" if "with changes" in (work / "commit").read_text() else ""),
        "gpus": devices,
        "clocks": {when: (work / f"clocks-{when}").read_text() for when in ("before", "after")
                   if (work / f"clocks-{when}").exists()},
        "stages": stages,
        "implementations": sorted({line for path in work.glob("*.err") if path.stem not in bad(stages)
                                   for line in path.read_text(errors="replace").splitlines() if ": " in line})[:200],
        "kernels": json_lines(work / "kernels.log"),
        "steps": steps,
        "torch": torch,
    }


def write(work, path):
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    record = make_record(pathlib.Path(work), gpus(), now)
    if path is None:
        gpu = re.sub(r"[^a-z0-9]+", "-", record["gpus"][0]["name"].lower()).strip("-")
        path = RESULTS / f"{now[:10]}-{gpu}.json"
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(f"gpu_check: wrote {path}; scripts/gpu_record.py readme > tests/bench/README.md puts it on the page")


def number(x):
    return f"{x:.3g}" if abs(x) < 1000 else f"{x:,.0f}"


def kernel_rows(kernels):
    yield "| kernel | median | p10 - p90 | share of the ceiling |"
    yield "|---|---|---|---|"
    for k in kernels:
        share = f"{k['share']:.2f}" if "share" in k else "-"
        yield f"| {k['name']} | {number(k['value'])} {k['unit']} | {number(k['p10'])} - {number(k['p90'])} | {share} |"


def step_rows(record):
    peak = next((k["value"] * 1e12 for k in record["kernels"] if k["name"] == "ceiling: bf16 matmul"), None)
    yield "| step | contender | tokens/s | s/step (p10 - p90) | share of the measured matmul | memory | first step |"
    yield "|---|---|---|---|---|---|---|"
    for s in record["steps"] + record["torch"]:
        share = f"{s['flops'] / peak:.2f}" if peak and "flops" in s else "-"
        memory = s.get("used_bytes", 0) / 2**30
        shape = f"{s['batch']} x {s['length']}, {s['micro_batch']} at a time"
        contender = s.get("contender", f"frugal {s.get('precision')}")
        yield (f"| {s['stage'].split('-', 1)[1]}, {shape} | {contender} | {number(s['tokens_per_s'])} | "
               f"{number(s['median_s'])} ({number(s['p10_s'])} - {number(s['p90_s'])}) | {share} | {memory:.1f} GiB | "
               f"{number(s['first_step_s'])} s |")


def section(record, file):
    names = [g["name"] for g in record["gpus"]]
    count = f"{len(names)} x " if len(names) > 1 else ""
    yield f"## {count}{names[0]}, driver {record['gpus'][0]['driver_version']}, {record['date'][:10]}"
    yield ""
    others = [f"{s['name']} ({s['state']})" for s in record["stages"] if s["state"] != "passed"]
    passed = len(record["stages"]) - len(others)
    yield f"Commit {record['commit']}; `results/{file}`. Stages: {passed} passed" + (f"; {', '.join(others)}." if others else ".")
    if record["kernels"]:
        yield ""
        yield from kernel_rows(record["kernels"])
    if record["steps"] or record["torch"]:
        yield ""
        yield from step_rows(record)


def readme():
    text = (BENCH / "cpu_figures.md").read_text().rstrip("\n") + "\n"
    records = sorted(RESULTS.glob("*.json"), reverse=True)
    if not records:
        return text + "\n## GPUs\n\nNo record yet: nothing of this has run on a GPU.\n"
    for path in records:
        text += "\n" + "\n".join(section(json.loads(path.read_text()), path.name)) + "\n"
    return text


def check():
    expected = readme()
    if (BENCH / "README.md").read_text() != expected:
        sys.exit("tests/bench/README.md is stale: scripts/gpu_record.py readme > tests/bench/README.md")
    print("bench README: ok")


def self_test():
    """A record of made-up stages goes through everything."""
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "stages").write_text("ops\tpassed\t0\t7\nkernels\tfailed\t1\t3\n")
        (work / "commit").write_text("abc\n")
        (work / "kernels.err").write_text("it broke\n")
        (work / "kernels.log").write_text(
            '{"name": "ceiling: bf16 matmul", "unit": "TFLOP/s", "value": 700, "p10": 690, "p90": 710}\n'
            'noise\n{"name": "add", "unit": "GB/s", "value": 3000, "p10": 2900, "p90": 3100, "share": 0.9}\n{"cut')
        step = {"model": "m", "precision": "bf16", "batch": 8, "micro_batch": 4, "length": 16, "median_s": 0.5,
                "p10_s": 0.4, "p90_s": 0.6, "tokens_per_s": 256, "flops": 350e12, "used_bytes": 2**30,
                "first_step_s": 2, "loss": 3}
        (work / "step-m.log").write_text(json.dumps(step) + "\n")
        (work / "torch-m.log").write_text(json.dumps(step | {"contender": "torch eager", "used_bytes": 2**31}) + "\n")
        record = make_record(work, [dict.fromkeys(GPU_FACTS, "X")], "2026-01-31T00:00:00Z")
        text = "\n".join(section(json.loads(json.dumps(record)), "r.json"))
        for part in ("Stages: 1 passed; kernels (failed).", "| add | 3,000 GB/s | 2,900 - 3,100 | 0.90 |",
                     "| m, 8 x 16, 4 at a time | frugal bf16 | 256 | 0.5 (0.4 - 0.6) | 0.50 | 1.0 GiB | 2 s |",
                     "| torch eager |"):
            assert part in text, (part, text)
        assert record["stages"][1]["output"].endswith("it broke\n")
    print("gpu_record self-test: ok")


def main():
    match sys.argv[1:]:
        case ["write", work, *path] if len(path) <= 1:
            write(work, path[0] if path else None)
        case ["readme"]:
            print(readme(), end="")
        case ["check"]:
            check()
        case ["--self-test"]:
            self_test()
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
