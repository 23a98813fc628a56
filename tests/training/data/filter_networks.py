"""A network with the inputs and outputs of YuNet that takes pure red for a face, and says where each point would be."""

from pathlib import Path

import numpy as np
import pytest

POINTS = [(0.25, 0.5), (0.75, 0.5), (0.5, 0.625), (0.375, 0.75), (0.625, 0.75)]
"""Landmarks in sides of the face, in the order of the file: that person's right eye, which is left in the picture."""


def write_red_finder(path: Path) -> Path:
    """Faces are squares of 32 pixels on a grid of 32; their confidence is how red they are, less blue and green."""
    onnx = pytest.importorskip("onnx")
    helper, constant = onnx.helper, onnx.numpy_helper.from_array
    nodes, constants = [], []

    def add(operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def head(name: str, stride: int, pooled: str, weight: np.ndarray, bias: np.ndarray) -> None:
        made = f"{name}_{stride}"
        constants.extend(
            [
                constant(weight.reshape(-1, 3, 1, 1).astype(np.float32), f"{made}.weight"),
                constant(bias.astype(np.float32), f"{made}.bias"),
                constant(np.array([1, -1, len(bias)]), f"{made}.shape"),
            ]
        )
        maps = add("Conv", [pooled, f"{made}.weight", f"{made}.bias"], f"{made}.maps", kernel_shape=[1, 1])
        last = add("Transpose", [maps], f"{made}.last", perm=[0, 2, 3, 1])
        add("Reshape", [last, f"{made}.shape"], made)

    box, points = np.array([0.5, 0.5, 0, 0]), np.array(POINTS).ravel()
    for stride in (8, 16, 32):
        pooled = add("AveragePool", ["input"], f"pooled_{stride}", kernel_shape=[stride] * 2, strides=[stride] * 2)
        red = np.array([-1, -1, 1]) / 255 * (stride == 32)  # the picture comes as BGR
        for name in ("cls", "obj"):
            head(name, stride, pooled, red, np.zeros(1))
        head("bbox", stride, pooled, np.zeros((4, 3)), box)
        head("kps", stride, pooled, np.zeros((10, 3)), points)
    sizes = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    outputs = [
        helper.make_tensor_value_info(f"{name}_{stride}", onnx.TensorProto.FLOAT, [1, None, size])
        for name, size in sizes.items()
        for stride in (8, 16, 32)
    ]
    picture = helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [1, 3, "H", "W"])
    graph = helper.make_graph(nodes, "red", [picture], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8), path)
    return path
