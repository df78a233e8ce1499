"""Puts the answering together: a model with the extractive answer behind it, or the extractive answer alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kernel import log
from kernel.settings import Settings
from kernel.types import Json
from pipeline.answering.extractive import Embed, answer_from_passages
from pipeline.answering.grounded import answer_with_model
from pipeline.llm.protocol import ChatModel, ModelFailure

_log = log.get("answer")


class Answering:
    """`pipeline.machine.Answer`, and the model's client to be closed in the end."""

    def __init__(self, embedder: Embed, *, threshold: float, memory: int, model: ChatModel | None = None) -> None:
        self._embedder = embedder
        self._threshold = threshold
        self._memory = memory
        self._model = model

    async def __call__(
        self, question: str, history: Sequence[Json], hits: Sequence[Json], emit: Callable[[str], None]
    ) -> Json:
        """{"text", "citations", "grounded", "unknown", "score", "model", "fallback_used"}.

        Emitted pieces are provisional, the returned text is what counts. A model's failure is never raised: the
        answer is then extractive, with `fallback_used` and, as in the log, `service` and `reason`.
        """
        if self._model is None:
            answer = await self._extract(question, history, hits)
            emit(answer["text"])
            return answer
        begun: list[str] = []

        def hear(piece: str) -> None:
            begun.append(piece)
            emit(piece)

        try:
            answer = await answer_with_model(self._model, question, history, hits, hear, memory=self._memory)
            return {**answer, "score": _best(hits)}
        except ModelFailure as failure:
            failed = {"service": self._model.service, "reason": failure.reason}
            _log.warning("answer.fallback", **failed, detail=failure.detail, begun=bool(begun))
        answer = await self._extract(question, history, hits)
        if not begun:
            emit(answer["text"])
        return {**answer, "fallback_used": True, **failed}

    async def close(self) -> None:
        if self._model is not None:
            await self._model.close()

    async def _extract(self, question: str, history: Sequence[Json], hits: Sequence[Json]) -> Json:
        return await answer_from_passages(self._embedder, question, history, hits, self._threshold)


def build_answer(settings: Settings, embedder: Embed) -> Answering:
    """With OPENAI_API_KEY a model answers, without it the passages speak for themselves. Close it in the end."""
    return Answering(
        embedder,
        threshold=settings.rag_similarity_threshold,
        memory=settings.rag_memory_messages,
        model=_model(settings),
    )


def _model(settings: Settings) -> ChatModel | None:
    if not settings.openai_api_key:
        return None
    from pipeline.llm.openai_chat import OpenAIChat  # a large import that few processes need

    return OpenAIChat(settings)


def _best(hits: Sequence[Json]) -> float:
    """The highest cosine among the hits, 0 when none is known."""
    known = [float(c) for hit in hits if isinstance(c := hit.get("dense_score"), (int, float))]
    return round(max(known, default=0.0), 4)
