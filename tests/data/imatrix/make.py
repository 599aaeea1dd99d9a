"""What llama.cpp's llama-imatrix learns about tiny-chat, for `tests/cli_imatrix.rs` to hold wattle against.

    python make.py --bin $BIN        # the folder with llama-imatrix and llama-quantize

Writes tiny-chat.gguf beside this file: four chunks of 128 tokens of ../smollm2/text.txt through the model decoded to float32,
with a float32 cache and without flash attention, so that no rounding of activations comes into it.
"""

import argparse
import pathlib
import subprocess
import tempfile

HERE = pathlib.Path(__file__).parent

parser = argparse.ArgumentParser()
parser.add_argument("--bin", type=pathlib.Path, required=True, help="llama.cpp's programs")
args = parser.parse_args()

with tempfile.TemporaryDirectory() as folder:
    wide = pathlib.Path(folder) / "wide.gguf"
    subprocess.run([args.bin / "llama-quantize", "--allow-requantize", HERE.parent / "tiny-chat.gguf", wide, "F32"], check=True)
    # In the folder of the text, whose name goes into the file.
    subprocess.run([args.bin / "llama-imatrix", "-m", wide, "-f", "text.txt", "-o", HERE.resolve() / "tiny-chat.gguf",
                    "-c", "128", "--chunks", "4", "--process-output",
                    "-ctk", "f32", "-ctv", "f32", "-fa", "off", "-t", "1"], check=True, cwd=HERE.parent / "smollm2")
