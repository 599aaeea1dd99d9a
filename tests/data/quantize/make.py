"""What llama-quantize makes of the tensors of a model, and importance matrices in its two layouts.

    python -m venv v && v/bin/pip install gguf==0.19.0 numpy==2.4.6
    v/bin/python make.py --bin llama.cpp/build/bin    # writes types.json, imatrix.gguf, imatrix.dat beside this file

types.json holds the types that `llama-quantize --dry-run` prints, for every mix and for some flags:
- `files`: of models that are in tests/data already. Their rows are short, so nearly every tensor falls back to a
  type with smaller blocks, or to F16.
- `shapes`: of models that are only shapes (`keys` and `tensors`, rows of 256 and more), filled with zeros here and in
  the test. Between them: deepseek2 in the new layout with one MTP layer, in the old one with eight experts (for which
  llama.cpp has rules of its own), llama with tied embeddings and shared key heads, and the 80 layers of Llama 70B.

The importance matrices know tensors of hf/v3.gguf and hold numbers that are easy to tell: sum = expert * 1000 + column,
count = expert, so expert 0 was never asked. The tests read these files and need no Python.
"""

import argparse
import json
import pathlib
import re
import struct
import subprocess
import tempfile

import gguf
import numpy as np

HERE = pathlib.Path(__file__).parent
DATA = HERE.parent
MIXES = """F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K
    IQ4_NL IQ4_XS MXFP4_MOE""".split()
FILES = "v3 v3-mtp v3-legacy v3-dense llama llama-tied qwen2".split()  # llama.cpp loads no small model without q_lora


def deepseek2(layers, dense, experts, nextn, legacy):
    """Keys and tensors of a model with latent attention; the last `nextn` of `layers` predict further tokens."""
    keys = {"block_count": layers, "attention.head_count": 16, "attention.head_count_kv": 16 if legacy else 1,
            "expert_count": experts, "leading_dense_block_count": dense, "nextn_predict_layers": nextn}
    tensors = [("token_embd", 512, 8), ("output_norm", 512), ("output", 512, 8)]
    for i in range(layers):
        one = [("attn_norm", 512), ("attn_kv_a_mqa", 512, 576), ("attn_kv_a_norm", 512),
               ("attn_output", 2048, 2), ("ffn_norm", 512)]
        if legacy:
            one += [("attn_q", 512, 2), ("attn_kv_b", 512, 4)]
        else:
            one += [("attn_q_a", 512, 2), ("attn_q_a_norm", 768), ("attn_q_b", 768, 2),
                    ("attn_k_b", 128, 2, 2), ("attn_v_b", 512, 2, 2)]
        if i < dense:
            one += [("ffn_gate", 512, 2), ("ffn_down", 1376, 2), ("ffn_up", 512, 2)]
        else:
            one += [("ffn_gate_inp", 512, experts), ("ffn_gate_exps", 512, 2, experts),
                    ("ffn_down_exps", 352, 2, experts), ("ffn_up_exps", 512, 2, experts),
                    ("ffn_gate_shexp", 512, 2), ("ffn_down_shexp", 768, 2), ("ffn_up_shexp", 512, 2)]
        if i >= layers - nextn:
            one += [("nextn.eh_proj", 1024, 2), ("nextn.enorm", 512)]
        tensors += [(f"blk.{i}.{name}", *dims) for name, *dims in one]
        if i >= dense:
            tensors.append((f"blk.{i}.exp_probs_b.bias", experts))
    return "deepseek2", keys, tensors


def llama(layers, heads, kv_heads, tied, few):
    """Keys and tensors of a Llama; with `few`, only the tensors that rules are about."""
    keys = {"block_count": layers, "attention.head_count": heads, "attention.head_count_kv": kv_heads}
    tensors = [("token_embd", 256, 8)] + ([] if tied else [("output", 256, 8)])
    for i in range(layers):
        one = [("attn_v", 256, 2), ("ffn_down", 512, 2)]
        if not few:
            one += [("attn_norm", 256), ("attn_q", 256, 2), ("attn_k", 256, 2), ("attn_output", 256, 2),
                    ("ffn_gate", 256, 2), ("ffn_up", 256, 2), ("attn_q.bias", 256), ("attn_rel_b", 256, 2),
                    ("attn_one", 256, 1), ("odd", 40, 2)]
        tensors += [(f"blk.{i}.{name}", *dims) for name, *dims in one]
    return "llama", keys, tensors


SHAPES = {
    "deepseek2": deepseek2(11, 1, 64, 1, False),
    "deepseek2-eight": deepseek2(9, 2, 8, 0, True),
    "llama": llama(16, 16, 4, True, False),
    "llama-70b": llama(80, 64, 8, False, True),
}

