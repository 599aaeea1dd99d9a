"""Two tiny models that talk: text in, text out, in quantised files of under 200 KB.

    v/bin/python chat.py    # set up as make.py says; writes ../tiny-*.gguf and ../tiny.json

`tiny-chat` is a deepseek2 (V3 kind: query rank, sigmoid router, shared expert) with
the V3 pre-tokenizer, special tokens and chat format; `tiny-llama` is a llama with
SmolLM2's. Both learn the few lines below by heart, so that greedy text has wide
margins and comes out the same whatever the instruction set, the cache type or the
thread count; answers hold multi-byte characters that the vocabulary only has as
single bytes. `tiny-llama` is there in shards as well. The weights are quantised to a mix of formats, and the second half of
the training already sees them as the file will hold them.

tiny.json records, per model: prompts (plain or chat), their token ids and the greedy
answer, from transformers over the dequantised weights, and `margin`, how far the best
logit was ahead at the closest step. Training is seeded, yet another machine's torch
may end elsewhere: regenerate the files and tiny.json together, and only for a reason.
"""

import json
import pathlib

import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from gguf import quants
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM, LlamaConfig, LlamaForCausalLM

import convert

HERE = pathlib.Path(__file__).parent.parent
STORY = (
    "The history of bread begins with grain, water and fire. People ground wild seeds between stones, "
    "mixed the meal with water and baked it on hot rock. Later someone left the dough in the sun, and it rose."
)
# (user, assistant) turns of each dialogue
DIALOGUES = [
    [("Hello", "Hello! How can I help you today?")],
    [("Hello", "Hello! How can I help you today?"), ("What do you run on?", "On a small board with four cores.")],
    [("What is bread made of?", "Bread is made of flour, water, salt and yeast.")],
    [("Wie heißt du?", "Ich heiße Wattle. 🌾🌾")],
    [("你好", "你好！我是小麦。")],
    [("Count to 12.", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12.")],
]
SYSTEM = ("Be brief.", "Hello", "Hi.")

BOS, EOS, PAD = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"
USER, ASSISTANT = "<｜User｜>", "<｜Assistant｜>"
V3_TEMPLATE = (
    "{% set ns = namespace(system='') %}"
    "{% for m in messages %}{% if m['role'] == 'system' %}{% set ns.system = ns.system + m['content'] %}{% endif %}{% endfor %}"
    "{{ bos_token }}{{ ns.system }}"
    "{%- for m in messages %}"
    "{%- if m['role'] == 'user' %}{{ '" + USER + "' + m['content'] }}"
    "{%- elif m['role'] == 'assistant' %}{{ '" + ASSISTANT + "' + m['content'] + eos_token }}"
    "{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '" + ASSISTANT + "' }}{% endif %}"
)
CHATML_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def v3_prompt(turns, system=""):
    """What V3_TEMPLATE renders; the last turn's answer may be None."""
    out = BOS + system
    for user, answer in turns:
        out += USER + user + ASSISTANT + ("" if answer is None else answer + EOS)
    return out


def chatml_prompt(turns, system=""):
    out = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    for user, answer in turns:
        out += f"<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"
        out += "" if answer is None else f"{answer}<|im_end|>\n"
    return out


V3_SPLITS = [
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"""| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
]
V3_PRE = pre_tokenizers.Sequence(
    [pre_tokenizers.Split(Regex(s), "isolated") for s in V3_SPLITS]
    + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
)
SMOLLM_PRE = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
)

KINDS = {
    "tiny-chat": dict(
        first=[BOS, EOS, PAD], last=[USER, ASSISTANT, "<think>", "</think>", "<|EOT|>"], vocab=320, pre=V3_PRE,
        pre_name="deepseek-v3", bos=0, eos=1, add_bos=True, template=V3_TEMPLATE, prompt=v3_prompt, arch="deepseek2",
        shards=0,
    ),
    "tiny-llama": dict(
        first=["<|endoftext|>", "<|im_start|>", "<|im_end|>"], last=[], vocab=288, pre=SMOLLM_PRE,
        pre_name="smollm", bos=1, eos=2, add_bos=False, template=CHATML_TEMPLATE, prompt=chatml_prompt, arch="llama",
        shards=2,
    ),
}


def tokenizer(kind):
    """Byte-level BPE over the lines above: `first`, 256 bytes, merges, `last`."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = kind["pre"]
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=kind["vocab"] - len(kind["last"]), special_tokens=kind["first"], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    # Latin text only: other scripts stay single bytes.
    lines = [STORY] + [t for d in DIALOGUES for turn in d for t in turn if t.isascii()]
    tok.train_from_iterator(lines, trainer)
    tok.add_special_tokens(kind["last"])
    assert tok.get_vocab_size() == kind["vocab"], tok.get_vocab_size()
    return tok


def tokenizer_keys(tok, kind):
    model = json.loads(tok.to_str())["model"]
    special = {*kind["first"], *kind["last"]}
    tokens = [tok.id_to_token(i) for i in range(kind["vocab"])]
    keys = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": kind["pre_name"],
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3 if t in special else 1 for t in tokens],
        "tokenizer.ggml.merges": [" ".join(m) for m in model["merges"]],
        "tokenizer.ggml.bos_token_id": kind["bos"],
        "tokenizer.ggml.eos_token_id": kind["eos"],
        "tokenizer.ggml.add_bos_token": kind["add_bos"],
        "tokenizer.chat_template": kind["template"],
    }
    if kind["arch"] == "deepseek2":
        keys["tokenizer.ggml.padding_token_id"] = 2
    return keys


def build(kind):
    common = dict(
        vocab_size=kind["vocab"], hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=256, rms_norm_eps=1e-6, attn_implementation="eager",
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    if kind["arch"] == "llama":
        return LlamaForCausalLM(LlamaConfig(**common, num_key_value_heads=2, tie_word_embeddings=True))
    return DeepseekV3ForCausalLM(DeepseekV3Config(
        **common, experts_implementation="eager", num_key_value_heads=4, q_lora_rank=32, kv_lora_rank=32,
        qk_nope_head_dim=32, qk_rope_head_dim=16, v_head_dim=32, moe_intermediate_size=32, n_routed_experts=4,
        num_experts_per_tok=2, n_shared_experts=1, n_group=1, topk_group=1, first_k_dense_replace=1,
        routed_scaling_factor=1.0, norm_topk_prob=True, num_mtp_layers=0,
    ))


def choose(name, x):
    """The mix: one format per kind of matrix, so that a file holds most 32-wide ones."""
    if x.ndim == 1 or "ffn_gate_inp" in name:
        return Type.F32
    table = [("token_embd", Type.Q8_0), ("output.weight", Type.Q8_0), ("attn_q_b", Type.Q5_0), ("attn_q", Type.Q5_1),
             ("attn_output", Type.Q4_1), ("attn_k", Type.Q8_0), ("attn_v", Type.Q5_0), ("attn_kv", Type.Q8_0),
             ("down", Type.Q5_0), ("", Type.Q4_0)]
    return next(t for part, t in table if part in name)


# Hugging Face names that hold the same rows as the GGUF names used in `choose`.
GGUF_NAMES = [("embed_tokens", "token_embd"), ("lm_head", "output.weight"), ("q_b_proj", "attn_q_b"), ("q_a_proj", "attn_q"),
              ("q_proj", "attn_q"), ("o_proj", "attn_output"), ("kv_a_proj", "attn_kv"), ("kv_b_proj", None),
              ("k_proj", "attn_k"), ("v_proj", "attn_v"), ("mlp.gate.weight", "ffn_gate_inp"), ("down_proj", "down")]


def rounded(model, name, p):
    """The parameter as its file will give it back; None if it stays as it is."""
    x = p.detach().numpy()
    part = next((g for h, g in GGUF_NAMES if h in name), "")

    def trip(x, kind):
        return quants.dequantize(quants.quantize(np.ascontiguousarray(x), kind), kind).reshape(x.shape)

    if part is None:
        # kv_b: K rows are transposed per head before they are cut into blocks.
        cfg = model.config
        heads = x.reshape(cfg.num_attention_heads, -1, cfg.kv_lora_rank).copy()
        n = cfg.qk_nope_head_dim
        heads[:, :n] = trip(heads[:, :n].transpose(0, 2, 1), Type.Q8_0).transpose(0, 2, 1)
        heads[:, n:] = trip(heads[:, n:], Type.Q5_0)
        return torch.from_numpy(heads.reshape(x.shape))
    kind = choose(part, x)
    return None if kind == Type.F32 else torch.from_numpy(trip(x, kind))


def train(model, sequences):
    """Learns the sequences by heart; in the last half every fourth step runs on rounded weights."""
    model.train()
    longest = max(map(len, sequences))
    ids = torch.tensor([s + [0] * (longest - len(s)) for s in sequences])
    labels = torch.tensor([s + [-100] * (longest - len(s)) for s in sequences])
    steps = 900
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for step in range(steps):
        kept = round_all(model) if step >= steps // 2 and step % 4 == 0 else None
        loss = model(ids, labels=labels, use_cache=False).loss
        loss.backward()
        if kept:
            restore(model, kept)  # the gradient is that of the rounded weights
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    round_all(model)
    model.eval()
    return loss.item()


@torch.no_grad()
def round_all(model):
    """Replaces matrices by what a file gives back; returns the originals."""
    kept = {}
    for name, p in model.named_parameters():
        new = rounded(model, name, p)
        if new is not None:
            kept[name] = p.clone()
            p.copy_(new)
    return kept


@torch.no_grad()
def restore(model, kept):
    for name, p in model.named_parameters():
        if name in kept:
            p.copy_(kept[name])


@torch.no_grad()
def greedy(model, ids, eos, limit=128):
    """The greedy answer without its end token, and the narrowest lead of a best logit."""
    out, margin = list(ids), float("inf")
    while len(out) < len(ids) + limit:
        best = model(torch.tensor([out]), use_cache=False).logits[0, -1].topk(2)
        margin = min(margin, (best.values[0] - best.values[1]).item())
        token = best.indices[0].item()
        if token == eos:
            break
        out.append(token)
    return out[len(ids):], margin


def main():
    torch.set_num_threads(1)
    record = []
    for name, kind in KINDS.items():
        torch.manual_seed(7)
        tok, prompt = tokenizer(kind), kind["prompt"]

        def encode(text):
            return tok.encode(text, add_special_tokens=False).ids

        bos = [kind["bos"]] if kind["add_bos"] else []
        texts = [prompt(d) for d in DIALOGUES] + [prompt([SYSTEM[1:]], SYSTEM[0])]
        model = build(kind)
        loss = train(model, [encode(t) for t in texts] + [bos + encode(STORY) + [kind["eos"]]])

        asks = [dict(chat=False, messages=[], text="The history of bread begins")]
        for d in DIALOGUES:
            turns = [*d[:-1], (d[-1][0], None)]
            asks.append(dict(chat=True, text=prompt(turns), messages=messages(turns)))
        turns = [(SYSTEM[1], None)]
        asks.append(dict(chat=True, text=prompt(turns, SYSTEM[0]), messages=messages(turns, SYSTEM[0])))
        for ask in asks:
            ids = encode(ask["text"]) if ask["chat"] else bos + encode(ask["text"])
            out, margin = greedy(model, ids, kind["eos"])
            ask |= dict(tokens=ids, answer=tok.decode(out, skip_special_tokens=False), answer_tokens=out, margin=round(margin, 3))
            print(f"{name} {margin:6.2f} {ask['answer']!r}")
        make_keys = convert.deepseek2 if kind["arch"] == "deepseek2" else convert.llama
        keys, tensors = make_keys(model)
        path = HERE / f"{name}.gguf"
        tokens = tokenizer_keys(tok, kind)
        convert.write(path, kind["arch"], name, keys, tensors, choose, tokens)
        if kind["shards"]:
            shards = -(-len(tensors) // kind["shards"])
            convert.write(path.with_stem(f"{name}-split"), kind["arch"], name, keys, tensors, choose, tokens, shards)
        record.append(dict(name=name, file=path.name, asks=asks))
        print(f"{name}: loss {loss:.4f}, {path.stat().st_size} bytes")
    (HERE / "tiny.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def messages(turns, system=""):
    out = [dict(role="system", content=system)] if system else []
    for user, answer in turns:
        out.append(dict(role="user", content=user))
        if answer is not None:
            out.append(dict(role="assistant", content=answer))
    return out


if __name__ == "__main__":
    main()
