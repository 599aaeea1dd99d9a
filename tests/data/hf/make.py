"""Golden logits: tiny random models run by Hugging Face transformers.

    python -m venv v && v/bin/pip install torch==2.15.0 transformers==5.23.0 gguf==0.19.0 numpy==2.4.6
    v/bin/python make.py            # writes *.gguf, *.npy and index.json beside this file
    v/bin/python make.py v3 llama   # only the cases whose name starts so (the index is left alone)

Every case is a configuration, a seed and one or more files: the same weights in
different GGUF layouts share one logits file. The model runs once, in float32 on
the CPU with eager attention, over `tokens` at positions 0..; the .npy holds
float32 [tokens, vocab]. The versions that made the committed files are in
index.json; tests read those files and need no Python.

Weights are normal / sqrt(inputs), norms 1 + normal / 4, biases normal / 3, so that
logits are O(1) and nothing is near the identity. Matrices are rounded to f16
(to bf16 where a file says so) *before* the run, so that F16 files hold them
exactly and cost half the bytes; norms, biases and routers keep all bits.

A router's choice is a step function: were two experts nearly equal, rounding
would decide the test. So seeds are tried in order until, over all tokens and
layers, the last chosen and the first refused expert (and group) are at least
MARGIN apart; the index records the seed that was taken. The same holds for the rows that
DeepSeek-V3.2's indexer chooses.

What transformers does, where it matters to a reader of deepseek2 files:
- V3 groups: a group's score is the sum of its two best, dropped groups are masked
  with -inf (older releases: 0.0, which differs where a biased score is negative).
- V2 groups (`group_limited_greedy`): a group's score is its *best* expert.
- V2 never normalises the chosen probabilities, whatever `norm_topk_prob` says:
  the case that needs it wraps the router (see `normalised`).
- q_a / kv_a norms always use eps 1e-6; GGUF has one eps, so all cases use 1e-6.
- YaRN: the correction range is floored and ceiled; cos and sin are scaled by
  ms(mscale)/ms(mscale_all_dim), or by ms(1) if either is absent; the score scale
  by ms(mscale_all_dim)^2, or not at all if that is absent; ms(m) = 0.1 m ln(factor) + 1.

- MiniCPM3's q_a / kv_a norms too always use eps 1e-6, as its published code does: here, with an eps of
  0.01 elsewhere, the two can be told apart. Its factors are the long ones if the run is longer than
  `original_max_position_embeddings`; `attention_factor` 1 is what it has in truth, where both contexts
  are 32768.

PLM has no class in transformers. Its code is DeepSeek-V2's attention without q_lora and, in every
layer, the network `Squared` below, which takes the place of the dense one.

Router function 3 (softmax over the chosen) exists in no model here, yet equals a
normalised softmax, so `v2-norm-chosen` is that case with other keys. Not covered:
files of GLM-4.7-Flash without a router function, known by 47 blocks and a vocabulary
of 154880, which cannot be tiny.

Compared with llama.cpp (F32 files, logits to 6 digits): equal to 2e-6 in every case
that it loads, but for `v2`, where it scores groups by top-2 sums, and `v2-bare-yarn`,
where it scales the scores. It loads no 2-D k_b / v_b, and no model without q_lora
that has other than 26 or 27 layers (`v2-lite` and `v3-lite` were compared with 26).
"""

import json
import pathlib
import sys

import gguf
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as Type
from transformers import (
    DeepseekV2Config, DeepseekV2ForCausalLM, DeepseekV3Config, DeepseekV3ForCausalLM,
    DeepseekV32Config, DeepseekV32ForCausalLM,
    LlamaConfig, LlamaForCausalLM, MiniCPM3Config, MiniCPM3ForCausalLM, Qwen2Config, Qwen2ForCausalLM,
)

import convert

HERE = pathlib.Path(__file__).parent
MARGIN = 1e-3
TOKENS = 40

CLASSES = {
    "v2": (DeepseekV2Config, DeepseekV2ForCausalLM),
    "v3": (DeepseekV3Config, DeepseekV3ForCausalLM),
    "v32": (DeepseekV32Config, DeepseekV32ForCausalLM),
    "minicpm3": (MiniCPM3Config, MiniCPM3ForCausalLM),
    "plm": (DeepseekV2Config, DeepseekV2ForCausalLM),
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
}

ARCHITECTURES = {"v2": "deepseek2", "v3": "deepseek2", "v32": "deepseek32"}

