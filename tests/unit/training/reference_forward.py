"""EfficientNet-Lite0 once more, from the paper's table, in NumPy on the raw state dict: channels first, no Keras."""

import numpy as np

EPSILON = 1e-3

# repeats, kernel, stride, expansion; widths come with the weights
STAGES = [(1, 3, 1, 1), (2, 3, 2, 6), (2, 5, 2, 6), (3, 3, 2, 6), (3, 5, 1, 6), (4, 5, 2, 6), (1, 3, 1, 6)]


def forward(state, images):
    """ImageNet logits float32[N, 1000] for images uint8[N, 224, 224, 3]."""
    x = (images.transpose(0, 3, 1, 2).astype(np.float32) - 127) / 128
    x = relu6(norm(state, "_bn0", convolve(state["_conv_stem.weight"], x, stride=2)))
    number = 0
    for repeats, _, first_stride, expansion in STAGES:
        for repeat in range(repeats):
            x = block(state, f"_blocks.{number}.", x, first_stride if repeat == 0 else 1, expansion)
            number += 1
    x = relu6(norm(state, "_bn1", convolve(state["_conv_head.weight"], x)))
    return x.mean(axis=(2, 3)) @ state["_fc.weight"].T + state["_fc.bias"]


def block(state, name, x, stride, expansion):
    y = x
    if expansion > 1:
        y = relu6(norm(state, f"{name}_bn0", convolve(state[f"{name}_expand_conv.weight"], y)))
    y = relu6(
        norm(state, f"{name}_bn1", convolve_depthwise(state[f"{name}_depthwise_conv.weight"], y, stride))
    )
    y = norm(state, f"{name}_bn2", convolve(state[f"{name}_project_conv.weight"], y))
    return x + y if x.shape == y.shape and stride == 1 else y


def convolve(kernel, x, stride=1):
    """Kernel [out, in, k, k] over x [N, in, H, W], padded by (k - 1) / 2 on each side."""
    windows = windows_of(x, kernel.shape[-1], stride)
    return np.einsum("nchwij,ocij->nohw", windows, kernel, optimize=True)


def convolve_depthwise(kernel, x, stride):
    """Kernel [C, 1, k, k]: each channel with its own."""
    return np.einsum("nchwij,cij->nchw", windows_of(x, kernel.shape[-1], stride), kernel[:, 0], optimize=True)


def windows_of(x, size, stride):
    margin = (size - 1) // 2
    padded = np.pad(x, ((0, 0), (0, 0), (margin, margin), (margin, margin)))
    return np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(2, 3))[
        :, :, ::stride, ::stride
    ]


def norm(state, name, x):
    scale = state[f"{name}.weight"] / np.sqrt(state[f"{name}.running_var"] + EPSILON)
    shift = state[f"{name}.bias"] - state[f"{name}.running_mean"] * scale
    return x * scale[:, None, None] + shift[:, None, None]


def relu6(x):
    return np.clip(x, 0, 6)
