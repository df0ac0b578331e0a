"""`fenliu settings`: every setting, its value and its meaning."""

from __future__ import annotations

from typing import Annotated

import typer

from schemas.settings import Settings, load_settings


def settings(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table of the documentation.")] = False,
) -> None:
    """List every FENLIU_* variable, its value here (secrets masked) and what it means."""
    if markdown:
        typer.echo(settings_markdown(), nl=False)
        return
    from rich.console import Console
    from rich.table import Table

    from worker.cli.cells import cell

    values = load_settings().masked()
    table = Table("variable", "value", "meaning")
    for name, field in Settings.model_fields.items():
        table.add_row(_variable(name), cell(values[name]), field.description or "")
    Console().print(table)


def settings_markdown() -> str:
    """`docs/settings.md`: every variable, its default and its meaning."""
    rows = [
        f"| `{_variable(name)}` | {f'`{field.default}`' if str(field.default) else ''} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "Made from the code by `fenliu settings --markdown`. `fenliu settings` shows the values in force.",
            "",
            "| Variable | Default | Meaning |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


def _variable(name: str) -> str:
    return f"FENLIU_{name.upper()}"
