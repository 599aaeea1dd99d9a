"""What llama.cpp's llama-perplexity says of the tiny models, for `tests/cli_perplexity.rs` to hold wattle against.

    python make.py --bin $BIN        # the folder with llama-perplexity and llama-quantize

Writes, beside this file:
  llama.json  perplexities of tiny-chat and tiny-llama over ../smollm2/text.txt, and how far tiny-chat is from `base.kld`
  base.kld    the distributions of tiny-chat, rounded to Q4_0, over the first chunks of that text

All models are decoded to float32 first, and the cache is float32 without flash attention, so that the numbers are those
of the weights and not of a rounding of activations: any two programs that compute in floats must find the same.
"""

import argparse
import json
import pathlib
import re
import subprocess
import tempfile

HERE = pathlib.Path(__file__).parent
TEXT = HERE.parent / "smollm2" / "text.txt"
EXACT = ["-ctk", "f32", "-ctv", "f32", "-fa", "off", "-t", "1"]
# Tokens of a chunk, of a batch, and chunks; with -1 as many as there are.
CASES = [(64, 64, 4), (128, 128, -1), (100, 32, -1)]
BASE = (64, 64, 4)

parser = argparse.ArgumentParser()
parser.add_argument("--bin", type=pathlib.Path, required=True, help="llama.cpp's programs")
args = parser.parse_args()


def run(program, *command):
    ran = subprocess.run([args.bin / program, *map(str, command)], check=True, text=True, errors="replace",
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return ran.stdout


def perplexity(model, case, *more):
    context, batch, chunks = case
    return run("llama-perplexity", "-m", model, "-f", TEXT, "-c", context, "-b", batch, "--chunks", chunks, *EXACT, *more)


def numbers(pattern, output):
    return [float(x) for x in re.search(pattern, output).groups()]


with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)

    def decoded(model, name):
        run("llama-quantize", "--allow-requantize", model, folder / name, "F32")
        return folder / name

    found = []
    for model in ["tiny-chat", "tiny-llama"]:
        wide = decoded(HERE.parent / f"{model}.gguf", f"{model}.gguf")
        for case in CASES:
            ppl, error = numbers(r"PPL = ([\d.]+) \+/- ([\d.]+)", perplexity(wide, case))
            found.append({"model": model, "context": case[0], "batch": case[1], "chunks": case[2],
                          "ppl": ppl, "ppl_error": error})

    run("llama-quantize", "--allow-requantize", folder / "tiny-chat.gguf", folder / "q4_0.gguf", "Q4_0")
    perplexity(decoded(folder / "q4_0.gguf", "base.gguf"), BASE, "--save-all-logits", HERE / "base.kld")
    said = perplexity(folder / "tiny-chat.gguf", BASE, "--save-all-logits", HERE / "base.kld", "--kl-divergence")
    pair = r"\s*: *(-?[\d.]+) ± +([\d.]+)"
    divergence = {}
    for name, label, scale in [
        ("ppl", r"Mean PPL\(Q\)", 1), ("base_ppl", r"Mean PPL\(base\)", 1),
        ("ln_ppl_ratio", r"Mean ln\(PPL\(Q\)/PPL\(base\)\)", 1), ("ppl_ratio", r"Mean PPL\(Q\)/PPL\(base\)", 1),
        ("kl", "Mean +KLD", 1), ("p_change", "Mean +Δp", 100), ("p_change_rms", "RMS Δp", 100), ("same_top", "Same top p", 100),
    ]:
        value, error = numbers(label + pair, said)
        divergence[name], divergence[name + "_error"] = value / scale, error / scale
    for name, label in [("kl_median", "Median"), ("kl_99", r"99\.0%"), ("kl_99_9", r"99\.9%"), ("kl_max", "Maximum")]:
        divergence[name], = numbers(label + r" +KLD: +(-?[\d.]+)", said)

(HERE / "llama.json").write_text(json.dumps({"cases": found, "divergence": divergence}, indent=1) + "\n")