FLAGS = [
    ("deepseek2", "Q4_K_M", ["--pure"]),
    ("deepseek2", "MXFP4_MOE", ["--pure"]),
    ("deepseek2", "Q4_K_M", ["--leave-output-tensor"]),
    ("deepseek2", "Q4_K_M", ["--output-tensor-type", "q8_0", "--token-embedding-type", "f16"]),
    ("deepseek2", "Q4_K_M", ["--tensor-type", "ffn_.*_exps=q4_0", "--tensor-type", "ATTN_(k|v)_b=q8_0",
                             "--tensor-type", r"blk\.[0-3]\.ffn_down=q5_k"]),
    ("deepseek2", "F16", ["--tensor-type", "attn=q8_0"]),
    ("llama", "Q5_K_M", ["--tensor-type", "blk.2.attn_v=q4_0", "--output-tensor-type", "q5_1"]),
    ("llama", "IQ4_NL", ["--token-embedding-type", "q8_0", "--pure"]),
] + [(shape, mix, ["--imatrix"]) for shape in ("deepseek2", "llama") for mix in ("Q4_0", "Q5_0", "IQ4_NL", "Q4_K_M")]


def name_of(name):
    return name if name.endswith(".bias") else name + ".weight"


def write(path, arch, keys, tensors):
    writer = gguf.GGUFWriter(path, arch)
    common = {"context_length": 64, "embedding_length": 512, "feed_forward_length": 1376,
              "attention.layer_norm_rms_epsilon": 1e-6, "vocab_size": 8}
    if arch == "deepseek2":
        common |= {"rope.dimension_count": 64, "attention.kv_lora_rank": 512, "attention.q_lora_rank": 768,
                   "expert_feed_forward_length": 352, "expert_shared_count": 2, "expert_used_count": 2, "attention.key_length": 576,
                   "attention.value_length": 512, "attention.key_length_mla": 192, "attention.value_length_mla": 128}
    for key, value in (common | keys).items():
        (writer.add_float32 if isinstance(value, float) else writer.add_uint32)(f"{arch}.{key}", value)
    for name, *dims in tensors:
        dtype = np.float16 if len(dims) > 1 and "ffn_gate_inp" not in name else np.float32
        writer.add_tensor(name_of(name), np.zeros(dims[::-1], dtype))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


LINE = re.compile(r"^\[ *\d+/ *\d+\] +(\S+) +- \[.*\], type = +(\w+), size = .*?(?:\((\w+)\))?$", re.M)


def types(binary, model, mix, flags, order):
    """The types of the tensors in `order`, as one string."""
    flags = [f for flag in flags for f in ([flag, str(HERE / "imatrix.gguf")] if flag == "--imatrix" else [flag])]
    done = subprocess.run([binary / "llama-quantize", *flags, "--dry-run", model, mix], text=True, capture_output=True)
    found = {name: (new or old).upper() for name, old, new in LINE.findall(done.stdout + done.stderr)}
    assert done.returncode == 0 and sorted(found) == sorted(order), (model, mix, done.stderr[-500:])
    return " ".join(found[name] for name in order)


def imatrices():
    entries = {"blk.0.attn_output.weight": (1, 96), "blk.1.attn_output.weight": (1, 96),
               "blk.1.ffn_up_exps.weight": (12, 32)}
    writer = gguf.GGUFWriter(HERE / "imatrix.gguf", "unused")
    writer.kv_data[0].clear()  # llama.cpp writes no architecture here
    writer.add_string("general.type", "imatrix")
    writer.add_array("imatrix.datasets", ["tales.txt", "more.txt"])
    writer.add_uint32("imatrix.chunk_count", 7)
    writer.add_uint32("imatrix.chunk_size", 512)
    old = struct.pack("<i", len(entries))
    for name, (experts, cols) in entries.items():
        counts = np.arange(experts, dtype=np.float32)[:, None] + (experts == 1)
        sums = np.arange(experts, dtype=np.float32)[:, None] * 1000 + np.arange(cols, dtype=np.float32)
        writer.add_tensor(name + ".in_sum2", sums)
        writer.add_tensor(name + ".counts", counts)
        calls = 3  # the older file holds means times this
        means = np.where(counts > 0, sums / np.maximum(counts, 1), 1) * calls
        old += struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", calls, means.size)
        old += means.astype("<f4").tobytes()
    old += struct.pack("<ii", 7, len("tales.txt")) + b"tales.txt"
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (HERE / "imatrix.dat").write_bytes(old)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="llama.cpp's programs")
    binary = parser.parse_args().bin
    imatrices()
    out = {"files": {}, "shapes": {}, "flags": []}
    for name in FILES:
        path = DATA / "hf" / f"{name}.gguf"
        order = [tensor.name for tensor in gguf.GGUFReader(path).tensors]
        out["files"][f"hf/{name}.gguf"] = {mix: types(binary, path, mix, [], order) for mix in MIXES}
    with tempfile.TemporaryDirectory() as folder:
        for name, (arch, keys, tensors) in SHAPES.items():
            path = pathlib.Path(folder) / f"{name}.gguf"
            write(path, arch, keys, tensors)
            order = [name_of(name) for name, *_ in tensors]
            out["shapes"][name] = {
                "arch": arch, "keys": keys,
                "tensors": " ".join(f"{name_of(name)}:{','.join(map(str, dims))}" for name, *dims in tensors),
                "types": {mix: types(binary, path, mix, [], order) for mix in MIXES},
            }
            for shape, mix, flags in FLAGS:
                if shape == name:
                    out["flags"].append({"shape": shape, "mix": mix, "flags": flags,
                                         "types": types(binary, path, mix, flags, order)})
    (HERE / "types.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
