"""Compositing along rays against plain torch, nerfacc where it runs, and against copying memory.

Packed samples with their ray indices, 64 to a ray, forward and backward. Torch composites as one writes it without
kernels: ``cumprod`` over rays laid side by side, and ``index_add_``. What bounds the kernels is memory, so a copy of as
many bytes, into memory that is there, takes turns with them; by the clock on the wall, and by the time that the process
had on the processor, which other work on the machine does not lengthen as much.
"""

from __future__ import annotations

import importlib
import math
import time
from functools import cache, partial

import torch
from semaflow.kernels import bridge, composite
from torch import Tensor

from .table import Table, cores, milliseconds

PER_RAY = 64
SAMPLES = 2**20
CHANNELS = (1, 3, 32, 128)
TORCH_NUMBERS = 2**25  # values; with more it takes seconds
LOGITS = 30  # beside 3 colours, as Semantic Flow renders


class Contender:
    """One way to composite: ``render`` gives outputs of leaves, and gradients are pulled back through them."""

    def __init__(self, render, leaves: list[Tensor], incoming: list[Tensor]):
        self.render, self.incoming = render, incoming
        self.leaves = [x.detach().clone().requires_grad_() for x in leaves]

    def forward(self):
        self.outputs = self.render(*self.leaves)

    def backward(self):
        for leaf in self.leaves:
            leaf.grad = None
        torch.autograd.backward(self.outputs, self.incoming)
        self.gradients = [leaf.grad for leaf in self.leaves]

    def difference(self, other: Contender) -> float:
        """Largest difference of outputs and gradients, each relative to its largest value."""
        pairs = zip([*self.outputs, *self.gradients], [*other.outputs, *other.gradients], strict=True)
        return max(float(((a - b).abs().max() / b.abs().max()).detach()) for a, b in pairs)


class Copy:
    """Reading half of so many bytes and writing the other half."""

    def __init__(self, size: int, device: str):
        self.source = torch.zeros(size // 8, device=device)
        self.target = torch.zeros_like(self.source)

    def ready(self):
        self.target.copy_(self.source)


def exclusive_products(x: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(x[:, :1]), torch.cumprod(x, 1)[:, :-1]], 1)


def torch_sums(weights: Tensor, values: Tensor, indices: Tensor, rays: int) -> Tensor:
    return weights.new_zeros(rays, values.shape[1]).index_add_(0, indices, weights[:, None] * values)


def random(*shape: int, seed: int, device: str) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)).to(device)


@cache
def peers(device: str) -> dict:
    """nerfacc, if it is installed and works on ``device``; it has no kernels for the CPU."""
    if device == "cpu":
        return {}
    try:
        nerfacc = importlib.import_module("nerfacc")
        nerfacc.render_weight_from_alpha(torch.zeros(2, 3, device=device))
    except Exception as reason:  # its kernels are compiled at the first call, with a compiler that may not be there
        print(f"no nerfacc: {reason}")
        return {}
    return {"nerfacc": nerfacc}


def contenders_of(ours, plain, device: str) -> dict:
    """Renderers by name; ``ours`` takes another library with the same functions."""
    return {"semaflow": ours, "torch": plain, **{k: partial(ours, library=v) for k, v in peers(device).items()}}


