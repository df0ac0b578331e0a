"""The section on Fenliu's peers: rates and ratios of one run, memory, single texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from benchmarks.pages.writing import plot, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HEAD = [
    "",
    "texts/s",
    "Fenliu's, times this",
    "processor time a text, times Fenliu's",
    "peak memory, MiB",
    "single text p50, ms",
    "p99",
    "same labels",
    "on texts",
]


def peers(result: dict[str, Any]) -> str:
    """With the shipped model."""
    return _section(result, "Peers", "peers")


def peers_base(result: dict[str, Any]) -> str:
    """With random weights of base size."""
    return _section(result, "Peers, on a model of base size", "peers_base")


def _section(result: Mapping[str, Any], title: str, plot_name: str) -> str:
    fenliu, others = result["fenliu"], result["peers"]
    own = [
        "**Fenliu**",
        f"**{fenliu['texts_per_s']:.0f}**",
        "1.00",
        "1.00",
        _memory(fenliu),
        *_single(fenliu),
        "",
        f"{result['texts']:,}",
    ]
    session = ["the session alone, texts in memory", f"{fenliu['session_alone_texts_per_s']:.0f}"]
    session += [f"{fenliu['share_of_session']:.2f}", *[""] * 5, f"{result['texts']:,}"]
    rows = [
        [
            peer["title"],
            f"{peer['texts_per_s']:.0f}",
            f"{peer['fenliu_times']:.2f}",
            f"{peer['processor_times']:.2f}",
            _memory(peer),
            *_single(peer),
            f"{peer['label_agreement']:.1%}",
            f"{peer['texts']:,}",
        ]
        for peer in others.values()
    ]
    random_weights = result["model"].startswith("random-")
    text = (
        f"## {title}\n\n"
        f"{result['model']} on the same distinct texts, cut at {result['most_tokens']} tokens, in one run: every peer "
        "has its turn between two of\nFenliu's, and is compared with those. From the first text sent to the last row "
        "committed; infinity-emb and transformers\nwrite no rows and are done with the reply. Processor time is that "
        "of a peer's own processes, not of Redis, Postgres and\ncallers. Memory is the sum of every process' peak, in "
        "brackets what they hold afterwards with shared pages counted once.\nSingle texts are sent one after the "
        "other, nothing else running, and replied to after the commit."
    )
    if random_weights:
        text += " The weights are random: PyTorch's are others, and its labels mean nothing."
    parts = [text, table(_HEAD, [own, session, *rows]), _plot(result, plot_name), _notes(others)]
    if result["skipped"]:
        lines = (f"- {name}: {' '.join(reason.split())[:300]}" for name, reason in result["skipped"].items())
        parts.append("Left out:\n\n" + "\n".join(lines))
    return "\n\n".join(part for part in parts if part)


def _memory(row: Mapping[str, Any]) -> str:
    shared = f" ({row['pss_mib']:.0f})" if row["pss_mib"] is not None else ""
    return f"{row['peak_rss_mib']:.0f}{shared}"


def _single(row: Mapping[str, Any]) -> list[str]:
    single = row["single_ms"]
    return [f"{single['p50']:.1f}", f"{single['p99']:.1f}"] if single else ["", ""]


def _notes(others: Mapping[str, Any]) -> str:
    lines = []
    for peer in others.values():
        versions = ", ".join(f"{name} {version}" for name, version in peer["versions"].items())
        part = f" {peer['single_ms']['texts']} single texts." if peer["single_ms"] else ""
        lines.append(f"- {peer['title']}: {peer['how']}.{part} {versions}.")
    return "How each is set up:\n\n" + "\n".join(lines) if lines else ""


def _plot(result: Mapping[str, Any], name: str) -> str:
    fenliu = result["fenliu"]
    bars = {
        "the session alone": fenliu["session_alone_texts_per_s"],
        "Fenliu": fenliu["texts_per_s"],
        **{peer["title"]: peer["texts_per_s"] for peer in result["peers"].values()},
    }

    def draw(axes: Axes) -> None:
        colours = ["tab:gray", "tab:blue", *["tab:orange"] * len(result["peers"])]
        drawn = axes.barh(list(bars), list(bars.values()), color=colours)
        axes.bar_label(drawn, fmt="%.0f", padding=3)
        axes.invert_yaxis()
        axes.set_xlabel("texts/s")
        axes.margins(x=0.1)
        axes.grid(visible=False, axis="y")

    return plot(name, "Texts per second of Fenliu and its peers", draw)
