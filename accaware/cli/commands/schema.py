"""``accaware schema``: what a config may hold, for editors."""

from __future__ import annotations

import typer


def command() -> None:
    """Print the JSON Schema (draft 2020-12) of a config.

    \b
    An editor completes and explains a config that names it:
      accaware schema > accaware.schema.json
      {"$schema": "./accaware.schema.json", ...}
    """
    import json

    from accaware.config.schema.json_schema import bundled

    typer.echo(json.dumps(bundled(), indent=2))
