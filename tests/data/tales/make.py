"""What the quality gates read: held-out text of wattle-tales, and llama.cpp's distributions of the shipped file over its start.

    python make.py CORPUS --bin LLAMA_BIN

CORPUS is what `src/demo/corpus.py` wrote. Writes, beside this file:
  held.txt   held-out documents: 14 stories of the plots, 2 sampled ones, a passage of the Bible
  llama.kld  llama-perplexity --save-all-logits over the first 2 chunks of 128 tokens, of the weights decoded to float32, with a
             float32 cache and without flash attention: the distributions of the weights, not of a rounding of activations
"""

import argparse
import pathlib
import subprocess
import tempfile

HERE = pathlib.Path(__file__).parent
MODEL = HERE.parents[2] / "src/demo/wattle-tales.gguf"
BREAK = "\n-----\n"  # corpus.py's

parser = argparse.ArgumentParser()
parser.add_argument("corpus", type=pathlib.Path)
parser.add_argument("--bin", type=pathlib.Path, required=True, help="llama.cpp's programs")
args = parser.parse_args()

held = []
for source, documents in (("plots", 14), ("sampled", 2), ("bible", 1)):
    held += (args.corpus / f"held-{source}.txt").read_text().split(BREAK)[:documents]
(HERE / "held.txt").write_text("\n\n".join(held) + "\n")
with tempfile.TemporaryDirectory() as folder:
    wide = f"{folder}/wide.gguf"
    quiet = {"check": True, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([args.bin / "llama-quantize", "--allow-requantize", MODEL, wide, "F32"], **quiet)
    subprocess.run(
        [args.bin / "llama-perplexity", "-m", wide, "-f", HERE / "held.txt", "-c", "128", "-b", "128", "--chunks", "2",
         "--save-all-logits", HERE / "llama.kld", "-ctk", "f32", "-ctv", "f32", "-fa", "off"], **quiet
    )
