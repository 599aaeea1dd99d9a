"""Holds `wattle` against llama.cpp on SmolLM2: usage smollm2.py WATTLE MODEL. Standard library only.

Each check prints a line; the first that fails ends the run with exit code 1. The expected values come from
tests/data/smollm2/make.py, which also says why the distributions are compared with the decoded weights' own.
"""

import array
import json
import math
import os
import pathlib
import resource
import struct
import subprocess
import sys
import tempfile
import time

WATTLE, MODEL = sys.argv[1:]
DATA = pathlib.Path("tests/data/smollm2")
REFERENCE = json.loads((DATA / "reference.json").read_text())
TOP = 64
# wattle may be this much further from the truth than llama.cpp is: rounding noise differs from build to build.
SLACK = 1.15
CONTEXT = 512
CACHE_BYTES = 30 * 2 * 192 * 2 * CONTEXT  # layers, keys and values, 3 heads of 64, f16


def wattle(*args):
    done = subprocess.run([WATTLE, *args], stdin=subprocess.DEVNULL, capture_output=True, timeout=600)
    if done.returncode != 0:
        sys.exit(f"FAILED: wattle {' '.join(args)[:200]}: exit code {done.returncode}\n{done.stderr.decode()}")
    return done.stdout.decode()


def check(holds, name, detail=""):
    print(("ok     " if holds else "FAILED ") + name + (f": {detail}" if detail else ""), flush=True)
    if not holds:
        sys.exit(1)


def greedy_texts():
    """48 tokens a prompt, the same as llama.cpp's, byte for byte."""
    common = ["-m", MODEL, "-n", str(REFERENCE["steps"]), "-c", str(CONTEXT), "--temp", "0", "--ignore-eos", "--no-cnv"]
    for case in REFERENCE["prompts"]:
        # The two bytes that a shell user sees besides the text are not part of it: a closing line break.
        text = wattle("run", *common, "-p", case["prompt"]).removesuffix("\n")
        expected = case["text"].removesuffix("\n")
        check(text == expected, f"greedy text after {case['prompt']!r}", "" if text == expected else f"{text!r} is not {expected!r}")


def memory():
    """Called after `run` only: the largest child so far was one of those, the one with the long prompt as a rule."""
    text = (DATA / "text.txt").read_text()[:1800]
    wattle("run", "-m", MODEL, "-n", "16", "-c", str(CONTEXT), "--temp", "0", "--ignore-eos", "-p", text)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    bound = os.path.getsize(MODEL) * 1.25 + CACHE_BYTES
    check(peak <= bound, "resident memory of run", f"{peak / 1e6:.1f} MB, at most {bound / 1e6:.1f}")


def inspect():
    best = math.inf
    for _ in range(5):
        start = time.perf_counter()
        text = wattle("inspect", MODEL)
        best = min(best, time.perf_counter() - start)
    check("llama" in text and "Q4_1" in text, "inspect names the architecture and the format")
    check(best < 0.05, "time of inspect", f"{best * 1000:.1f} ms, under 50")
    json.loads(wattle("inspect", MODEL, "--json"))
    check(True, "inspect --json is JSON")


def tokenize():
    report = json.loads(wattle("tokenize", "-m", MODEL, "-f", str(DATA / "text.txt"), "--json"))
    ids = [token["id"] for token in report["tokens"]]
    expected = REFERENCE["tokens"]
    check(ids[: len(expected)] == expected, "tokens of text.txt", f"the first {len(expected)} are llama.cpp's")


def npy_rows(path):
    """The rows of a float32 .npy file, one array at a time."""
    with open(path, "rb") as file:
        magic = file.read(8)
        assert magic[:6] == b"\x93NUMPY", "not an .npy file"
        (length,) = struct.unpack("<H", file.read(2)) if magic[6] == 1 else struct.unpack("<I", file.read(4))
        header = file.read(length).decode("latin1")
        assert "'<f4'" in header and "'fortran_order': False" in header, header
        rows, columns = (int(n) for n in header.split("(")[1].split(")")[0].split(",")[:2])
        for _ in range(rows):
            row = array.array("f")
            row.fromfile(file, columns)
            yield row


def distributions():
    """Mean KL(truth || wattle) over the 64 likeliest tokens and one bucket for the rest."""
    reference = (DATA / "top64.bin").read_bytes()
    size = TOP * (2 + 4)
    total, agree, count = 0.0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "logits.npy")
        tokens = ",".join(map(str, REFERENCE["tokens"]))
        wattle("score", "-m", MODEL, "--tokens", tokens, "--logits", path, "-c", str(len(REFERENCE["tokens"])))
        for row in npy_rows(path):
            ids = struct.unpack_from(f"<{TOP}H", reference, count * size)
            truth = struct.unpack_from(f"<{TOP}f", reference, count * size + TOP * 2)
            peak = max(row)
            scale = peak + math.log(sum(map(math.exp, (x - peak for x in row))))
            ours = [row[i] - scale for i in ids]
            rest_truth = 1 - math.fsum(map(math.exp, truth))
            rest_ours = 1 - math.fsum(map(math.exp, ours))
            total += math.fsum(math.exp(p) * (p - q) for p, q in zip(truth, ours))
            total += rest_truth * math.log(rest_truth / rest_ours)
            agree += row[ids[0]] == peak
            count += 1
    check(count == len(REFERENCE["tokens"]) == len(reference) // size, "one row of logits a token", str(count))
    llama_cpp = max(REFERENCE["kl"]["truth_default_top64"], REFERENCE["kl"]["truth_exact_top64"])
    bound = llama_cpp * SLACK
    check(
        total / count <= bound,
        "mean KL from the decoded weights' distributions",
        f"{total / count:.5f}, at most {bound:.5f} (llama.cpp: {llama_cpp:.5f}); same likeliest token in {agree} of {count}",
    )


greedy_texts()
memory()
inspect()
tokenize()
distributions()
