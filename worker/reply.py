"""What a caller who gave `reply_to` is told. Pure; sending is `worker.inbox`'s."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from schemas.messages import RawEntry, encode_reply, reply_to_of
from schemas.names import Keys, ReplyStatus
from worker.inbox import Reply
from worker.outcome import Dead, Done, Outcome, Prediction


def replies_for(
    entries: Sequence[RawEntry], outcomes: Sequence[Outcome], statuses: Sequence[ReplyStatus], keys: Keys
) -> Iterator[Reply]:
    """One reply for each entry that asks for one, in order."""
    for raw, outcome, status in zip(entries, outcomes, statuses, strict=True):
        if b"reply_to" not in raw.fields:
            continue
        stream = reply_to_of(raw, keys)
        if stream is not None:
            yield Reply(stream, encode_reply(raw.entry_id, _identity(raw, outcome), status, _result(outcome)))


def _identity(raw: RawEntry, outcome: Outcome) -> tuple[str, str]:
    if isinstance(outcome, Dead):
        return outcome.identity or ("", raw.fields.get(b"id", b"").decode(errors="replace")[:200])
    return outcome.entry.source, outcome.entry.id


def _result(outcome: Outcome) -> dict[str, object]:
    if isinstance(outcome, Dead):
        return {"code": outcome.code.value, "field": outcome.field, "message": outcome.message}
    if not isinstance(outcome, Done):
        return {}
    result: dict[str, object] = {prediction.task.value: _task_result(prediction) for prediction in outcome.predictions}
    if outcome.assignment:
        result["assignment"] = {"team": outcome.assignment.team, "status": outcome.assignment.status.value}
    return result


def _task_result(prediction: Prediction) -> dict[str, object]:
    result: dict[str, object] = {
        "label": prediction.label,
        "score": prediction.score,
        "scores": dict(prediction.scores),
        "model": prediction.model,
        "model_version": prediction.model_version,
        "stage": prediction.stage.value,
        "infer_ms": round(prediction.infer_ms, 3),
    }
    if prediction.votes:
        result["windows"] = [{"start": vote.start, "end": vote.end, "scores": vote.scores} for vote in prediction.votes]
    return result
