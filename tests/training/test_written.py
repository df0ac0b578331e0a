"""The texts written for training are whole, and none of them is among those kept for measuring."""

from pathlib import Path

from training import dev_sets, written

SAMPLE = Path(__file__).parents[2] / "producers" / "sample"


def test_comments_take_a_side_and_both_sides_are_as_many() -> None:
    comments = written.comments()
    positive = sum(comment.label for comment in comments)
    assert 0.45 < positive / len(comments) < 0.55
    assert {"train"} == {comment.split for comment in comments}


def test_every_label_of_a_set_has_texts() -> None:
    for one in written.routing_sets():
        counts = [one.right.count(number) for number in range(len(one.labels.labels))]
        assert min(counts) >= 3, one.name


def test_nothing_kept_for_measuring_is_trained_on() -> None:
    trained = {comment.text for comment in written.comments()}
    trained |= {text for one in written.routing_sets() for text in one.texts}
    kept = {*dev_sets.comments_dev()[0], *dev_sets.sample_tickets(SAMPLE).texts}
    kept |= {text for one in dev_sets.routing_dev() for text in one.texts}
    assert set() == trained & kept
