#!/usr/bin/env python3
"""Size budgets: file 400 lines soft, 600 hard; function 50 soft, 100 hard (a CUDA kernel 150); six parameters.

Soft limits warn, hard ones fail. There is no list of exceptions: split by concept.
Usage: check_sizes.py [--self-test]
"""
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE_SOFT, FILE_HARD = 400, 600
FUNCTION_SOFT, FUNCTION_HARD, KERNEL_HARD = 50, 100, 150
PARAMETERS = 6
KEYWORDS = {"if", "for", "while", "switch", "catch", "return", "sizeof", "decltype", "alignof", "noexcept"}


def blank(text):
    """Comments, strings and preprocessor lines become spaces, so that braces and commas in them do not count."""
    def spaces(match):
        return re.sub(r"[^\n]", " ", match.group(0))
    text = re.sub(r'R"(\w*)\(.*?\)\1"', spaces, text, flags=re.S)
    text = re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'', spaces, text, flags=re.S)
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", spaces, text, flags=re.M)


def matching(text, start, opening, closing):
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == opening) - (text[i] == closing)
        if depth == 0:
            return i
    return len(text) - 1


def parameters(inside):
    depth, count = 0, 1 if inside.strip() else 0
    for c in inside:
        if c in "(<{[":
            depth += 1
        elif c in ")>}]":
            depth -= 1
        elif c == "," and depth == 0:
            count += 1
    return count


def body_start(text, close):
    """Index of the brace that opens the body of a definition whose parameter list ends at close, or -1."""
    tail = re.match(r"\s*(?:(?:const|noexcept|override|final|mutable)\s*)*(?:->\s*[\w:<>&*\s]+)?", text[close + 1:])
    i = close + 1 + tail.end()
    if text[i:i + 1] == ":" and text[i + 1:i + 2] != ":":
        i += 1
        while True:  # member(...) or member{...}, ...
            item = re.match(r"\s*[\w:<>]+\s*([({])", text[i:])
            if not item:
                return -1
            opening = i + item.end() - 1
            i = matching(text, opening, text[opening], ")" if text[opening] == "(" else "}") + 1
            comma = re.match(r"\s*,", text[i:])
            if not comma:
                break
            i += comma.end()
        i += len(text[i:]) - len(text[i:].lstrip())
    return i if text[i:i + 1] == "{" else -1


def functions(text):
    """(name, line, lines, parameters, is_kernel) of every definition found: NAME(...) [qualifiers] {."""
    for match in re.finditer(r"([~\w]+)\s*\(", text):
        name = match.group(1)
        if name in KEYWORDS:
            continue
        close = matching(text, match.end() - 1, "(", ")")
        brace = body_start(text, close)
        statement = re.split(r"[;{}]", text[max(0, match.start() - 200):match.start()])[-1]
        if brace < 0 or "=" in statement or re.search(r"\breturn\b", statement):
            continue
        end = matching(text, brace, "{", "}")
        line = text.count("\n", 0, match.start()) + 1
        yield (name, line, text.count("\n", match.start(), end) + 1, parameters(text[match.end():close]),
               "__global__" in statement)


def check_file(path, text):
    """(warnings, errors) of one file."""
    warnings, errors = [], []
    lines = text.count("\n")
    if lines > FILE_HARD:
        errors.append(f"{path}: {lines} lines, the limit is {FILE_HARD}: split it by concept")
    elif lines > FILE_SOFT:
        warnings.append(f"{path}: {lines} lines, aim for {FILE_SOFT}")
    for name, line, length, count, kernel in functions(blank(text)):
        where = f"{path}:{line}: {name}"
        if length > (KERNEL_HARD if kernel else FUNCTION_HARD):
            errors.append(f"{where} has {length} lines, the limit is {KERNEL_HARD if kernel else FUNCTION_HARD}")
        elif length > FUNCTION_SOFT:
            warnings.append(f"{where} has {length} lines, aim for {FUNCTION_SOFT}")
        if count > PARAMETERS:
            errors.append(f"{where} has {count} parameters, the limit is {PARAMETERS}: use an argument struct")
    return warnings, errors


def self_test():
    body = "\n".join("  x += 1;" for _ in range(120))
    assert check_file("a.cc", f"void long_one(int a) {{\n{body}\n}}\n")[1]
    assert check_file("a.cc", f"int C::member(int a) const {{\n{body}\n}}\n")[1]
    assert check_file("a.cc", f"C::C(int a) : a_(a), b_{{1}} {{\n{body}\n}}\n")[1]
    assert not check_file("a.cu", f"__global__ void kernel(int a) {{\n{body}\n}}\n")[1]
    assert check_file("a.cc", "void many(int a, int b, int c, int d, int e, int f, int g) {\n}\n")[1]
    assert not check_file("a.cc", "void six(int a, std::map<int, int> b, int c, int d, int e, int f) {\n}\n")[1]
    assert check_file("a.cc", "\n" * 700)[1]
    assert check_file("a.cc", "\n" * 450)[0]
    print("self-test: ok")


def main():
    if "--self-test" in sys.argv:
        return self_test()
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, text=True, check=True).stdout.split("\n")
    warnings, errors = [], []
    for path in filter(None, listed):
        if Path(path).suffix in {".h", ".cc", ".cu", ".cuh", ".py", ".sh"} and (ROOT / path).exists():
            text = (ROOT / path).read_text()
            if Path(path).suffix in {".py", ".sh"}:
                lines = text.count("\n")
                if lines > FILE_HARD:
                    errors.append(f"{path}: {lines} lines, the limit is {FILE_HARD}")
                continue
            found = check_file(path, text)
            warnings += found[0]
            errors += found[1]
    for line in warnings:
        print("warning:", line)
    print("\n".join(errors) if errors else "sizes: ok")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
