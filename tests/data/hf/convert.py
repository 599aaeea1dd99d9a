"""Writes a Hugging Face model as a GGUF file: tensor names, layouts and keys.

Written from the format's definition, not from another converter, so that a slip
in one is seen by the other. numpy shapes are the reverse of GGUF's `ne` order:
an array [out, in] is a tensor {in, out}.

deepseek2, block i, with H heads, n / r / v = nope / rope / value dims of a head,
L = kv_lora_rank (`kv_b_proj` is [H*(n+v), L], per head n K-rows, then v V-rows):

    split   attn_k_b {n, L, H} (each head's K rows transposed), attn_v_b {L, v, H}
    flat    the same bytes as two matrices, {n, H*L} and {L, H*v}, beside attn_kv_b
    legacy  attn_kv_b {L, H*(n+v)} alone

`split` files describe the *cache* in key_length / value_length (L+r and L, one
KV head) and the heads in key_length_mla / value_length_mla; the two older kinds
have no *_mla keys and describe the heads in key_length / value_length.

Rotary rows: deepseek2 weights are already in interleaved pairs and stay as they
are. Llama's are in halves (x_j with x_{j+d/2}) in HF, in pairs in GGUF, so rows of
q and k (and their biases) are permuted; Qwen2's stay in halves, and so do MiniCPM3's.

minicpm3 and plm are `legacy` files; minicpm3 states no value_length, which is n_embd / H there, unless it is another.
"""

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFWriter, quants


def arrays(model):
    """The model's parameters and buffers by name, as float32 arrays."""
    return {k: v.detach().float().numpy() for k, v in model.state_dict().items()}


def rope_keys(cfg, dims):
    rope = cfg.rope_parameters
    keys = {"rope.dimension_count": dims, "rope.freq_base": float(rope["rope_theta"])}
    kind = rope["rope_type"]
    if kind in ("yarn", "linear"):
        keys |= {"rope.scaling.type": kind, "rope.scaling.factor": float(rope["factor"])}
    if kind == "yarn":
        keys["rope.scaling.original_context_length"] = rope["original_max_position_embeddings"]
        if rope.get("mscale_all_dim"):
            keys["rope.scaling.yarn_log_multiplier"] = 0.1 * rope["mscale_all_dim"]
    return keys


def common_keys(cfg):
    return {
        "context_length": cfg.max_position_embeddings,
        "embedding_length": cfg.hidden_size,
        "block_count": cfg.num_hidden_layers,
        "feed_forward_length": cfg.intermediate_size,
        "attention.head_count": cfg.num_attention_heads,
        "attention.layer_norm_rms_epsilon": float(cfg.rms_norm_eps),
        "vocab_size": cfg.vocab_size,
    }


def ends(cfg, w):
    out = {"token_embd.weight": w["model.embed_tokens.weight"], "output_norm.weight": w["model.norm.weight"]}
    if not cfg.tie_word_embeddings:
        out["output.weight"] = w["lm_head.weight"]
    return out


