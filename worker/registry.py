"""The `models` table: which model versions this Fenliu has had in production, and which it has now.

Model folders are `worker.inference.folder`'s.
"""

from __future__ import annotations

from sqlalchemy import Engine, func, update
from sqlalchemy.dialects.postgresql import insert

from schemas.database import translated
from schemas.manifest import Manifest
from schemas.names import ModelState
from schemas.tables import models


def register_production(engine: Engine, manifest: Manifest) -> None:
    """Say that this model version is in production, and that the other versions that were are retired.

    Raises DatabaseUnavailableError.
    """
    this = (models.c.name == manifest.name) & (models.c.version == manifest.version)
    row = insert(models).values(
        name=manifest.name,
        version=manifest.version,
        tasks=[task.value for task in manifest.tasks],
        state=ModelState.PRODUCTION.value,
        manifest=manifest.model_dump(mode="json"),
    )
    with translated(), engine.begin() as connection:
        connection.execute(
            update(models)
            .where(models.c.state == ModelState.PRODUCTION.value, ~this)
            .values(state=ModelState.RETIRED.value, state_since=func.now())
        )
        connection.execute(
            row.on_conflict_do_update(
                index_elements=["name", "version"],
                set_={"state": row.excluded.state, "manifest": row.excluded.manifest, "state_since": func.now()},
                where=models.c.state != ModelState.PRODUCTION.value,
            )
        )
