"""The front door: one Typer app that loads each package's commands only when they are asked for."""
