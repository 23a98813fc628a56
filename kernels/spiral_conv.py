"""Spiral convolution: gather each vertex's spiral of neighbours, one linear layer, ELU.

    y[b, v, e] = elu(bias[e] + sum_{s, c} x[b, index[v, s], c] weight[e, s C + c])

A program makes `BLOCK_V` vertices by `BLOCK_E` channels; the gathered [V, S C] never reaches memory. The backward pass
is plain torch: meshes are small, and it is the trainer's alone.

B batch, V vertices, S spiral length, C / E channels in / out; float32 accumulation.
Source: SpiralNet++ (Gong et al. 2019). Ground truth: `reference.spiral_conv`.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fantasyid_engine.kernels import reference
from fantasyid_engine.kernels.launch import fits, launch, scattered


@triton.jit
def _kernel(
    x_ptr,
    index_ptr,
    weight_ptr,
    bias_ptr,
    y_ptr,
    vertices,
    sources,
    channels,
    outs,
    SPIRAL: tl.constexpr,
    ELU: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    batch = tl.program_id(2).to(tl.int64)
    v = tl.program_id(0).to(tl.int64) * BLOCK_V + tl.arange(0, BLOCK_V)
    e = tl.program_id(1).to(tl.int64) * BLOCK_E + tl.arange(0, BLOCK_E)
    v_inside, e_inside = v < vertices, e < outs
    made = tl.zeros((BLOCK_V, BLOCK_E), tl.float32)
    for s in range(SPIRAL):
        source = tl.load(index_ptr + v * SPIRAL + s, mask=v_inside, other=0).to(tl.int64)
        for start in range(0, channels, BLOCK_C):
            c = start + tl.arange(0, BLOCK_C)
            c_inside = c < channels
            x = tl.load(
                x_ptr + (batch * sources + source)[:, None] * channels + c[None, :],
                mask=v_inside[:, None] & c_inside[None, :],
                other=0.0,
            )
            weight = tl.load(
                weight_ptr + e[None, :] * (SPIRAL * channels) + s * channels + c[:, None],
                mask=e_inside[None, :] & c_inside[:, None],
                other=0.0,
            )
            made = tl.dot(x, weight, made, input_precision=PRECISION)
    made += tl.load(bias_ptr + e, mask=e_inside, other=0.0).to(tl.float32)[None, :]
    if ELU:
        made = tl.where(made > 0, made, tl.exp(tl.minimum(made, 0.0)) - 1.0)
    at = y_ptr + (batch * vertices + v)[:, None] * outs + e[None, :]
    tl.store(at, made.to(y_ptr.dtype.element_ty), mask=v_inside[:, None] & e_inside[None, :])


@torch.library.custom_op("fantasyid::spiral_conv", mutates_args=())
def spiral_conv(x: Tensor, index: Tensor, weight: Tensor, bias: Tensor, elu: bool) -> Tensor:
    """Takes x [B, V, C], index [V, S] integers, weight [E, S C], bias [E] -> [B, V, E] in x's dtype."""
    (batch, sources, channels), (vertices, spiral) = x.shape, index.shape
    outs = len(weight)
    right = (
        weight.shape == (outs, spiral * channels) and bias.shape == (outs,) and x.dtype == weight.dtype == bias.dtype
    )
    fits("spiral_conv", right, f"weight {tuple(weight.shape)}, bias {tuple(bias.shape)}, x {tuple(x.shape)}")
    if x.dtype == torch.float64:  # gradcheck's, in which the kernel does not count
        return reference.spiral_conv(x, index, weight, bias, elu)
    y = torch.empty((batch, vertices, outs), dtype=x.dtype, device=x.device)
    block_v, block_e = 32, min(64, max(16, triton.next_power_of_2(outs)))
    launch(
        _kernel,
        (triton.cdiv(vertices, block_v), triton.cdiv(outs, block_e), batch),
        *(x.contiguous(), index.contiguous(), weight.contiguous(), bias.contiguous(), y),
        *(vertices, sources, channels, outs),
        SPIRAL=spiral,
        ELU=elu,
        PRECISION="ieee" if x.dtype == torch.float32 else "tf32",
        BLOCK_V=block_v,
        BLOCK_E=block_e,
        BLOCK_C=min(32, max(16, triton.next_power_of_2(channels))),
        num_warps=4,
    )
    return y


@spiral_conv.register_fake
def _(x: Tensor, index: Tensor, weight: Tensor, bias: Tensor, elu: bool) -> Tensor:
    return x.new_empty((len(x), len(index), len(weight)))


def _keep(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    x, index, weight, _, elu = inputs
    ctx.save_for_backward(x, index, weight, *([output] if elu else []))


def _backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, index, weight, *output = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
    if output:
        grad = grad * torch.where(output[0] > 0, 1, output[0] + 1)
    grad_x = None
    if ctx.needs_input_grad[0]:  # pyright: ignore[reportAttributeAccessIssue]
        gathered = (grad @ weight).unflatten(-1, (index.shape[1], -1))
        grad_x = scattered(gathered.flatten(1, 2), index.flatten(), x.shape[1])
    grad_weight = torch.einsum("bve,bvk->ek", grad, x[:, index].flatten(2))
    return grad_x, None, grad_weight, grad.sum((0, 1)), None


spiral_conv.register_autograd(_backward, setup_context=_keep)
