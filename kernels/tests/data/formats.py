"""Makes formats.bin: random blocks of every format and what the numpy decoder of the `gguf` package makes of them.

pip install gguf==0.19.0 numpy; python formats.py

Per format: u32 ggml type, u32 blocks, the blocks, their weights as f32. Little-endian. Scales are random finite f16 of either
sign, subnormal ones and zeros among them; everything else is random bits.
"""
import struct
from pathlib import Path

import gguf
import numpy as np

SEED = 20261123
BLOCKS = 6
# ggml type: offsets of the f16 in a block
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2],
          "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0], "MXFP4": [], "F16": [0], "BF16": []}

rng = np.random.default_rng(SEED)
out = bytearray()
for name, halves in HALVES.items():
    kind = gguf.GGMLQuantizationType[name]
    weights, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = BLOCKS * (16 if weights == 1 else 1)
    data = rng.integers(0, 256, (blocks, size), dtype=np.uint8)
    for at in halves:
        bits = rng.integers(0, 1 << 16, blocks, dtype=np.uint16)
        bits[bits & 0x7C00 == 0x7C00] &= 0x83FF  # no infinity, no NaN; these become subnormal
        data[:, at:at + 2] = bits[:, None].view(np.uint8)
    if name == "MXFP4":
        data[:, 0] = [0, 1, 2, 100, 127, 252]
    if name == "BF16":
        data[:, 1] &= 0x3F
    if name == "F16":
        decoded = data.view(np.float16).astype(np.float32)
    else:
        decoded = gguf.quants.dequantize(data, kind).astype(np.float32)
    assert np.isfinite(decoded).all(), name
    out += struct.pack("<II", kind, blocks) + data.tobytes() + decoded.astype("<f4").tobytes()
Path(__file__).with_name("formats.bin").write_bytes(out)
