"""What a new version of a route set would change on past tickets. Nothing is queued or written.

Past tickets come from `worker.desk.past_tickets`, scores from the engine that workers use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.errors import InferenceError, LabelsError
from schemas.names import TRIAGE_TEAM
from schemas.routes import RouteSet, Rule, first_rule
from schemas.settings import Settings
from worker.desk.past_tickets import PastTicket
from worker.outcome import Assignment
from worker.router import decide, decide_by

if TYPE_CHECKING:
    from worker.inference.classifier import Classifier, PreparedLabels

MOST_EXAMPLES = 10
_EXAMPLES_A_MOVE = 2


@dataclass(frozen=True, slots=True)
class Tried:
    """One ticket and what the new version makes of it. `rule`: the one that decided, if one did."""

    past: PastTicket
    now: Assignment
    rule: Rule | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of `tickets` that a person decided: how many the stored result and the new version put where the person did."""

    tickets: int
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Trial:
    """What would change. Every ticket is in one of the counts from `stay` to `failed`.

    `move`: from one team to another. `overridden`: stay where a person put them, whatever the version says. `failed`:
    the model failed on their text. `by_rule`: decided by a rule. `moves`: (from, to) → tickets, most first. `teams`:
    team → (tickets before, after), with those that people put there. `made_by`: model of the stored result → tickets.
    """

    stay: int
    move: int
    into_triage: int
    out_of_triage: int
    overridden: int
    failed: int
    by_rule: int
    moves: dict[tuple[str, str], int]
    teams: dict[str, tuple[int, int]]
    people: Agreement
    made_by: dict[str, int]
    versions: dict[int, int]
    examples: tuple[Tried, ...]

    @property
    def tickets(self) -> int:
        """All that were looked at."""
        return self.stay + self.move + self.into_triage + self.out_of_triage + self.overridden + self.failed


def try_out(
    route_set: RouteSet,
    past: Sequence[PastTicket],
    classifier: Classifier,
    settings: Settings,
    on_done: Callable[[int], None] = lambda _: None,
) -> Trial:
    """Decide `past` by `route_set`, as a worker with `classifier` in production and these settings would.

    `on_done` is told now and then how many tickets are done. Raises LabelsError for labels that the model cannot read
    or of which none is enabled, and ModelError for a model that does not route.
    """
    if not route_set.scored.labels:
        raise LabelsError(f"route set {route_set.name!r} has no enabled team; nothing can be routed to it")
    labels = classifier.prepare(route_set.scored)
    tried: list[Tried | None] = []
    for chunk in _chunks(past, settings):
        tried += _decided(chunk, route_set, classifier, labels, settings)
        on_done(len(tried))
    return _summed(past, tried, route_set)


def _chunks(past: Sequence[PastTicket], settings: Settings) -> Iterator[list[PastTicket]]:
    """As a slot takes them: at most so many tickets, and so many characters but for a single one."""
    chunk: list[PastTicket] = []
    n_chars = 0
    for each in past:
        n_chars += len(each.facts.text)
        if chunk and (len(chunk) == settings.batch_entries or n_chars > settings.batch_chars):
            yield chunk
            chunk, n_chars = [], len(each.facts.text)
        chunk.append(each)
    if chunk:
        yield chunk


def _decided(
    chunk: Sequence[PastTicket],
    route_set: RouteSet,
    classifier: Classifier,
    labels: PreparedLabels,
    settings: Settings,
) -> list[Tried | None]:
    """What becomes of each; None where the model failed."""
    rules = [first_rule(route_set.rules, each.facts) for each in chunk]
    texts = [each.facts.text for each, rule in zip(chunk, rules, strict=True) if rule is None]
    scores = iter(_scores(classifier, texts, labels))
    tried: list[Tried | None] = []
    for each, rule in zip(chunk, rules, strict=True):
        if rule is not None:
            tried.append(Tried(each, decide_by(rule), rule))
            continue
        found = next(scores)
        threshold, margin = settings.triage_threshold, settings.triage_margin
        tried.append(Tried(each, decide(found, route_set.labels, threshold, margin), None) if found else None)
    return tried


def _scores(classifier: Classifier, texts: Sequence[str], labels: PreparedLabels) -> list[dict[str, float] | None]:
    """Scores of each text; when the model fails, one by one, and None for the text that breaks it."""
    from worker.inference.classifier import Job  # brings ONNX Runtime, which the rest of the desk does without

    try:
        results = classifier.classify([Job(text, sentiment=False, labels=labels) for text in texts])
    except InferenceError:
        if len(texts) == 1:
            return [None]
        return [scores for text in texts for scores in _scores(classifier, [text], labels)]
    return [result.routing.scores if result.routing else None for result in results]


def _summed(past: Sequence[PastTicket], tried: Sequence[Tried | None], route_set: RouteSet) -> Trial:
    known = [each for each in tried if each is not None]
    free = [each for each in known if not each.past.overridden]
    changed = [each for each in free if each.past.team != each.now.team]
    moves = Counter((each.past.team, each.now.team) for each in changed)
    before, after = Counter(each.past.team for each in known), Counter(each.now.team for each in free)
    after.update(each.past.team for each in known if each.past.overridden)
    teams = [*route_set.labels.names, TRIAGE_TEAM]
    teams += sorted((before.keys() | after.keys()) - set(teams))
    judged = [each for each in known if each.past.by_person is not None]
    into_triage = sum(each.now.team == TRIAGE_TEAM for each in changed)
    out_of_triage = sum(each.past.team == TRIAGE_TEAM for each in changed)
    return Trial(
        stay=len(free) - len(changed),
        move=len(changed) - into_triage - out_of_triage,
        into_triage=into_triage,
        out_of_triage=out_of_triage,
        overridden=len(known) - len(free),
        failed=len(past) - len(known),
        by_rule=sum(each.rule is not None for each in known),
        moves=dict(moves.most_common()),
        teams={team: (before[team], after[team]) for team in teams},
        people=Agreement(
            len(judged),
            sum(each.past.by_model == each.past.by_person for each in judged),
            sum(each.now.team == each.past.by_person for each in judged),
        ),
        made_by=dict(Counter(each.model for each in past).most_common()),
        versions=dict(Counter(each.version for each in past).most_common()),
        examples=_examples(changed, moves),
    )


def _examples(changed: Sequence[Tried], moves: Counter[tuple[str, str]]) -> tuple[Tried, ...]:
    """The newest of each move, of the commonest moves."""
    examples: list[Tried] = []
    for move, _ in moves.most_common():
        of_move = (each for each in changed if (each.past.team, each.now.team) == move)
        examples += [each for each, _ in zip(of_move, range(_EXAMPLES_A_MOVE), strict=False)]
    return tuple(examples[:MOST_EXAMPLES])
