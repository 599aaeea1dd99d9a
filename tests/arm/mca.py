#!/usr/bin/env python3
"""What llvm-mca says of the inner loop of each kernel: multiplications of a weight by an activation (MAC) per cycle.

    mca.py check BOUNDS --program WATTLE   measures each line of a table of bounds; fails if one is more than 5 % below
    mca.py write BOUNDS --program WATTLE   measures every kernel and writes the table anew
    mca.py show NAME CPU --program WATTLE  the loops of the functions with that in their names, and llvm-mca's report

The kernel of a format is one function of the program for each instruction set (`enter::inside::<Few<Q4_0, 1>>`): everything is
dissolved into it. Its inner loop is, of the loops that multiply and have no other such loop in them, the one that multiplies
most. llvm-mca takes it as a straight line that repeats: branches inside are not taken, and memory answers like the nearest
cache. So the number is a limit that the loop's own instructions set, not a speed.

A gemm with coarse scales (`Coarse<Q4_0>`) has a loop over the groups of 32 columns of a piece, and around it one over pieces, which
scales what the inner one summed. Taken alone the inner loop would hide that, so there the straight line is a whole piece: the outer loop's
instructions, with the inner loop in its place as often as a piece of 256 columns goes through it.

It needs `llvm-objdump-19` and `llvm-mca-19`.
"""

import argparse
import collections
import json
import pathlib
import re
import subprocess
import sys

BELOW = 0.95  # A loop that is as much below its bound fails: compilers differ a little.
ABOVE = 1.10  # One that is as much above should raise it.

# llvm-mca has no model of its own for the cores of the boards; these are the nearest.
CPUS = {
    "neon": ("cortex-a57", "cortex-a55"),  # A72; A53
    "neon_dot": ("neoverse-n1", "cortex-a55", "neoverse-n2"),  # A76; A55; A710 and A720
    "neon_i8mm": ("neoverse-n2",),  # A710, A720
}
TIERS = {"Neon>": "neon", "Neon<Sdot>": "neon_dot", "Neon<I8mm>": "neon_i8mm"}
# What a kernel does: the name of its operation in the code, and the one in the table.
KINDS = (
    (r"Few<(\w+), 1>", "gemv, 1 token"),
    (r"Few<(\w+), 4>", "gemv, 4 tokens"),
    (r"Coarse<(\w+)>", "gemm"),
    (r"Many<(\w+)>", "gemm, exact"),
)
# Multiplications of a piece with coarse scales: 256 columns of eight rows and eight tokens.
PIECE = 256 * 8 * 8
# Where prefill multiplies in pieces.
IN_PIECES = ("neon_dot", "neon_i8mm")
# Multiplications of one instruction.
INTEGER = {"sdot": 16, "udot": 16, "smmla": 32, "usmmla": 32, "smull": 8, "smull2": 8, "smlal": 8, "smlal2": 8}

Loop = collections.namedtuple("Loop", "name macs lines")
Kernel = collections.namedtuple("Kernel", "kind format tier")


def functions(program):
    """(name, [(address, instruction)]) of each function of the kernels."""
    command = ["llvm-objdump-19", "-d", "-C", "--no-show-raw-insn", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        name, lines = None, []
        for line in process.stdout:
            head = re.match(r"[0-9a-f]+ <(.*)>:$", line)
            if head:
                if name:
                    yield name, lines
                name, lines = (head[1], []) if "wattle_kernels" in head[1] else (None, [])
            elif name:
                found = re.match(r"\s*([0-9a-f]+):\s+(.+?)\s*(?:<.*|//.*)?$", line)
                if found:
                    lines.append((int(found[1], 16), found[2].replace("\t", " ")))
        if name:
            yield name, lines
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {process.returncode}")


def macs(lines):
    """Multiplications of bytes in some instructions."""
    total = 0
    for _, text in lines:
        word = text.split(None, 1)
        bytes_in = len(word) > 1 and re.search(r"\.(8b|16b|4b)", word[1])
        total += INTEGER.get(word[0].split(".")[0], 0) if bytes_in else 0
    return total


def loops_of(lines):
    """Where the loops that multiply begin and end."""
    place = {address: i for i, (address, _) in enumerate(lines)}
    loops = []
    for i, (address, text) in enumerate(lines):
        branch = re.match(r"(?:b|b\.\w+|cbn?z \w+,|tbn?z \w+, #\S+,) 0x([0-9a-f]+)$", text)
        if branch and int(branch[1], 16) <= address and int(branch[1], 16) in place:
            first = place[int(branch[1], 16)]
            if macs(lines[first : i + 1]):
                loops.append((first, i + 1))
    return loops


def inner_loop(name, lines):
    """The loop that multiplies most, of those that have no other such loop in them; in a gemm with coarse scales, a piece."""
    loops = loops_of(lines)
    inner = [a for a in loops if not any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in loops)]
    all_of_them = (Loop(name, macs(lines[a:b]), lines[a:b]) for a, b in inner)
    if "Coarse<" not in name:
        return max(all_of_them, key=lambda loop: loop.macs, default=None)
    a, b = max(inner, key=lambda loop: macs(lines[loop[0] : loop[1]]))
    around = [loop for loop in loops if loop != (a, b) and loop[0] <= a and b <= loop[1]]
    if not around:
        sys.exit(f"{name}: no loop over pieces around the one over groups")
    first, end = min(around, key=lambda loop: loop[1] - loop[0])
    times, rest = divmod(PIECE, macs(lines[a:b]))
    piece = lines[first:a] + lines[a:b] * times + lines[b:end]
    if rest or macs(piece) != PIECE:
        sys.exit(f"{name}: the loop over pieces has {macs(piece)} MAC, not {PIECE}")
    return Loop(name, PIECE, piece)


