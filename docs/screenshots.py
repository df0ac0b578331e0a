"""Takes the pictures of the web pages that the docs show: `make screenshots`.

A stack of its own in a temporary home works through the shipped sample, as if it had been written over four weeks;
some entries are wrong, some results are reviewed by their known labels, quality is measured. Then Debian's Chromium
opens the real pages of `fenliu serve`. It needs a font for Chinese, such as fonts-wqy-zenhei.
"""

from __future__ import annotations

import csv
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import redis

from schemas.database import make_engine
from schemas.errors import SetupError
from schemas.names import Lane, Task
from schemas.settings import Settings
from worker.demo import SAMPLE, demo_home, demo_stack, watch
from worker.desk import review_queue, reviews
from worker.desk.review_pick import Which

DOCS = Path(__file__).resolve().parent
PICTURES = DOCS / "screenshots"
BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
SOURCES = ("商城", "App", "论坛")
DAYS = 28
REVIEWED = 90
LEAST_CHARS, MOST_CHARS = 30, 150
WRONG: tuple[dict[str, str], ...] = (
    {"id": "9001", "text": ""},
    {"id": "9002", "text": "发票抬头写错了，能重开吗？", "kind": "tickets"},
    {"text": "快递三天没动静了"},
    {"id": "9004", "text": "客服态度很好", "created_at": "2026-13-40"},
    {"id": "9005", "text": "尺码偏小，想换大一号", "kind": "ticket", "route_set": "夏季"},
    {"id": "9006", "text": "　"},
    {"id": "9007", "text": "屏幕有一条亮线", "meta": "{"},
)
TEXT = "包裹从武汉到了长沙又回武汉，来回折腾两趟了，客服只会说“请耐心等待”，我现在只想把钱退回来。"
LABELS = "物流: 快递、配送、包裹的问题\n退款: 想要退钱\n客服态度: 对客服不满\n商品质量: 东西坏了或与描述不符"


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of one page. `act` does on it what a person would do first; `until` is what it then waits for."""

    name: str
    path: str
    until: str = "main h1"
    act: Callable[[Any], None] | None = None
    locale: str = "zh-CN"
    scheme: str = "light"
    width: int = 1280
    height: int = 860


def ask_labels(page: Any) -> None:
    """Type a text and labels of one's own, and press the button."""
    page.locator("#mode-labels").check()
    page.locator("#text").fill(TEXT)
    page.locator("#labels").fill(LABELS)
    page.locator("button.run").first.click()


def ask_sentiment(page: Any) -> None:
    """Type a text and press the button."""
    page.locator("#text").fill("物流很快，包装也仔细，就是说明书只有英文。")
    page.locator("button.run").first.click()


def skip_long_texts(page: Any) -> None:
    """Take an item, and skip until there is one that fits the picture."""
    text = page.locator("#desk .text").first
    given = ""
    while not LEAST_CHARS <= len(given) <= MOST_CHARS or max(given) > "\uffff":  # few machines have a font for emoji
        if given:
            page.keyboard.press("s")
            page.wait_for_function("given => document.querySelector('#desk .text')?.innerText !== given", arg=given)
        if not text.is_visible():
            page.keyboard.press("n")
        given = text.inner_text()


TAKEN = (
    Picture("try", "/try", "#result .bar", ask_labels, height=960),
    Picture("try-narrow", "/try", "#result .bar", ask_sentiment, width=390, height=960),
    Picture("dashboard", "/dashboard?range=30d", ".plot canvas", height=1100),
    Picture("dashboard-dark", "/dashboard?range=30d", ".plot canvas", locale="en-GB", scheme="dark", height=1100),
    Picture("review", "/review?task=routing", "#desk .text", skip_long_texts),
    Picture("quality", "/quality", "main h1", height=1000),
    Picture("dead-letters", "/dead-letters", "main table"),
)


def main() -> None:
    """Take every picture, or those whose names are given."""
    wanted = [picture for picture in TAKEN if not sys.argv[1:] or picture.name in sys.argv[1:]]
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        sys.exit("a Chromium is needed: apt-get install chromium fonts-wqy-zenhei")
    PICTURES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="fl-") as folder,
        demo_home(Path(folder)) as home,
        demo_stack(home) as settings,
    ):
        say("classifying the sample")
        fill(home, settings)
        say("reviewing and measuring")
        review(settings.model_copy(update={"review_random_share": 0.5}))  # random ones are what is measured
        fenliu(home, "quality", "evaluate")
        with serving(home) as address:
            take(browser, address, wanted)


