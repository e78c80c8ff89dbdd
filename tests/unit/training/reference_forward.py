"""EfficientNet-Lite once more, from the paper's table, in NumPy on the raw state dict: channels first, no Keras."""

import numpy as np

EPSILON = 1e-3
STRIDES = [1, 2, 2, 2, 1, 2, 1]  # of the first block of each stage; a stage is a run of blocks of one width


def forward(state, images):
    """ImageNet logits float32[N, 1000] for images uint8[N, S, S, 3]."""
    x = (images.transpose(0, 3, 1, 2).astype(np.float32) - 127) / 128
    x = relu6(norm(state, "_bn0", convolve(state["_conv_stem.weight"], x, 2)))
    for number, stride in enumerate(block_strides(state)):
        x = block(state, f"_blocks.{number}.", x, stride)
    x = relu6(norm(state, "_bn1", convolve(state["_conv_head.weight"], x, 1)))
    return x.mean(axis=(2, 3)) @ state["_fc.weight"].T + state["_fc.bias"]


def block_strides(state):
    names = [name for name in state if name.endswith("_project_conv.weight")]
    widths = [state[name].shape[0] for name in sorted(names, key=lambda name: int(name.split(".")[1]))]
    strides = iter(STRIDES)
    return [
        next(strides) if width != before else 1
        for before, width in zip([None, *widths[:-1]], widths, strict=True)
    ]


def block(state, name, x, stride):
    y = x
    if f"{name}_expand_conv.weight" in state:
        y = relu6(norm(state, f"{name}_bn0", convolve(state[f"{name}_expand_conv.weight"], y, 1)))
    y = convolve_depthwise(state[f"{name}_depthwise_conv.weight"], y, stride)
    y = relu6(norm(state, f"{name}_bn1", y))
    y = norm(state, f"{name}_bn2", convolve(state[f"{name}_project_conv.weight"], y, 1))
    return x + y if x.shape == y.shape and stride == 1 else y


def convolve(kernel, x, stride):
    """Kernel [out, in, k, k] over x [N, in, H, W]."""
    windows = windows_of(x, kernel.shape[-1], stride)
    return np.einsum("nchwij,ocij->nohw", windows, kernel, optimize=True)


def convolve_depthwise(kernel, x, stride):
    """Kernel [C, 1, k, k]: each channel with its own."""
    windows = windows_of(x, kernel.shape[-1], stride)
    return np.einsum("nchwij,cij->nchw", windows, kernel[:, 0], optimize=True)


def windows_of(x, size, stride):
    margins = [margin(edge, size, stride) for edge in x.shape[2:]]
    padded = np.pad(x, ((0, 0), (0, 0), *margins))
    return np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(2, 3))[
        :, :, ::stride, ::stride
    ]


def margin(edge, size, stride):
    """Zeros before and after, TensorFlow's "same": as many as ceil(edge / stride) windows need, the odd one behind."""
    needed = max((-(-edge // stride) - 1) * stride + size - edge, 0)
    return needed // 2, needed - needed // 2


def norm(state, name, x):
    scale = state[f"{name}.weight"] / np.sqrt(state[f"{name}.running_var"] + EPSILON)
    shift = state[f"{name}.bias"] - state[f"{name}.running_mean"] * scale
    return x * scale[:, None, None] + shift[:, None, None]


def relu6(x):
    return np.clip(x, 0, 6)
