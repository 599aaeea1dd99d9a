#!/usr/bin/env python3
"""Executed ARM instructions per token, under QEMU with the plugin `count.c`.

    count.py check BOUNDS ...    measures each line of a table of bounds; fails if one is more than 3 % above
    count.py write BOUNDS ...    measures each line and writes the table anew
    count.py show MODEL CPU ...  instructions per token of one file, and the functions that they are in

A token's count is a difference: of two runs that differ in the number of tokens only, so that loading and packing fall out.
Decoding: 4 and 12 tokens after a prompt of one. A prompt: 64 and 128 tokens, with coarse scales. One thread on one core, so no counter is shared
and nobody waits. A count repeats to within a part in 1,000 (the report prints times, and hash tables have random seeds).

A line of the table: the shape and types that `wattle synth` makes the file of, the CPU, what is counted, instructions.
It needs `qemu-aarch64` (the dynamic one: a static program loads no plugin) and `aarch64-linux-gnu-nm`.
"""

import argparse
import bisect
import collections
import functools
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

ABOVE = 1.03  # A count that is as much above its bound fails.
BELOW = 0.95  # One that is as much below should become the bound.

# What is counted: the arguments of the shorter run, those of the longer, and by how many tokens they differ. Decoding comes
# after a prompt, because `wattle bench` measures the memory's rate beside a test of decoding alone, which takes a time.
TESTS = {
    "decode": ("-p 0 -n 0 --pg 1,4", "-p 0 -n 0 --pg 1,12", 8),
    "prefill": ("-p 64 -n 0 --coarse", "-p 128 -n 0 --coarse", 64),
}
# The same for llama-bench.
THEIRS = {
    "decode": ("-p 0 -n 4 -fa 0", "-p 0 -n 12 -fa 0", 8),
    "prefill": ("-p 64 -n 0 -fa 0", "-p 128 -n 0 -fa 0", 64),
}


def first_code(head):
    """Where the code of a program begins, by the beginning of its file: an ELF of 64 bits."""
    table, size, number = *struct.unpack_from("<Q", head, 32), *struct.unpack_from("<2H", head, 54)
    segments = (struct.unpack_from("<2I2Q", head, table + i * size) for i in range(number))
    return min(address for kind, flags, _, address in segments if kind == 1 and flags & 1)


class Program:
    """A program for ARM, and where its functions are."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            self.code = first_code(file.read(4096))
        nm = ["aarch64-linux-gnu-nm", "-C", "--defined-only", path]
        symbols = []
        for line in subprocess.run(nm, check=True, capture_output=True, text=True).stdout.splitlines():
            address, kind, name = line.split(" ", 2)
            if kind in "tTwW" and not name.startswith("$"):
                symbols.append((int(address, 16), name))
        symbols.sort()
        self.starts = [address for address, _ in symbols]
        self.names = [name for _, name in symbols]

    def function(self, address):
        """The function that has the address; all of the C library's are one."""
        place = bisect.bisect_right(self.starts, address) - 1
        if place < 0 or address > self.starts[-1] + (1 << 16):
            return "(libraries)"
        return self.names[place]


def run(plugin, cpu, program, model, args):
    """Instructions of one run, by function."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "count")
        command = ["qemu-aarch64", "-cpu", cpu, "-plugin", f"{plugin},out={out}", program.path]
        command += ["bench"] if "llama-bench" not in program.path else []
        command += ["-m", model, "-t", "1", "-r", "1", "--no-warmup", *args.split()]
        # On one core there is one thread at work, also while the model is loaded: counters are not atomic.
        core = {min(os.sched_getaffinity(0))}
        alone = functools.partial(os.sched_setaffinity, 0, core)
        done = subprocess.run(command, capture_output=True, text=True, timeout=1800, preexec_fn=alone)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}\nexit code {done.returncode}: {done.stderr[-2000:]}")
        counts = collections.Counter()
        with open(out, encoding="ascii") as lines:
            moved = int(next(lines).split()[1], 16) - program.code
            for line in lines:
                address, instructions, executions = line.split()
                function = program.function(int(address, 16) - moved)
                counts[function] += int(instructions) * int(executions)
        return counts


def per_token(plugin, cpu, program, model, test):
    """Instructions per token, by function."""
    short, long, tokens = (THEIRS if "llama-bench" in program.path else TESTS)[test]
    less, more = (run(plugin, cpu, program, model, args) for args in (short, long))
    return {name: (more[name] - less[name]) / tokens for name in more | less}


def plainly(name):
    """A function's name without the modules' names and hashes."""
    name = re.sub(r"\[[0-9a-f]{16}\]", "", name)
    name = re.sub(r"\b[a-z_][a-z_0-9]*::(?=[A-Za-z<])", "", name)
    return name


def show(options, program):
    for test in options.tests.split(","):
        counts = per_token(options.plugin, options.cpu, program, options.model, test)
        total = sum(counts.values())
        print(f"{options.cpu} {test}: {total:,.0f} instructions per token")
        for name, count in sorted(counts.items(), key=lambda item: -item[1])[: options.functions]:
            print(f"  {count:15,.0f}  {100 * count / total:5.1f} %  {plainly(name)}")


def table(path):
    """The lines of a table: (text before the number, number)."""
    lines = [line.rstrip("\n") for line in open(path, encoding="utf-8")]
    return lines[0], [line.rsplit("\t", 1) for line in lines[1:]]


def measure(options, program):
    """For each line of the table: its beginning, its bound, and the count."""
    _, lines = table(options.bounds)
    with tempfile.TemporaryDirectory() as folder:
        for start, bound in lines:
            shape, types, cpu, test = start.split("\t")
            model = pathlib.Path(folder) / f"{shape}-{types}.gguf"
            if not model.exists():
                subprocess.run(
                    ["qemu-aarch64", "-cpu", "max", program.path, "synth", shape, model, types, "-t", "1"], check=True
                )
            counts = per_token(options.plugin, cpu, program, str(model), test)
            yield start, float(bound), sum(counts.values())


def check(options, program):
    failed = False
    for start, bound, count in measure(options, program):
        share = count / bound
        verdict = "more than it may be" if share > ABOVE else "less: lower the bound" if share < BELOW else "ok"
        failed |= share > ABOVE
        print(f"{start}\t{count:.0f} of {bound:.0f} ({share:.3f}): {verdict}", flush=True)
    sys.exit("more instructions per token than recorded: see tests/record/arm-qemu/README.md" if failed else 0)


def write(options, program):
    head, _ = table(options.bounds)
    lines = [f"{start}\t{count:.0f}" for start, _, count in measure(options, program)]
    pathlib.Path(options.bounds).write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, work in (("check", check), ("write", write), ("show", show)):
        command = commands.add_parser(name)
        command.set_defaults(work=work)
        command.add_argument("--plugin", required=True, help="count.c, compiled")
        command.add_argument("--program", required=True, help="wattle, or a llama-bench, for aarch64, with symbols")
        if name == "show":
            command.add_argument("model")
            command.add_argument("cpu")
            command.add_argument("--tests", default="decode,prefill")
            command.add_argument("--functions", type=int, default=25)
        else:
            command.add_argument("bounds")
    options = parser.parse_args()
    options.plugin = os.path.abspath(options.plugin)
    options.work(options, Program(options.program))


main()