def fill(home: Path, settings: Settings) -> None:
    """Enqueue the sample and some wrong entries; wait until all of it has its rows."""
    fenliu(home, "routes", "apply", str(SAMPLE / "routes.yaml"), "--by", "王芳")
    chance = random.Random(7)  # noqa: S311 - the same times and sources whenever pictures are taken
    items = 0
    for kind, sources in (("comment", SOURCES), ("ticket", ("工单",))):
        with (SAMPLE / f"{kind}s.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        copy = home / f"{kind}s.csv"
        with copy.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "text", "source", "created_at"])
            for row in rows:
                source = chance.choices(sources, range(len(sources), 0, -1))[0]
                writer.writerow([row["id"], row["text"], source, written_at(chance).isoformat()])
        fenliu(home, "enqueue", str(copy), "--kind", kind)
        items += len(rows)
    with redis.Redis.from_url(settings.redis_url) as server:
        for wrong in WRONG:
            server.xadd(settings.keys.inbox(Lane.LIVE), {"source": "老系统", **wrong})
    for _ in watch(settings, items):
        pass


def written_at(chance: random.Random) -> datetime:
    """A time in the last weeks: in the day rather than at night, and more of late."""
    days = DAYS * (1 - chance.random() ** 0.8)
    at = datetime.now(UTC) - timedelta(days=days)
    hour = min(23.9, max(0.0, chance.gauss(15, 4)))  # by the clock of China
    return min(at, at.replace(hour=0, minute=0) + timedelta(hours=hour - 8))


def review(settings: Settings) -> None:
    """Decide uncertain and random items by the sample's known labels."""
    known: dict[str, str] = {}
    for name, column in (("comments", "label"), ("tickets", "team")):
        with (SAMPLE / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            known |= {row["id"]: row[column] for row in csv.DictReader(file)}
    engine = make_engine(settings)
    chance = random.Random(3)  # noqa: S311 - the same choice whenever pictures are taken
    for task, count in ((Task.SENTIMENT, 2 * REVIEWED), (Task.ROUTING, REVIEWED // 2)):
        for _ in range(count):
            shown = review_queue.claim(engine, settings, "李雷", Which(task), chance)
            if shown is None:
                break
            label = known[shown.item_id]
            if label in shown.labels:
                reviews.decide(engine, shown.id, "李雷", label)
            else:
                reviews.skip(engine, shown.id, "李雷")
    engine.dispose()


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """The address of a `fenliu serve` on what is in `home`."""
    log = home / "serve.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command("serve", "--port", "0"), env=environment(home), stdout=file, stderr=file)  # noqa: S603
    try:
        while (found := re.search(r"serving on (http://\S+),", log.read_text(encoding="utf-8"))) is None:
            if process.poll() is not None:
                raise SetupError(log.read_text(encoding="utf-8"))
            time.sleep(0.1)
        yield found[1]
    finally:
        process.terminate()
        process.wait()


def take(browser: str, address: str, pictures: Sequence[Picture]) -> None:
    """Open the pages and keep what they look like."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-dev-shm-usage"])
        for picture in pictures:
            size: Any = {"width": picture.width, "height": picture.height}
            scheme: Any = picture.scheme
            page = chromium.new_page(
                base_url=address, locale=picture.locale, color_scheme=scheme, viewport=size, reduced_motion="reduce",
                timezone_id="Asia/Shanghai",
            )  # fmt: skip
            page.goto(picture.path)
            if picture.act:
                picture.act(page)
            page.locator(picture.until).first.wait_for()
            page.wait_for_load_state("networkidle")
            page.evaluate("document.activeElement?.blur(); scrollTo(0, 0)")
            file = PICTURES / f"{picture.name}.png"
            page.screenshot(path=file, animations="disabled")
            say(f"{file.relative_to(DOCS.parent)}: {file.stat().st_size // 1000} kB")
            page.close()
        chromium.close()


def fenliu(home: Path, *arguments: str) -> None:
    """Run a command on the stack in `home`. Raises SetupError with what it said if it fails."""
    done = subprocess.run(command(*arguments), env=environment(home), capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SetupError(f"fenliu {arguments[0]} failed: {done.stdout}{done.stderr}")


def command(*arguments: str) -> list[str]:
    """`fenliu …` of this very environment."""
    return [sys.executable, "-m", "fenliu", *arguments]


def environment(home: Path) -> dict[str, str]:
    """Of a command that uses the stack in `home`, whatever FENLIU_* variables say here."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FENLIU_")}
    return kept | {"FENLIU_HOME": str(home), "PYTHONPATH": str(DOCS.parent), "PYTHONUNBUFFERED": "1"}


def say(line: str) -> None:
    """Tell how far it is."""
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
