"""A person's text is erased while a real worker has it in the model."""

from __future__ import annotations

import signal
import subprocess

from schemas.names import Lane
from tests.acceptance.conftest import Place
from tests.conftest import ROOT, environment, fenliu_command
from tests.integration.stored import keys_with, tables_with
from tests.waiting import wait_for

SECRET = "我住在幸福路十二号"
LONG = "快递三天了还没有到，物流信息一直不更新，客服也不回复。" * 300


def test_erased_in_the_middle_of_a_batch_nothing_of_it_is_left(place: Place) -> None:
    # Given a worker that is stopped while it works on three long tickets, one of them a person's
    place.apply_sample_routes()
    worker = place.workers.start(FENLIU_CLAIM_IDLE_S="15", FENLIU_SLOTS="3")
    wait_for(lambda: bool(list(place.client.scan_iter(place.settings.keys.worker_prefix + "*"))), 60, "a worker")
    texts = [LONG, SECRET + LONG, LONG]
    place.add([{"id": str(n), "source": "shop", "kind": "ticket", "text": text} for n, text in enumerate(texts)])
    wait_for(lambda: place.left()[1] == len(texts), 30, "the worker has them")
    worker.send_signal(signal.SIGSTOP)
    assert (len(texts), 0) == (place.left()[1], place.one("SELECT count(*) FROM items"))
    assert [place.settings.keys.inbox(Lane.LIVE)] == keys_with(place.client, place.settings.keys, SECRET)
    # When it is erased, and the worker goes on
    with subprocess.Popen(
        fenliu_command("items", "delete", "shop", "1"),
        cwd=ROOT, env=environment(place.settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as erasing:  # fmt: skip
        assert erasing.stderr is not None
        assert "waiting for a worker that holds 1 of its entries\n" == erasing.stderr.readline()
        assert erasing.poll() is None
        worker.send_signal(signal.SIGCONT)
        said, wrong = erasing.communicate(timeout=60)
    # Then it was waited for, and nothing of the text is in any table or key; the others' are
    assert (0, "") == (erasing.returncode, wrong)
    assert said.startswith("erased: ")
    place.wait_until_empty(60)
    assert [("0",), ("2",)] == sorted(place.rows("SELECT item_id FROM items"))
    assert [] == tables_with(place.engine, SECRET)
    assert [] == keys_with(place.client, place.settings.keys, SECRET)