def deepseek2(model, layout="split", merged=False, nextn=False, omit=(), override=None):
    """Keys and tensors of a DeepseekV2 / DeepseekV3ForCausalLM.

    merged: gate and up of the routed experts in one tensor, gate rows first.
    nextn: append a multi-token-prediction block (weights of the last block, permuted:
    it must be skipped). omit: keys to leave out, as older files do; override: keys to set.
    """
    cfg, w = model.config, arrays(model)
    v3 = cfg.model_type in ("deepseek_v3", "deepseek_v32")
    heads, latent = cfg.num_attention_heads, cfg.kv_lora_rank
    nope, rope, v = cfg.qk_nope_head_dim, cfg.qk_rope_head_dim, cfg.v_head_dim
    experts, dense = cfg.n_routed_experts, cfg.first_k_dense_replace
    moe = dense < cfg.num_hidden_layers

    keys = common_keys(cfg) | rope_keys(cfg, rope)
    keys |= {
        "leading_dense_block_count": dense,
        "attention.kv_lora_rank": latent,
        "expert_shared_count": cfg.n_shared_experts if moe else 0,
        "expert_feed_forward_length": cfg.moe_intermediate_size if moe else cfg.intermediate_size,
    }
    if cfg.q_lora_rank:
        keys["attention.q_lora_rank"] = cfg.q_lora_rank
    if layout == "split":
        keys |= {
            "attention.head_count_kv": 1,
            "attention.key_length": latent + rope,
            "attention.value_length": latent,
            "attention.key_length_mla": nope + rope,
            "attention.value_length_mla": v,
        }
    else:
        keys |= {
            "attention.head_count_kv": heads,
            "attention.key_length": nope + rope,
            "attention.value_length": v,
        }
    if moe:
        keys |= {
            "expert_count": experts,
            "expert_used_count": cfg.num_experts_per_tok,
            "expert_weights_scale": float(cfg.routed_scaling_factor),
            "expert_weights_norm": bool(cfg.norm_topk_prob),
            "expert_gating_func": 2 if v3 else 1,
        }
        if (cfg.n_group or 1) > 1:
            keys |= {"expert_group_count": cfg.n_group, "expert_group_used_count": cfg.topk_group}

    t = ends(cfg, w)
    for i in range(cfg.num_hidden_layers):
        hf, b = f"model.layers.{i}.", f"blk.{i}."
        t |= latent_attention(cfg, w, i, layout)
        mlp = hf + "mlp."
        if i < dense:
            for part in ("gate", "up", "down"):
                t[f"{b}ffn_{part}.weight"] = w[f"{mlp}{part}_proj.weight"]
            continue
        t[b + "ffn_gate_inp.weight"] = w[mlp + "gate.weight"]
        if v3 and "exp_probs_b" not in omit:
            t[b + "exp_probs_b.bias"] = w[mlp + "gate.e_score_correction_bias"]
        gate_up = w[mlp + "experts.gate_up_proj"]
        if merged:
            t[b + "ffn_gate_up_exps.weight"] = gate_up
        else:
            gate, up = np.split(gate_up, 2, axis=1)
            t[b + "ffn_gate_exps.weight"], t[b + "ffn_up_exps.weight"] = gate, up
        t[b + "ffn_down_exps.weight"] = w[mlp + "experts.down_proj"]
        if cfg.n_shared_experts:
            for part in ("gate", "up", "down"):
                t[f"{b}ffn_{part}_shexp.weight"] = w[f"{mlp}shared_experts.{part}_proj.weight"]

    if nextn:
        last, extra = f"blk.{cfg.num_hidden_layers - 1}.", f"blk.{cfg.num_hidden_layers}."
        rng = np.random.default_rng(0)
        for name in [n for n in t if n.startswith(last)]:
            t[extra + name[len(last):]] = rng.permutation(t[name].reshape(-1)).reshape(t[name].shape)
        d = cfg.hidden_size
        t[extra + "nextn.eh_proj.weight"] = rng.standard_normal((d, 2 * d)).astype(np.float32)
        for norm in ("enorm", "hnorm", "shared_head_norm"):
            t[f"{extra}nextn.{norm}.weight"] = np.ones(d, np.float32)
        keys |= {"block_count": cfg.num_hidden_layers + 1, "nextn_predict_layers": 1}
    keys |= override or {}
    return {k: x for k, x in keys.items() if k not in omit}, t


