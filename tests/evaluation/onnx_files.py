"""Small real ONNX networks, made here."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_network(
    path: Path,
    side: int = 112,
    out: int = 12,
    *,
    batch: int | str = "N",
    channels: int = 3,
    flat: bool = True,
    kind: int = TensorProto.FLOAT,
    seed: int = 0,
) -> Path:
    """[batch, channels, side, side] -> means of 4 x 4 cells -> where `flat`, one random linear layer, [batch, out]."""
    cells = 4
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(channels * cells * cells, out)).astype(np.float32)
    if kind != TensorProto.FLOAT:
        weight = weight.astype(np.float16)
    pool = helper.make_node(
        "AveragePool", ["x"], ["pooled"], kernel_shape=[side // cells] * 2, strides=[side // cells] * 2
    )
    nodes = [
        pool,
        helper.make_node("Flatten", ["pooled"], ["cells"]),
        helper.make_node("MatMul", ["cells", "w"], ["y"]),
    ]
    shape = [batch, out] if flat else [batch, channels, cells, cells]
    graph = helper.make_graph(
        nodes if flat else [pool],
        "small",
        [helper.make_tensor_value_info("x", kind, [batch, channels, side, side])],
        [helper.make_tensor_value_info("y" if flat else "pooled", kind, shape)],
        [numpy_helper.from_array(weight, "w")] if flat else [],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def plain_outputs(crops: np.ndarray, out: int = 12, seed: int = 0) -> np.ndarray:
    """What the network says of uint8 crops [N, S, S, 3], in float64, by numpy."""
    values = (crops.astype(np.float64) - 127.5) / 127.5
    count, side = crops.shape[:2]
    cells = values.reshape(count, 4, side // 4, 4, side // 4, 3).mean(axis=(2, 4)) if side % 4 == 0 else None
    assert cells is not None
    weight = np.random.default_rng(seed).normal(size=(48, out)).astype(np.float32)
    return cells.transpose(0, 3, 1, 2).reshape(count, -1) @ weight