BASE = dict(
    vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    max_position_embeddings=1280, rms_norm_eps=1e-6, tie_word_embeddings=False,
)
MLA = BASE | dict(
    kv_lora_rank=32, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=24, q_lora_rank=24,
    moe_intermediate_size=16, n_routed_experts=8, num_experts_per_tok=3, first_k_dense_replace=1,
    n_shared_experts=1, n_group=1, topk_group=1, num_key_value_heads=4,
)
MINICPM3 = BASE | dict(
    kv_lora_rank=32, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=24, q_lora_rank=24, num_key_value_heads=4,
    num_hidden_layers=3, rms_norm_eps=0.01, tie_word_embeddings=True,
)
V2 = MLA | dict(routed_scaling_factor=1.0, topk_method="greedy", norm_topk_prob=False)
V3 = MLA | dict(routed_scaling_factor=2.5, norm_topk_prob=True, num_mtp_layers=0)
V32 = MLA | dict(routed_scaling_factor=2.5, norm_topk_prob=True, index_head_dim=16, index_n_heads=6)
GROUPS = dict(n_routed_experts=12, n_group=3, topk_group=2, num_experts_per_tok=4)


def rope(theta=10000.0, **more):
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta} | more}


def yarn(m, theta=100.0, **more):
    """Shorter original context than the run, and a base that puts three pairs on the ramp."""
    scale = {"mscale": m, "mscale_all_dim": m} if m else {}
    return rope(theta, rope_type="yarn", factor=40.0, original_max_position_embeddings=32,
                beta_fast=32, beta_slow=1, **scale, **more)


def longrope(original):
    """Factors for rope parts of 8, between 1 and 4 and between 2 and 16."""
    return rope(100.0, rope_type="longrope", short_factor=[1.0, 1.25, 2.0, 4.0], long_factor=[2.0, 3.0, 8.0, 16.0],
                original_max_position_embeddings=original, attention_factor=1.0)


def file(suffix="", kind=Type.F16, **options):
    return dict(suffix=suffix, kind=kind, options=options)


OLD = ("expert_gating_func", "expert_weights_norm", "expert_group_count", "expert_group_used_count")