def deepseek32(model, **options):
    """As deepseek2, with the indexer of every block (also of an appended one)."""
    cfg, w = model.config, arrays(model)
    keys, t = deepseek2(model, **options)
    keys |= {
        "attention.indexer.head_count": cfg.index_n_heads,
        "attention.indexer.key_length": cfg.index_head_dim,
        "attention.indexer.top_k": cfg.index_topk,
    }
    for i in range(keys["block_count"]):
        hf = f"model.layers.{min(i, cfg.num_hidden_layers - 1)}.self_attn.indexer."
        for ours, theirs in (
            ("attn_q_b.weight", "wq_b.weight"), ("attn_k.weight", "wk.weight"), ("proj.weight", "weights_proj.weight"),
            ("k_norm.weight", "k_norm.weight"), ("k_norm.bias", "k_norm.bias"),
        ):
            t[f"blk.{i}.indexer.{ours}"] = w[hf + theirs]
    return keys, t


def latent_attention(cfg, w, i, layout):
    """The attention block of layer i, with both norms of the layer."""
    hf, b = f"model.layers.{i}.", f"blk.{i}."
    att = hf + "self_attn."
    heads, latent = cfg.num_attention_heads, cfg.kv_lora_rank
    nope, v = cfg.qk_nope_head_dim, cfg.v_head_dim
    t = {
        b + "attn_norm.weight": w[hf + "input_layernorm.weight"],
        b + "ffn_norm.weight": w[hf + "post_attention_layernorm.weight"],
    }
    if cfg.q_lora_rank:
        t[b + "attn_q_a.weight"] = w[att + "q_a_proj.weight"]
        t[b + "attn_q_a_norm.weight"] = w[att + "q_a_layernorm.weight"]
        t[b + "attn_q_b.weight"] = w[att + "q_b_proj.weight"]
    else:
        t[b + "attn_q.weight"] = w[att + "q_proj.weight"]
    t[b + "attn_kv_a_mqa.weight"] = w[att + "kv_a_proj_with_mqa.weight"]
    t[b + "attn_kv_a_norm.weight"] = w[att + "kv_a_layernorm.weight"]
    kv_b = w[att + "kv_b_proj.weight"]
    per_head = kv_b.reshape(heads, nope + v, latent)
    k_b = per_head[:, :nope].transpose(0, 2, 1)
    v_b = per_head[:, nope:]
    if layout == "split":
        t[b + "attn_k_b.weight"], t[b + "attn_v_b.weight"] = k_b, v_b
    else:
        t[b + "attn_kv_b.weight"] = kv_b
    if layout == "flat":
        t[b + "attn_k_b.weight"] = k_b.reshape(heads * latent, nope)
        t[b + "attn_v_b.weight"] = v_b.reshape(heads * v, latent)
    t[b + "attn_output.weight"] = w[att + "o_proj.weight"]
    return t


def dense_latent(model):
    """Keys and tensors of a model with latent attention, `legacy`, and dense networks, with a gate or without."""
    cfg, w = model.config, arrays(model)
    rope = cfg.qk_rope_head_dim
    keys = common_keys(cfg) | rope_keys(cfg, rope)
    keys |= {
        "attention.kv_lora_rank": cfg.kv_lora_rank,
        "attention.head_count_kv": cfg.num_attention_heads,
        "attention.key_length": cfg.qk_nope_head_dim + rope,
    }
    if cfg.q_lora_rank:
        keys["attention.q_lora_rank"] = cfg.q_lora_rank
    if cfg.v_head_dim * cfg.num_attention_heads != cfg.hidden_size:
        keys["attention.value_length"] = cfg.v_head_dim
    t = ends(cfg, w)
    for i in range(cfg.num_hidden_layers):
        hf, b = f"model.layers.{i}.", f"blk.{i}."
        t |= latent_attention(cfg, w, i, "legacy")
        for part in ("gate", "up", "down"):
            if (x := w.get(f"{hf}mlp.{part}_proj.weight")) is not None:
                t[f"{b}ffn_{part}.weight"] = x
    return keys, t


