"""Makes ggml.tsv and real.f16: what ggml's own quantisers lose on three kinds of rows; kernels/tests/encode.rs holds ours against it.

pip install gguf numpy; python make.py LIBGGML_BASE_SO SMOLLM2_GGUF

An error is sum(w (x - decoded)^2) / sum(w x^2) over all rows of a kind, in f64; the weights are ggml's blocks decoded by the `gguf` package.
Without importance w = 1. Rows are 1536 wide, 24 of each kind:
  gauss   sums of twelve uniforms, less 6
  heavy   the same times the cube of another, so that a few weights are far from the rest
  real    rows of SmolLM2-135M-Instruct (Apache-2.0) as f16, real.f16: 12 of its token embeddings (Q8_0 in the file used), and 4 each
          of ffn_down in layers 0, 14 and 29 (Q4_1)
Uniforms are splitmix64 from SEED, the high 24 bits over 2^24: sums and products are done in f64 and rounded once, to f32, so
that the test repeats them bit for bit. Importance is a uniform to the fourth power and 1e-3, for each column.
"""
import ctypes
import sys
from pathlib import Path

import gguf
import numpy as np

SEED, ROWS, COLS = 20261123, 24, 1536
FORMATS = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4"]
HERE = Path(__file__).parent
MASK = (1 << 64) - 1


class Rng:
    def __init__(self, seed):
        self.state = seed

    def uniform(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
        z ^= z >> 31
        return (z >> 40) / (1 << 24)

    def gauss(self):
        total = 0.0
        for _ in range(12):
            total += self.uniform()
        return total - 6.0


def rows():
    """The rows of each kind, and the importance of a column."""
    rng = Rng(SEED)
    count = ROWS * COLS
    gauss = [rng.gauss() for _ in range(count)]
    heavy = []
    for _ in range(count):
        a = rng.gauss()
        b = rng.gauss()
        heavy.append(a * b * b * b)
    importance = []
    for _ in range(COLS):
        u = rng.uniform()
        importance.append(u * u * u * u + 1e-3)
    as_rows = lambda values: np.array(values, np.float64).astype(np.float32).reshape(-1, COLS)
    return {"gauss": as_rows(gauss), "heavy": as_rows(heavy)}, as_rows(importance)[0]


def real(path):
    """Rows out of a trained model."""
    tensors = {t.name: t for t in gguf.GGUFReader(path).tensors}
    picked = []
    for name, rows in [("token_embd", 12)] + [(f"blk.{layer}.ffn_down", 4) for layer in (0, 14, 29)]:
        tensor = tensors[f"{name}.weight"]
        count = rows * COLS // int(tensor.shape[0])
        data = tensor.data[:: len(tensor.data) // count][:count]
        picked.append(gguf.quants.dequantize(data, tensor.tensor_type).reshape(rows, COLS))
    return np.concatenate(picked).astype("<f2")


def main(library, model):
    ggml = ctypes.CDLL(library)
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    floats = ctypes.POINTER(ctypes.c_float)
    kinds, importance = rows()
    halves = real(model)
    (HERE / "real.f16").write_bytes(halves.tobytes())
    kinds["real"] = halves.astype(np.float32)
    out = {}
    for name in FORMATS:
        kind = gguf.GGMLQuantizationType[name]
        weights, size = gguf.GGML_QUANT_SIZES[kind]
        ggml.ggml_quantize_init(int(kind))
        out[name] = {}
        for label, x in kinds.items():
            for suffix, matrix in (("", None), (" weighted", importance)):
                blocks = np.zeros((ROWS, COLS // weights * size), np.uint8)
                ggml.ggml_quantize_chunk(
                    int(kind), x.ctypes.data_as(floats), ctypes.c_void_p(blocks.ctypes.data), ctypes.c_int64(0),
                    ctypes.c_int64(ROWS), ctypes.c_int64(COLS), matrix.ctypes.data_as(floats) if matrix is not None else None)
                decoded = gguf.quants.dequantize(blocks, kind).astype(np.float64)
                w = np.ones(COLS) if matrix is None else matrix.astype(np.float64)
                x64 = x.astype(np.float64)
                out[name][label + suffix] = float((w * (x64 - decoded) ** 2).sum() / (w * x64**2).sum())
    lines = [f"{name}\t{label}\t{error!r}" for name, errors in out.items() for label, error in errors.items()]
    (HERE / "ggml.tsv").write_text("\n".join(lines) + "\n")


main(*sys.argv[1:])
