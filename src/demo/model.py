"""wattle-tales as PyTorch: DeepSeek-V3 in small (arXiv 2412.19437), trained in float32 with bfloat16 products.

Layer: x += MLA(norm(x)); x += FFN(norm(x)), the first FFN dense, the others a mixture: a sigmoid router with a selection bias that
balances the experts without a loss of its own, the chosen probabilities normalised and scaled, one shared expert.
MLA: q = q_b(norm(q_a x)); [latent | k_rope] = kv_a x; k_nope, v = k_b, v_b of norm(latent); RoPE over interleaved pairs.
MTP: one more layer reads eh_proj [norm(emb(next token)) | norm(h)] and predicts the token after next.
"""

import dataclasses

import torch
import torch.nn.functional as F
from torch import nn


@dataclasses.dataclass
class Config:
    vocab: int = 2048
    context: int = 384
    hidden: int = 256
    layers: int = 5
    heads: int = 8
    q_lora: int = 96
    kv_lora: int = 128
    nope: int = 32
    rope: int = 16
    value: int = 32
    dense: int = 768
    expert: int = 96
    experts: int = 8
    used: int = 2
    scale: float = 1.5
    theta: float = 10000.0
    eps: float = 1e-6


def linear(cols, rows, gain=1.0):
    layer = nn.Linear(cols, rows, bias=False)
    nn.init.normal_(layer.weight, std=gain * cols**-0.5)
    return layer


class Norm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x):
        return F.rms_norm(x.float(), self.weight.shape, self.weight, self.eps).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, c, gain):
        super().__init__()
        self.c = c
        self.q_a, self.q_a_norm = linear(c.hidden, c.q_lora), Norm(c.q_lora, c.eps)
        self.q_b = linear(c.q_lora, c.heads * (c.nope + c.rope))
        self.kv_a, self.kv_a_norm = linear(c.hidden, c.kv_lora + c.rope), Norm(c.kv_lora, c.eps)
        self.k_b, self.v_b = linear(c.kv_lora, c.heads * c.nope), linear(c.kv_lora, c.heads * c.value)
        self.output = linear(c.heads * c.value, c.hidden, gain)

    def rotate(self, x, cos, sin):
        a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2).to(x.dtype)

    def forward(self, x, cos, sin):
        c, (n, t, _) = self.c, x.shape
        q = self.q_b(self.q_a_norm(self.q_a(x))).view(n, t, c.heads, -1).transpose(1, 2)
        latent, k_rope = self.kv_a(x).split((c.kv_lora, c.rope), -1)
        latent = self.kv_a_norm(latent)
        k = self.k_b(latent).view(n, t, c.heads, -1).transpose(1, 2)
        v = self.v_b(latent).view(n, t, c.heads, -1).transpose(1, 2)
        k_rope = self.rotate(k_rope[:, None], cos, sin).expand(-1, c.heads, -1, -1)
        q = torch.cat((q[..., : c.nope], self.rotate(q[..., c.nope :], cos, sin)), -1)
        # Values as long as keys: the fast kernel wants one head size.
        k, v = torch.cat((k, k_rope), -1), F.pad(v, (0, c.nope + c.rope - c.value))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)[..., : c.value]
        return self.output(mixed.transpose(1, 2).reshape(n, t, -1))


class Dense(nn.Module):
    def __init__(self, hidden, width, gain):
        super().__init__()
        self.gate, self.up, self.down = linear(hidden, width), linear(hidden, width), linear(width, hidden, gain)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Mixture(nn.Module):
    def __init__(self, c, gain):
        super().__init__()
        self.c = c
        self.router = linear(c.hidden, c.experts)
        self.register_buffer("bias", torch.zeros(c.experts))
        self.register_buffer("load", torch.zeros(c.experts), persistent=False)
        self.gate = nn.Parameter(torch.randn(c.experts, c.expert, c.hidden) * c.hidden**-0.5)
        self.up = nn.Parameter(torch.randn(c.experts, c.expert, c.hidden) * c.hidden**-0.5)
        self.down = nn.Parameter(torch.randn(c.experts, c.hidden, c.expert) * c.expert**-0.5 * gain)
        self.shared = Dense(c.hidden, c.expert, gain)

    def forward(self, x):
        c, flat = self.c, x.reshape(-1, x.shape[-1])
        score = F.linear(flat.float(), self.router.weight).sigmoid()
        chosen = (score + self.bias).topk(c.used, -1).indices
        weight = score.gather(1, chosen)
        weight = (weight / weight.sum(-1, keepdim=True) * c.scale).to(x.dtype)
        order = chosen.flatten().argsort(stable=True)
        counts = chosen.flatten().bincount(minlength=c.experts)
        if self.training:
            self.load += counts
        token = order // c.used
        outs = [
            F.linear(F.silu(F.linear(part, self.gate[e])) * F.linear(part, self.up[e]), self.down[e])
            for e, part in enumerate(flat[token].split(counts.tolist()))
        ]
        mixed = torch.cat(outs).to(x.dtype) * weight.flatten()[order][:, None]
        return self.shared(x) + torch.zeros_like(flat).index_add(0, token, mixed).view_as(x)


class Layer(nn.Module):
    def __init__(self, c, dense):
        super().__init__()
        gain = (2 * c.layers) ** -0.5
        self.attn_norm, self.attn = Norm(c.hidden, c.eps), Attention(c, gain)
        self.ffn_norm, self.ffn = Norm(c.hidden, c.eps), Dense(c.hidden, c.dense, gain) if dense else Mixture(c, gain)

    def forward(self, x, cos, sin):
        x = x + self.attn(self.attn_norm(x), cos, sin)
        return x + self.ffn(self.ffn_norm(x))


class Mtp(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.enorm, self.hnorm = Norm(c.hidden, c.eps), Norm(c.hidden, c.eps)
        self.eh_proj, self.layer, self.norm = linear(2 * c.hidden, c.hidden), Layer(c, False), Norm(c.hidden, c.eps)

    def forward(self, embedded, hidden, cos, sin):
        return self.norm(self.layer(self.eh_proj(torch.cat((self.enorm(embedded), self.hnorm(hidden)), -1)), cos, sin))


class Tales(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.embed = nn.Embedding(c.vocab, c.hidden)
        nn.init.normal_(self.embed.weight, std=0.5)
        self.layers = nn.ModuleList(Layer(c, i == 0) for i in range(c.layers))
        self.norm, self.head = Norm(c.hidden, c.eps), linear(c.hidden, c.vocab, 0.5)
        self.mtp = Mtp(c)
        angle = torch.arange(c.context)[:, None] * c.theta ** (-torch.arange(0, c.rope, 2) / c.rope)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, ids):
        """Normed hidden states of the last layer."""
        t = ids.shape[1]
        x = self.embed(ids).to(torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32)
        for layer in self.layers:
            x = layer(x, self.cos[:t], self.sin[:t])
        return self.norm(x)

    def mixtures(self):
        return [m for m in self.modules() if isinstance(m, Mixture)]

    def balance(self, speed):
        """Auxiliary-loss-free balancing: experts with more than their share become a little less likely to be chosen."""
        for m in self.mixtures():
            m.bias += speed * (m.load.mean() - m.load).sign()
            m.load.zero_()