def indices_of(samples: int, device: str) -> Tensor:
    return torch.arange(samples // PER_RAY, device=device).repeat_interleave(PER_RAY)


def weights_and_sums(samples: int, channels: int, device: str):
    """``(renderers by name, leaves, incoming gradients, bytes)``: opacities to weights, and values to sums."""
    rays, indices = samples // PER_RAY, indices_of(samples, device)
    leaves = [random(samples, seed=0, device=device) * 0.1, random(samples, channels, seed=1, device=device)]
    incoming = [random(rays, channels, seed=2, device=device) - 0.5]

    def ours(alphas, values, library=composite):
        weights, _ = library.render_weight_from_alpha(alphas, ray_indices=indices, n_rays=rays)
        return (library.accumulate_along_rays(weights, values, indices, rays),)

    def plain(alphas, values):
        alphas = alphas.view(rays, PER_RAY)
        return (torch_sums((exclusive_products(1 - alphas) * alphas).flatten(), values, indices, rays),)

    # Forward: reads opacity, values and ray index, writes weight and transmittance. Backward: reads these and the
    # values, writes gradients of opacity and values. Four bytes each, the index eight; what is per ray is not counted.
    size = samples * (4 * (channels + 1 + 2 + channels + 3 + channels + 1) + 8)
    return contenders_of(ours, plain, device), leaves, incoming, size


def radiance_field(samples: int, channels: int, device: str):
    """The same for ``rendering``: densities and values to values, opacity and depth of rays."""
    rays, indices = samples // PER_RAY, indices_of(samples, device)
    starts = random(samples, seed=3, device=device)
    ends = starts + 0.1
    leaves = [random(samples, seed=0, device=device), random(samples, channels, seed=1, device=device)]
    incoming = [random(rays, c, seed=c, device=device) - 0.5 for c in (channels, 1, 1)]

    def ours(sigmas, values, library=composite):
        return library.rendering(starts, ends, indices, rays, lambda *_: (values, sigmas))[:3]

    def plain(sigmas, values):
        alphas = (1 - torch.exp(-sigmas * (ends - starts))).view(rays, PER_RAY)
        weights = (exclusive_products(1 - alphas) * alphas).flatten()
        opacities = torch_sums(weights, torch.ones_like(weights)[:, None], indices, rays)
        depths = torch_sums(weights, (starts + ends)[:, None] / 2, indices, rays)
        return torch_sums(weights, values, indices, rays), opacities, depths / opacities.clamp_min(1e-10)

    # Beside the above: both ends twice, opacity out and in again.
    size = samples * (4 * (channels + 3 + 3 + channels + 6 + channels + 1) + 8)
    return contenders_of(ours, plain, device), leaves, incoming, size


def static_dynamic(samples: int, channels: int, device: str):
    """The same for ``composite_static_dynamic``, with ``channels`` of each field."""
    rays, indices = samples // PER_RAY, indices_of(samples, device)
    depths = random(samples, seed=3, device=device)
    leaves = [random(samples, seed=k, device=device) * (1.0 if k == 2 else 0.1) for k in range(3)]
    leaves += [random(samples, channels, seed=k, device=device) for k in (4, 5)]
    incoming = [random(rays, channels, seed=k, device=device) - 0.5 for k in range(3)]
    incoming += [random(rays, 1, seed=k, device=device) - 0.5 for k in range(2)]

    def ours(dynamic, static, blend, shown_dynamic, shown_static):
        result = composite.composite_static_dynamic(
            dynamic, static, blend, {"x": shown_dynamic}, {"x": shown_static}, depths, ray_indices=indices, n_rays=rays
        )
        return *(layer.values["x"] for layer in result[:3]), result.full.depths, result.dynamicness

    def plain(dynamic, static, blend, shown_dynamic, shown_static):
        def sums(weights, values):
            return torch_sums(weights.flatten(), values, indices, rays)

        dynamic, static, blend = (x.view(rays, PER_RAY) for x in (dynamic, static, blend))
        p, q = dynamic * blend, static * (1 - blend)
        T = exclusive_products((1 - p) * (1 - q))
        w_d, w_s = T * p, T * q
        full = sums(w_d, shown_dynamic) + sums(w_s, shown_static)
        alone = [sums(exclusive_products(1 - a) * a, x) for a, x in ((dynamic, shown_dynamic), (static, shown_static))]
        return full, *alone, sums(w_d + w_s, depths[:, None]), sums(w_d + w_s, blend.reshape(-1, 1))

    # Forward: reads two opacities, blend, depth, index and two sets of values, writes four weights. Backward: reads all
    # that again, writes gradients of two opacities, blend and two sets of values.
    size = samples * (4 * (4 + 2 * channels + 4 + 8 + 2 * channels + 3 + 2 * channels) + 8)
    return {"semaflow": ours, "torch": plain}, leaves, incoming, size


def training_step(samples: int, logits: int, device: str):
    """The same as a flow field's training has it: batched rays, 3 colours and ``logits``, and all that is rendered."""
    rays = samples // PER_RAY
    depths = random(rays, PER_RAY, seed=3, device=device)
    leaves = [random(rays, PER_RAY, seed=k, device=device) * (1.0 if k == 2 else 0.1) for k in range(3)]
    sizes = (3, 3, logits, logits)  # of either field, the colours first
    leaves += [random(rays, PER_RAY, c, seed=4 + k, device=device) for k, c in enumerate(sizes)]
    outputs = (3, 3, 3, logits, logits, logits, 1, 1, 1, 1)
    incoming = [random(rays, c, seed=k, device=device) - 0.5 for k, c in enumerate(outputs)]

    def ours(dynamic, static, blend, *shown):
        values = ({"rgb": shown[i], "logits": shown[2 + i]} for i in range(2))
        result = composite.composite_static_dynamic(dynamic, static, blend, *values, depths)
        layers = [layer.values[name] for name in ("rgb", "logits") for layer in result[:3]]
        return *layers, *(layer.depths for layer in result[:3]), result.dynamicness

    def plain(dynamic, static, blend, *shown):
        def sums(weights, values):
            return torch.bmm(weights[:, None], values)[:, 0]

        p, q = dynamic * blend, static * (1 - blend)
        T = exclusive_products((1 - p) * (1 - q))
        w_d, w_s = T * p, T * q
        alone = [exclusive_products(1 - a) * a for a in (dynamic, static)]
        layers = []
        for fields in (shown[:2], shown[2:]):
            layers.append(sums(w_d, fields[0]) + sums(w_s, fields[1]))
            layers += [sums(w, x) for w, x in zip(alone, fields, strict=True)]
        depth = [(w * depths).sum(1, keepdim=True) for w in (w_d + w_s, *alone)]
        return *layers, *depth, ((w_d + w_s) * blend).sum(1, keepdim=True)

    size = samples * 4 * (19 + 6 * (3 + logits))  # as above, without an index
    return {"semaflow": ours, "torch": plain}, leaves, incoming, size


def contest(title: str, case, sizes: list[tuple[int, int]], device: str = "cpu", seconds: float = 1.0) -> Table:
    """``case`` at each (samples, channels) of ``sizes``; every contender is timed for about ``seconds``."""
    columns = [
        "samples", "D", "forward ms", "backward ms", "both ms", "torch ms", "x faster", "nerfacc ms", "x nerfacc",
        "copy ms", "x copy", "cpu ms", "copy cpu ms", "x copy cpu", "exponent", "difference",
    ]  # fmt: skip
    table = Table(title, columns)
    last = None
    for samples, channels in sizes:
        renderers, leaves, incoming, size = case(samples, channels, device)
        if samples * channels > TORCH_NUMBERS:
            del renderers["torch"]
        contenders = {name: Contender(render, leaves, incoming) for name, render in renderers.items()}
        copy = Copy(size, device)
        steps = [(c.forward, c.backward) for c in contenders.values()]
        *times, ready = milliseconds(*steps, (copy.ready,), seconds=seconds, device=device)
        frames = {name: sum(time) for name, time in zip(contenders, times, strict=True)}
        ours, both = times[0], frames["semaflow"]
        figures = {
            "forward ms": ours[0], "backward ms": ours[1], "both ms": both, "copy ms": ready[0],
            "x copy": both / ready[0],
        }  # fmt: skip
        if device == "cpu":
            clock = time.process_time
            ours, ready = milliseconds(steps[0], (copy.ready,), seconds=seconds, clock=clock)
            figures |= {"cpu ms": sum(ours), "copy cpu ms": ready[0], "x copy cpu": sum(ours) / ready[0]}
        for peer, ratio in (("torch", "x faster"), ("nerfacc", "x nerfacc")):
            if peer in frames:
                figures |= {f"{peer} ms": frames[peer], ratio: frames[peer] / both}
        if "torch" in frames:
            figures["difference"] = contenders["semaflow"].difference(contenders["torch"])
        if last is not None:
            figures["exponent"] = math.log(both / last[1]) / math.log(size / last[0])
        last = (size, both)
        table.add(samples=samples, D=channels, **figures)
        table.notes.append(f"{samples} samples, D={channels}: {size / 2**20:.0f} MiB counted")
    table.notes += [
        f"{PER_RAY} samples to a ray, {bridge.threads()} threads on {cores()} cores, {device}",
        "exponent: growth of the time with the bytes since the row above",
        "copy: of the counted bytes, half read and half written, into memory that is there",
        "cpu: time on the processor, of all threads together",
        "difference: largest of outputs and gradients to torch's, each relative to its largest value, in float32",
    ]
    return table


def calls() -> Table:
    """What a call costs before there is any work."""
    table = Table("cost of a call (8 samples)", ["what", "us"])
    alphas, values = torch.rand(8), torch.rand(8, 3)
    indices = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])
    info = composite.pack_info(indices, 2)
    contender = Contender(weights_and_sums(PER_RAY, 3, "cpu")[0]["semaflow"], [torch.rand(64), torch.rand(64, 3)],
                          [torch.ones(1, 3)])  # fmt: skip
    steps = {
        "pack_info": lambda: composite.pack_info(indices, 2),
        "render_weight_from_alpha, batched": lambda: composite.render_weight_from_alpha(alphas),
        "render_weight_from_alpha, packed_info": lambda: composite.render_weight_from_alpha(alphas, info),
        "accumulate_along_rays, batched": lambda: composite.accumulate_along_rays(alphas, values),
    }
    times = milliseconds((contender.forward, contender.backward), *((s,) for s in steps.values()), seconds=0.5)
    names = ("weights and sums, ray_indices", "backward of these", *steps)
    for what, spent in zip(names, (x for group in times for x in group), strict=True):
        table.add(what=what, us=1e3 * spent)
    return table


def tables(device: str = "cpu", samples: int = SAMPLES, seconds: float = 1.0) -> list[Table]:
    """Few to many channels, few to many samples, and what renders fields."""
    cases = {
        "weights from opacity and sums of D channels": (weights_and_sums, [(samples, D) for D in CHANNELS]),
        "the same, 3 channels": (weights_and_sums, [(max(samples * 4**k // 16, PER_RAY), 3) for k in range(4)]),
        "rendering of a radiance field": (radiance_field, [(samples, D) for D in (3, 32)]),
        "a dynamic and a static field": (static_dynamic, [(samples, D) for D in (3, 3 + LOGITS)]),
        "the same in a training step, 3 colours and D": (training_step, [(samples // 16, D) for D in (5, LOGITS)]),
    }
    return [contest(title, case, sizes, device, seconds) for title, (case, sizes) in cases.items()]


def run() -> list[Table]:
    torch.set_num_threads(bridge.threads())
    return [*tables(), calls()]