def kernel(name):
    """Which kernel a function is, if it is one."""
    short = re.sub(r"\b[a-z_][a-z_0-9]*::(?=[A-Za-z<])", "", re.sub(r"\[[0-9a-f]{16}\]", "", name))
    tier = next((tier for word, tier in TIERS.items() if f"<{word}" in short), None)
    for pattern, kind in KINDS:
        found = re.search(pattern, short)
        if kind == "gemm" and tier not in IN_PIECES:
            continue
        if tier and found:
            return Kernel(kind, found[1], tier)
    return None


def mca(loop, cpu, *more):
    command = ["llvm-mca-19", "-mtriple=aarch64", f"-mcpu={cpu}", "-mattr=+dotprod,+i8mm,+fullfp16", "-iterations=200", *more]
    # Where a branch goes matters not, and an address in a program is too far for one.
    text = "".join(re.sub(r"(?<!#)\b0x[0-9a-f]+$", "0", text) + "\n" for _, text in loop.lines)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr}\n{loop.name}\n{text}")
    return done.stdout


def rate(loop, cpu):
    """MAC per cycle."""
    report = json.loads(mca(loop, cpu, "-json"))
    (region,) = report["CodeRegions"]
    return loop.macs * 200 / region["SummaryView"]["TotalCycles"]


def measured(program):
    """Each kernel's loop."""
    found = {}
    for name, lines in functions(program):
        key = kernel(name)
        loop = key and inner_loop(name, lines)
        if loop and (key not in found or loop.macs > found[key].macs):
            found[key] = loop
    return found


def row(key, loop, cpu):
    steps = len(loop.lines)
    return f"{key.kind}\t{key.format}\t{key.tier}\t{cpu}", f"{rate(loop, cpu):.2f}", f"{loop.macs / steps:.2f}"


def write(options):
    lines = ["kernel\tformat\ttier\tllvm-mca's CPU\tMAC per cycle\tMAC per instruction"]
    for key, loop in sorted(measured(options.program).items()):
        lines += ["\t".join(row(key, loop, cpu)) for cpu in CPUS[key.tier]]
    pathlib.Path(options.bounds).write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines) - 1} lines")


def check(options):
    now = {}
    for key, loop in measured(options.program).items():
        for cpu in CPUS[key.tier]:
            start, cycle, _ = row(key, loop, cpu)
            now[start] = float(cycle)
    failed = []
    bounds = [line.split("\t") for line in open(options.bounds, encoding="utf-8").read().splitlines()[1:]]
    for *start, bound, _ in bounds:
        start = "\t".join(start)
        share = now[start] / float(bound) if start in now else 0
        if share < BELOW:
            failed.append(f"{start}: {now.get(start, 'no such loop')}, recorded {bound}")
        elif share > ABOVE:
            print(f"{start}: {now[start]:.2f}, recorded {bound}: raise the bound")
    new = set(now) - {"\t".join(start) for *start, _, _ in bounds}
    failed += [f"{start}: not in the table" for start in sorted(new)]
    print(f"{len(bounds)} loops held against their bounds")
    sys.exit("slower than recorded (see tests/record/arm-mca/README.md):\n" + "\n".join(failed) if failed else 0)


def show(options):
    for name, lines in functions(options.program):
        loop = options.name in name and inner_loop(name, lines)
        if loop:
            print(f"{name}\n{loop.macs} MAC, {len(loop.lines)} instructions, {rate(loop, options.cpu):.2f} MAC/cycle")
            print("".join(f"  {text}\n" for _, text in loop.lines))
            print(mca(loop, options.cpu))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for work in (check, write, show):
        command = commands.add_parser(work.__name__)
        command.set_defaults(work=work)
        if work is show:
            command.add_argument("name")
            command.add_argument("cpu")
        else:
            command.add_argument("bounds")
        command.add_argument("--program", required=True, help="wattle for aarch64, with symbols")
    options = parser.parse_args()
    options.work(options)


main()