# name, class, configuration, files, what it is for; `bias`: centre and spread of the selection bias
CASES = [
    dict(name="v2-lite", cls="v2", note="no q_lora, dense then MoE, softmax, 2 shared experts, YaRN 0.707",
         config=V2 | yarn(0.707) | dict(q_lora_rank=None, n_shared_experts=2, qk_rope_head_dim=16, qk_nope_head_dim=24),
         files=[file(kind=Type.F32), file("-flat", layout="flat"), file("-legacy", layout="legacy", omit=OLD),
                file("-merged", merged=True)]),
    dict(name="v2", cls="v2", note="q_lora, groups scored by their best expert, weights x 16, YaRN 0.707",
         config=V2 | yarn(0.707) | GROUPS | dict(topk_method="group_limited_greedy", routed_scaling_factor=16.0,
                                                 n_shared_experts=2),
         files=[file()], groups_by="max"),
    dict(name="v2-norm", cls="v2", note="softmax router with normalised weights (wrapped router), all MoE, no YaRN",
         config=V2 | rope() | dict(first_k_dense_replace=0, norm_topk_prob=True, n_routed_experts=4, num_experts_per_tok=2),
         files=[file(), file("-chosen", override=dict(expert_gating_func=3, expert_weights_norm=False))], normalise=True),
    dict(name="v2-bare-yarn", cls="v2", note="YaRN without a log multiplier: cos and sin scaled, scores not",
         config=V2 | yarn(None), files=[file()]),
    dict(name="v3", cls="v3", note="q_lora, sigmoid, bias, groups by top-2 sum, norm, x 2.5, YaRN 1.0",
         config=V3 | yarn(1.0) | GROUPS, files=[file()], bias=(0.5, 0.3)),
    dict(name="v3-negative-bias", cls="v3", note="as v3 with biased scores below zero: dropped groups are -inf, not 0",
         config=V3 | yarn(1.0) | GROUPS, files=[file()], bias=(-1.5, 0.6)),
    dict(name="v3-legacy", cls="v3", note="no groups, attn_kv_b only, three layers, bf16",
         config=V3 | yarn(1.0) | dict(num_hidden_layers=3, n_shared_experts=2, n_routed_experts=4, num_experts_per_tok=2),
         files=[file(kind=Type.BF16, layout="legacy", omit=OLD[2:])], bias=(0.0, 0.3)),
    dict(name="v3-mtp", cls="v3", note="an MTP block behind the last layer, to be skipped; no YaRN",
         config=V3 | rope() | dict(n_routed_experts=4, num_experts_per_tok=2), files=[file(nextn=True)], bias=(0.0, 0.3)),
    dict(name="v3-plain", cls="v3", note="sigmoid without bias or norm, no shared expert, all MoE",
         config=V3 | rope() | dict(norm_topk_prob=False, n_shared_experts=0, first_k_dense_replace=0),
         files=[file(omit=("exp_probs_b", "leading_dense_block_count"))]),
    dict(name="v3-lite", cls="v3", note="no q_lora, sigmoid, bias, x 2.446, base 50000 (Moonlight-like)",
         config=V3 | rope(50000.0) | dict(q_lora_rank=None, routed_scaling_factor=2.446),
         files=[file()], bias=(0.0, 0.3)),
    dict(name="v3-dense", cls="v3", note="every layer dense, tied output (Youtu-like), F32",
         config=V3 | rope() | dict(first_k_dense_replace=2, tie_word_embeddings=True),
         files=[file(kind=Type.F32)]),
    dict(name="v32", cls="v32", note="as v3 with an indexer that chooses 12 rows, an MTP block to be skipped",
         config=V32 | yarn(1.0) | GROUPS | dict(index_topk=12, index_head_dim=64), files=[file(nextn=True)], bias=(0.5, 0.3)),
    dict(name="v32-one", cls="v32", note="no YaRN, an indexer as wide as its rotary part that chooses one row, legacy layout, F32",
         config=V32 | rope() | dict(index_topk=1, index_head_dim=8, index_n_heads=16, n_routed_experts=4, num_experts_per_tok=2),
         files=[file(kind=Type.F32, layout="legacy")], bias=(0.0, 0.3)),
    dict(name="v32-dense", cls="v32", note="an indexer that may choose more rows than there are",
         config=V32 | yarn(1.0) | dict(index_topk=64), files=[file()], bias=(0.0, 0.3)),
    dict(name="minicpm3", cls="minicpm3", note="constant scales, rotary halves, short factors, attn_kv_b only, tied",
         config=MINICPM3 | longrope(1280), files=[file(kind=Type.F32)]),
    dict(name="minicpm3-long", cls="minicpm3", note="as minicpm3 beyond its original context: long factors",
         config=MINICPM3 | longrope(32), files=[file()]),
    dict(name="minicpm3-plain", cls="minicpm3", note="as minicpm3 without factors, untied",
         config=MINICPM3 | rope() | dict(tie_word_embeddings=False), files=[file(kind=Type.BF16)]),
    dict(name="plm", cls="plm", note="no q_lora, attn_kv_b only, networks of relu squared without a gate, tied",
         config=V2 | rope(100000.0) | dict(q_lora_rank=None, first_k_dense_replace=2, tie_word_embeddings=True),
         files=[file()]),
    dict(name="llama", cls="llama", note="grouped KV heads, untied, F32",
         config=BASE | rope() | dict(num_key_value_heads=2), files=[file(kind=Type.F32)]),
    dict(name="llama-tied", cls="llama", note="tied, one KV head, eps 1e-5, base 100000 (SmolLM2-like)",
         config=BASE | rope(100000.0) | dict(num_key_value_heads=1, tie_word_embeddings=True, rms_norm_eps=1e-5),
         files=[file()]),
    dict(name="llama-freqs", cls="llama", note="rope_freqs.weight (Llama 3.1 scaling), attention biases, wide heads",
         config=BASE | rope(100.0, rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                            original_max_position_embeddings=32)
         | dict(num_key_value_heads=2, attention_bias=True, head_dim=16), files=[file()]),
    dict(name="llama-linear", cls="llama", note="linear rope scaling, as many KV heads as heads",
         config=BASE | rope(rope_type="linear", factor=4.0) | dict(num_key_value_heads=4), files=[file()]),
    dict(name="qwen2", cls="qwen2", note="q, k, v biases, rotary halves, untied",
         config=BASE | rope(1000000.0) | dict(num_key_value_heads=2), files=[file()]),
    dict(name="qwen2-tied", cls="qwen2", note="tied, F32",
         config=BASE | rope() | dict(num_key_value_heads=1, tie_word_embeddings=True), files=[file(kind=Type.F32)]),
    dict(name="qwen2-yarn", cls="qwen2", note="YaRN on whole heads: cos and sin scaled by ms(1)",
         config=BASE | rope(100.0, rope_type="yarn", factor=40.0, original_max_position_embeddings=32)
         | dict(num_key_value_heads=2, hidden_size=64), files=[file()]),
]


