"""A checkpoint of `train.py` as a GGUF file: architecture deepseek2, k_b and v_b apart, MTP layer last.

    python to_gguf.py RUN/checkpoint.pt CORPUS/tokenizer.json OUT.gguf [--type f16|f32]
"""

import argparse
import json

import gguf
import numpy
import torch

from model import Config

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<｜User｜>' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}{{ '<｜Assistant｜>' + message['content'] + eos_token }}"
    "{% else %}{{ message['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}"
)


def keys(out, c, license):
    out.add_name("wattle-tales")
    out.add_description("Short stories for children, told by a small DeepSeek-V3: latent attention, mixture of experts, multi-token prediction.")
    out.add_license(license)
    out.add_vocab_size(c.vocab)
    out.add_context_length(c.context)
    out.add_embedding_length(c.hidden)
    out.add_block_count(c.layers + 1)
    out.add_nextn_predict_layers(1)
    out.add_leading_dense_block_count(1)
    out.add_feed_forward_length(c.dense)
    out.add_head_count(c.heads)
    out.add_head_count_kv(1)
    out.add_layer_norm_rms_eps(c.eps)
    out.add_q_lora_rank(c.q_lora)
    out.add_kv_lora_rank(c.kv_lora)
    # The sizes of the cache's one head, then those of the heads it stands for.
    out.add_key_length(c.kv_lora + c.rope)
    out.add_value_length(c.kv_lora)
    out.add_key_length_mla(c.nope + c.rope)
    out.add_value_length_mla(c.value)
    out.add_rope_dimension_count(c.rope)
    out.add_rope_freq_base(c.theta)
    out.add_expert_count(c.experts)
    out.add_expert_used_count(c.used)
    out.add_expert_shared_count(1)
    out.add_expert_feed_forward_length(c.expert)
    out.add_expert_weights_scale(c.scale)
    out.add_expert_weights_norm(True)
    out.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)


def vocabulary(out, path):
    tokenizer = json.loads(open(path, encoding="utf-8").read())
    ids = tokenizer["model"]["vocab"]
    special = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    tokens = sorted(ids, key=ids.get)
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("deepseek-v3")
    out.add_token_list(tokens)
    out.add_token_types([gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens])
    out.add_token_merges([" ".join(m) for m in tokenizer["model"]["merges"]])
    out.add_bos_token_id(special["<｜begin▁of▁sentence｜>"])
    out.add_eos_token_id(special["<｜end▁of▁sentence｜>"])
    out.add_add_bos_token(True)
    out.add_add_eos_token(False)
    out.add_chat_template(TEMPLATE)


def layer(state, prefix, c):
    """(name in the file, tensor) of one decoder layer."""
    get = lambda name: state[f"{prefix}.{name}"]
    yield "attn_norm.weight", get("attn_norm.weight")
    yield "attn_q_a.weight", get("attn.q_a.weight")
    yield "attn_q_a_norm.weight", get("attn.q_a_norm.weight")
    yield "attn_q_b.weight", get("attn.q_b.weight")
    yield "attn_kv_a_mqa.weight", get("attn.kv_a.weight")
    yield "attn_kv_a_norm.weight", get("attn.kv_a_norm.weight")
    # k_b meets the query, so it lies the other way round: (heads, kv_lora, nope).
    yield "attn_k_b.weight", get("attn.k_b.weight").view(c.heads, c.nope, c.kv_lora).mT
    yield "attn_v_b.weight", get("attn.v_b.weight").view(c.heads, c.value, c.kv_lora)
    yield "attn_output.weight", get("attn.output.weight")
    yield "ffn_norm.weight", get("ffn_norm.weight")
    if f"{prefix}.ffn.router.weight" not in state:
        for part in ("gate", "up", "down"):
            yield f"ffn_{part}.weight", get(f"ffn.{part}.weight")
        return
    yield "ffn_gate_inp.weight", get("ffn.router.weight")
    yield "exp_probs_b.bias", get("ffn.bias")
    for part in ("gate", "up", "down"):
        yield f"ffn_{part}_exps.weight", get(f"ffn.{part}")
        yield f"ffn_{part}_shexp.weight", get(f"ffn.shared.{part}.weight")


def tensors(state, c):
    yield "token_embd.weight", state["embed.weight"]
    for i in range(c.layers):
        yield from ((f"blk.{i}.{name}", t) for name, t in layer(state, f"layers.{i}", c))
    yield from ((f"blk.{c.layers}.{name}", t) for name, t in layer(state, "mtp.layer", c))
    for ours, theirs in (("eh_proj", "eh_proj"), ("enorm", "enorm"), ("hnorm", "hnorm"), ("norm", "shared_head_norm")):
        yield f"blk.{c.layers}.nextn.{theirs}.weight", state[f"mtp.{ours}.weight"]
    yield "output_norm.weight", state["norm.weight"]
    yield "output.weight", state["head.weight"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("tokenizer")
    parser.add_argument("out")
    parser.add_argument("--type", choices=("f16", "f32"), default="f16")
    parser.add_argument("--license", default="MIT OR Apache-2.0", help="an SPDX expression")
    args = parser.parse_args()
    c = Config()
    state = {name.replace("._orig_mod", ""): t for name, t in torch.load(args.checkpoint, map_location="cpu")["model"].items()}
    out = gguf.GGUFWriter(args.out, "deepseek2")
    keys(out, c, args.license)
    vocabulary(out, args.tokenizer)
    out.add_file_type(gguf.LlamaFileType.MOSTLY_F16 if args.type == "f16" else gguf.LlamaFileType.ALL_F32)
    for name, tensor in tensors(state, c):
        # Vectors, and what the choice of experts hangs on, stay as they are.
        exact = args.type == "f32" or tensor.ndim == 1 or "ffn_gate_inp" in name
        out.add_tensor(name, tensor.contiguous().numpy().astype(numpy.float32 if exact else numpy.float16))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


if __name__ == "__main__":
    main()
