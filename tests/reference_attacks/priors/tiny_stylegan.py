"""A network with the interface of NVIDIA's stylegan2-ada-pytorch, as far as it is used, and hardly a weight."""

import torch
from torch import nn
from torch.nn import functional as F


class Mapping(nn.Module):
    def __init__(self, z_dim, w_dim, num_ws):
        super().__init__()
        self.layer, self.num_ws = nn.Linear(z_dim, w_dim), num_ws
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z, c, truncation_psi=1, truncation_cutoff=None, skip_w_avg_update=False):
        assert c is None
        return F.leaky_relu(self.layer(z), 0.2)[:, None].repeat(1, self.num_ws, 1)


class Block(nn.Module):
    def __init__(self, in_channels, out_channels, w_dim, resolution):
        super().__init__()
        self.in_channels, self.num_conv, self.num_torgb = in_channels, 2 if in_channels else 1, 1
        if not in_channels:
            self.const = nn.Parameter(torch.randn(out_channels, resolution, resolution))
        self.styles = nn.ModuleList([nn.Linear(w_dim, out_channels) for _ in range(self.num_conv + self.num_torgb)])
        self.mix = nn.Conv2d(in_channels or out_channels, out_channels, 1)
        self.torgb = nn.Conv2d(out_channels, 3, 1)

    def forward(self, x, img, ws, force_fp32=False, fused_modconv=None, noise_mode="random"):
        assert force_fp32
        assert ws.shape[1] == self.num_conv + self.num_torgb
        x = F.interpolate(x, scale_factor=2) if self.in_channels else self.const.expand(len(ws), *self.const.shape)
        x = torch.tanh(self.mix(x))
        for style, w in zip(self.styles, ws.unbind(dim=1), strict=True):
            x = x * (1 + style(w))[:, :, None, None]
        x = x + torch.randn_like(x) if noise_mode == "random" else x
        picture = 0.3 * self.torgb(x)
        return x, picture if img is None else F.interpolate(img, scale_factor=2).add_(picture)


class Synthesis(nn.Module):
    def __init__(self, w_dim):
        super().__init__()
        self.block_resolutions, self.num_ws = [4, 8, 16], 6
        for resolution, channels in ((4, 0), (8, 4), (16, 4)):
            setattr(self, f"b{resolution}", Block(channels, 4, w_dim, resolution))

    def forward(self, ws, noise_mode="random", force_fp32=False):
        x = img = None
        place = 0
        for resolution in self.block_resolutions:
            block = getattr(self, f"b{resolution}")
            own = ws.narrow(1, place, block.num_conv + block.num_torgb)
            x, img = block(x, img, own, noise_mode=noise_mode, force_fp32=force_fp32)
            place += block.num_conv
        return img


class StyleNetwork(nn.Module):
    def __init__(self, c_dim=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.z_dim, self.c_dim, self.w_dim = 3, c_dim, 5
            self.synthesis = Synthesis(self.w_dim)
            self.mapping = Mapping(self.z_dim, self.w_dim, self.synthesis.num_ws)
            self.mapping.w_avg += torch.randn(self.w_dim)
        self.num_ws = self.synthesis.num_ws

    def forward(self, z, c):
        return self.synthesis(self.mapping(z, c))