class Squared(torch.nn.Module):
    """The network of PLM: down(relu(up x)^2)."""

    def __init__(self, cfg):
        super().__init__()
        self.up_proj = torch.nn.Linear(cfg.hidden_size, cfg.intermediate_size, bias=False)
        self.down_proj = torch.nn.Linear(cfg.intermediate_size, cfg.hidden_size, bias=False)

    def forward(self, x):
        return self.down_proj(self.up_proj(x).relu().square())


def build(case, seed):
    """The case's model with random weights, ready to run."""
    config_class, model_class = CLASSES[case["cls"]]
    model = model_class(config_class(**case["config"], attn_implementation="eager", experts_implementation="eager"))
    if case["cls"] == "plm":
        for layer in model.model.layers:
            layer.mlp = Squared(model.config)
    model = model.float().eval()
    gen = torch.Generator().manual_seed(seed)
    narrow = torch.bfloat16 if case["files"][0]["kind"] == Type.BF16 else torch.float16

    def normal(like):
        return torch.randn(like.shape, generator=gen)

    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name and name.endswith("weight"):
                p.copy_(1 + normal(p) / 4)
            elif name.endswith("bias"):
                p.copy_(normal(p) / 3)
            elif "embed_tokens" in name:
                # A tied table is the output matrix too: keep its logits O(1).
                scale = p.shape[-1] ** -0.5 if case["config"]["tie_word_embeddings"] else 1.0
                p.copy_((normal(p) * scale).to(narrow))
            elif name.endswith("mlp.gate.weight"):
                p.copy_(normal(p) * 2 / p.shape[-1] ** 0.5)
            elif p.numel():
                p.copy_((normal(p) / p.shape[-1] ** 0.5).to(narrow))
        for gate in gates(model):
            if "bias" in case:
                centre, spread = case["bias"]
                gate.e_score_correction_bias.copy_(centre + spread * normal(gate.e_score_correction_bias))
            if case.get("normalise"):
                normalised(gate)
    return model


def gates(model):
    return [m for n, m in model.named_modules() if n.endswith("mlp.gate")]


def indexers(model):
    return [m for n, m in model.named_modules() if n.endswith("indexer")]


def normalised(gate):
    """Wraps a V2 router so that the chosen weights sum to one (scale is 1 in that case)."""
    inner = gate.forward

    def forward(x):
        logits, weights, chosen = inner(x)
        return logits, weights / (weights.sum(-1, keepdim=True) + 1e-20), chosen

    gate.forward = forward


def gap(scores, k):
    """How far the k-th best score is ahead of the next one, at the worst row."""
    best = torch.sort(scores, dim=-1, descending=True).values
    return (best[:, k - 1] - best[:, k]).min().item() if k < scores.shape[-1] else float("inf")


def margins(case, model, gate, logits, chosen):
    """The worst gap of a router's choices, 0 if the weights test too little.
    Also proves that we read its rule as it runs."""
    cfg, v3 = model.config, case["cls"] in ("v3", "v32")
    score = logits.sigmoid() + gate.e_score_correction_bias if v3 else logits.softmax(-1)
    worst = float("inf")
    if cfg.n_group > 1:
        groups = score.view(len(score), cfg.n_group, -1)
        best = groups.topk(2, -1).values
        rules = {"max": best[..., 0], "sum": best.sum(-1)}
        rule = rules.pop(case.get("groups_by", "sum"))
        keep = rule.topk(cfg.topk_group).indices
        other = rules.popitem()[1].topk(cfg.topk_group).indices
        if torch.equal(keep.sort().values, other.sort().values):
            return 0.0  # these weights cannot tell the two rules apart
        worst = gap(rule, cfg.topk_group)
        mask = torch.ones_like(rule).scatter(1, keep, 0.0).bool()
        score = groups.masked_fill(mask.unsqueeze(-1), float("-inf")).view(len(score), -1)
    ours = score.topk(cfg.num_experts_per_tok).indices
    assert torch.equal(ours.sort().values, chosen.sort().values), "router rule misread"
    if len(chosen.unique()) < 0.75 * cfg.n_routed_experts:
        return 0.0  # too few experts in use
    return min(worst, gap(score, cfg.num_experts_per_tok))


