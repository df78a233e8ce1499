"""all-MiniLM-L6-v2 on ONNX Runtime: text in, unit vectors out, in the calling thread."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import structlog
from tokenizers import Encoding, Tokenizer

from pipeline.embedding.minilm import (
    DIMENSION,
    MAX_TOKENS,
    MODEL,
    ModelError,
    Precision,
    graph_bytes,
    graph_file,
    model_directory,
)

_CHARACTERS_READ = 16_384
"""256 tokens seldom span 2,000 characters; the rest of a huge text would only be tokenised to be thrown away."""

_TOKENS_A_RUN = 512
"""Time a token does not fall any more with larger runs, while memory and the wait of others grow."""

_WARNING = 3
_log = structlog.get_logger(__name__)


class OnnxModel:
    """Encoder (see `batcher.Encoder`) over one inference session. Safe to call from several threads."""

    model = MODEL
    dimension = DIMENSION

    def __init__(self, directory: Path, *, precision: Precision = "fp32", threads: int = 2) -> None:
        """Load the graph kept in `directory`, building it at first use.

        Where the directory cannot be written the graph is kept in memory only, with a warning.
        Raises ModelError if the model package is missing or its weights are not the pinned ones.
        """
        tokenizer = model_directory() / "tokenizer.json"
        try:
            self._tokenizer = Tokenizer.from_file(str(tokenizer))
        except Exception as error:  # the binding raises bare Exception
            raise ModelError(f"the tokenizer of {MODEL} cannot be read: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._session = ort.InferenceSession(
            _graph(directory, precision), _options(threads), providers=["CPUExecutionProvider"]
        )

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Float32 (len(texts), 384), rows of length one, in the order of `texts`. Any string is accepted."""
        encodings = self._tokenizer.encode_batch_fast([readable(text) for text in texts])
        vectors = np.empty((len(texts), DIMENSION), dtype=np.float32)
        for rows in _runs([len(encoding.ids) for encoding in encodings]):
            (vectors[rows],) = self._session.run(None, _padded([encodings[row] for row in rows]))
        return vectors


def readable(text: str) -> str:
    """What the tokenizer is given: a bounded prefix, with unpaired surrogates replaced by `?`."""
    return text[:_CHARACTERS_READ].encode("utf-8", "replace").decode("utf-8")


def _graph(directory: Path, precision: Precision) -> str | bytes:
    try:
        return str(graph_file(directory, precision))
    except OSError as error:
        _log.warning("embedding_graph_not_kept", directory=str(directory), error=str(error))
        return graph_bytes(precision)


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # the arena never gives back what the longest batch once took
    options.log_severity_level = _WARNING
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the event loop wants the core
    return options


def _runs(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Row numbers, longest rows first, cut so that a padded run stays within `_TOKENS_A_RUN`."""
    rows = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    start = 0
    while start < len(rows):
        size = max(1, _TOKENS_A_RUN // lengths[rows[start]])
        yield rows[start : start + size]
        start += size


def _padded(encodings: Sequence[Encoding]) -> dict[str, npt.NDArray[np.int32]]:
    ids = np.zeros((len(encodings), max(len(encoding.ids) for encoding in encodings)), dtype=np.int32)
    mask = np.zeros_like(ids)
    for row, encoding in enumerate(encodings):
        ids[row, : len(encoding.ids)] = encoding.ids
        mask[row, : len(encoding.ids)] = 1
    return {"ids": ids, "mask": mask}