def minicpm3(model):
    """Keys and tensors of a MiniCPM3ForCausalLM."""
    keys, t = dense_latent(model)
    rope = model.config.rope_parameters
    if rope["rope_type"] == "longrope":
        for kind in ("long", "short"):
            t[f"rope_factors_{kind}.weight"] = np.array(rope[f"{kind}_factor"], np.float32)
        if rope["original_max_position_embeddings"] != model.config.max_position_embeddings:
            keys["rope.scaling.original_context_length"] = rope["original_max_position_embeddings"]
    return keys, t


def plm(model):
    """Keys and tensors of PLM, as make.py puts it together."""
    return dense_latent(model)


def pairs(rows, heads):
    """Rows of q or k (or their bias): halves (j, j + d/2) to neighbours (2j, 2j+1)."""
    split = rows.reshape(heads, 2, -1, *rows.shape[1:])
    return split.swapaxes(1, 2).reshape(rows.shape)


def llama(model):
    """Keys and tensors of a LlamaForCausalLM or Qwen2ForCausalLM."""
    cfg, w = model.config, arrays(model)
    head_dim = getattr(cfg, "head_dim", None) or cfg.hidden_size // cfg.num_attention_heads
    keys = common_keys(cfg) | rope_keys(cfg, head_dim)
    keys["attention.head_count_kv"] = cfg.num_key_value_heads
    if head_dim * cfg.num_attention_heads != cfg.hidden_size:
        keys |= {"attention.key_length": head_dim, "attention.value_length": head_dim}
    t = ends(cfg, w)
    rope = cfg.rope_parameters
    if rope["rope_type"] == "llama3":
        # The file holds the divisor of every pair's angle.
        plain = rope["rope_theta"] ** -(np.arange(0, head_dim, 2) / head_dim)
        t["rope_freqs.weight"] = (plain / model.model.rotary_emb.inv_freq.numpy()).astype(np.float32)
    for i in range(cfg.num_hidden_layers):
        hf, b = f"model.layers.{i}.", f"blk.{i}."
        t[b + "attn_norm.weight"] = w[hf + "input_layernorm.weight"]
        t[b + "ffn_norm.weight"] = w[hf + "post_attention_layernorm.weight"]
        for ours, theirs in (("q", "q_proj"), ("k", "k_proj"), ("v", "v_proj"), ("output", "o_proj")):
            for part in ("weight", "bias"):
                x = w.get(f"{hf}self_attn.{theirs}.{part}")
                if x is None:
                    continue
                if cfg.model_type == "llama" and ours in "qk":
                    x = pairs(x, cfg.num_attention_heads if ours == "q" else cfg.num_key_value_heads)
                t[f"{b}attn_{ours}.{part}"] = x
        for part in ("gate", "up", "down"):
            t[f"{b}ffn_{part}.weight"] = w[f"{hf}mlp.{part}_proj.weight"]
    return keys, t


def add(writer, key, x):
    match x:
        case bool():
            writer.add_bool(key, x)
        case int():
            writer.add_uint32(key, x)
        case float():
            writer.add_float32(key, x)
        case str():
            writer.add_string(key, x)
        case list():
            writer.add_array(key, x)
        case _:
            raise TypeError(f"{key}: {type(x)}")


def write(path, arch, name, keys, tensors, choose, extra=None, shard_tensors=0):
    """Writes the file. `choose(tensor name, array)` gives each tensor's type;
    `extra` are keys without the architecture's prefix (the tokenizer). With
    `shard_tensors`, a first shard without tensors and others of so many each."""
    out = GGUFWriter(path, arch, split_max_tensors=shard_tensors, small_first_shard=shard_tensors > 0)
    add(out, "general.name", name)
    for k, x in keys.items():
        add(out, f"{arch}.{k}", x)
    for k, x in (extra or {"tokenizer.ggml.model": "none"}).items():
        add(out, k, x)
    for k, x in tensors.items():
        x = np.ascontiguousarray(x, dtype=np.float32)
        kind = choose(k, x)
        data = x if kind == Type.F32 else quants.quantize(x, kind)
        out.add_tensor(k, data, raw_dtype=kind)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