def index_margin(indexer, chosen, hidden, low, angles, mask):
    """The worst gap between the last row that an indexer chose and the first that it did not, 0 where a choice does not differ
    from taking the latest. Also proves that we read its rule as it runs."""
    cos, sin = (a[0] for a in angles)
    half = cos.shape[-1] // 2

    def rotated(x):
        a, b, rest = x[..., :half], x[..., half:2 * half], x[..., 2 * half:]
        c, s = cos[..., :half], sin[..., :half]
        return torch.cat([a * c - b * s, a * s + b * c, rest], -1)

    x, tokens = hidden[0], hidden.shape[1]
    keys = rotated(indexer.k_norm(indexer.wk(x)))
    query = indexer.wq_b(low[0]).view(tokens, indexer.n_heads, -1).transpose(0, 1)
    products = (rotated(query) @ keys.T).relu()
    counts = indexer.weights_proj(x) / (indexer.n_heads * indexer.head_dim) ** 0.5
    scores = torch.einsum("th,hts->ts", counts, products)
    worst, k, others = float("inf"), indexer.index_topk, 0
    for t in range(k, tokens):
        best = torch.sort(scores[t, :t + 1], descending=True)
        assert set(best.indices[:k].tolist()) == set(chosen[0, t, :k].tolist()), "indexer misread"
        worst = min(worst, (best.values[k - 1] - best.values[k]).item())
        others += set(best.indices[:k].tolist()) != set(range(t + 1 - k, t + 1))
    return worst if k >= tokens or others > (tokens - k) / 2 else 0.0


def run(case):
    """Model, tokens, logits, seed and margin of the first seed that keeps the margin."""
    for seed in range(1000, 1400):
        model = build(case, seed)
        seen = []
        for gate in gates(model):
            gate.register_forward_hook(lambda g, _, out: seen.append((g, out[0], out[2])))
        choices = []
        for indexer in indexers(model):
            indexer.register_forward_hook(lambda i, args, out: choices.append((i, out, *args[:4])))
        gen = torch.Generator().manual_seed(seed)
        tokens = torch.randint(0, model.config.vocab_size, (1, TOKENS), generator=gen)
        with torch.no_grad():
            logits = model(tokens, use_cache=False).logits[0]
            rows = min((index_margin(*c) for c in choices), default=float("inf"))
        worst = min((margins(case, model, *s) for s in seen), default=float("inf"))
        worst = min(worst, rows)
        if worst >= MARGIN:
            return model, tokens[0].tolist(), logits.numpy(), seed, worst
    raise RuntimeError(f"{case['name']}: no seed keeps the margin")


def main(prefixes):
    torch.set_num_threads(1)
    index = []
    for case in CASES:
        if prefixes and not case["name"].startswith(tuple(prefixes)):
            continue
        model, tokens, logits, seed, worst = run(case)
        npy = f"{case['name']}.npy"
        np.save(HERE / npy, logits.astype(np.float32))
        print(f"{case['name']:18} seed {seed} margin {worst:.1e} |logits| {np.abs(logits).max():.2f}")
        for f in case["files"]:
            name = case["name"] + f["suffix"]
            arch = ARCHITECTURES.get(case["cls"], case["cls"])
            converter = getattr(convert, arch, convert.llama)
            keys, tensors = converter(model, **f["options"])
            convert.write(HERE / f"{name}.gguf", arch, name, keys, tensors, chooser(f["kind"]))
            note = case["note"] + "".join(f"; {k} {v}" for k, v in f["options"].items() if k != "omit")
            index.append(dict(name=name, file=f"{name}.gguf", logits=npy, seed=seed, note=note, tokens=tokens))
    if not prefixes:
        versions = dict(torch=torch.__version__, transformers=transformers.__version__, numpy=np.__version__)
        head = json.dumps(dict(made_by="make.py", versions=versions), indent=1)[:-2]
        rows = ",\n".join("  " + json.dumps(case) for case in index)
        (HERE / "index.json").write_text(f'{head},\n "cases": [\n{rows}\n ]\n}}\n')


def chooser(kind):
    """Matrices in `kind`; vectors and routers in F32, as every converter does."""
    return lambda name, x: Type.F32 if x.ndim == 1 or "ffn_gate_inp" in name else kind


if __name__ == "__main__":
    main(sys.argv[1:])
