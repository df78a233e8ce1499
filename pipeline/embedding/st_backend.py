"""Any other embedding model, through the optional extra `sentence-transformers`."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.embedding.minilm import ModelError
from pipeline.embedding.onnx_backend import readable


class SentenceTransformerModel:
    """Encoder (see `batcher.Encoder`) over a SentenceTransformer: a folder or a name on the model hub."""

    def __init__(self, model: str, *, threads: int = 1) -> None:
        """Raises ModelError if the extra is not installed or the model cannot be loaded."""
        try:
            import torch
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise ModelError(
                f"the embedding model {model!r} needs the extra: pip install 'parley[sentence-transformers]'"
            ) from error
        torch.set_num_threads(threads)
        try:
            self._transformer = SentenceTransformer(model, device="cpu")
        except (OSError, ValueError) as error:
            raise ModelError(f"the embedding model {model!r} cannot be loaded: {error}") from error
        self.model = model
        self.dimension = _dimension(self._transformer.get_embedding_dimension(), model)

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Float32 (len(texts), dimension), rows of length one, in the order of `texts`."""
        vectors = self._transformer.encode(
            [readable(text) for text in texts],
            batch_size=16,
            normalize_embeddings=True,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        return np.asarray(vectors, dtype=np.float32).reshape(len(texts), self.dimension)


def _dimension(dimension: int | None, model: str) -> int:
    if dimension is None:
        raise ModelError(f"the embedding model {model!r} does not say how many dimensions it has")
    return dimension
