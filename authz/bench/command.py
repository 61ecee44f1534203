"""The command `authz bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="Less of it, in under a minute.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write every round's figures, and the ratios.")
    ] = None,
    svg: Annotated[Path | None, typer.Option(help="Draw a picture of it.")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Put the tables between the markers of this page.")
    ] = None,
    credentials: Annotated[
        str, typer.Option(help="Sizes of the store, with commas between; not with --quick.")
    ] = "1,1000,10000",
    rounds: Annotated[
        int | None, typer.Option(min=1, max=100, help="How often.", show_default="5; quick: 2")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.05, max=60, help="Each for how long.", show_default="1.5; quick: 0.5"),
    ] = None,
) -> None:
    """Measure what a Check costs on this machine, beside what does nothing and beside Envoy.

    In one run and in turn: a bare grpcio handler, what does nothing on each transport, authz with
    each scheme, all that through Envoy, and Envoy's own filters for the same credentials. CPU time
    a Check, Checks a second, latency at 50 % and at 85 % of that. Compare the ratios; absolute
    times are this machine's, at this moment.

    Every answer is checked: one that is wrong ends it with exit status 1. Needs Linux and the extra
    `stack`: pip install 'authz[stack]'. What the figures mean: docs/benchmark.md.
    """
    from authz.bench.run import BenchOptions
    from authz.bench.run import bench as run

    options = BenchOptions(
        quick=quick,
        json=json_file,
        svg=svg,
        markdown=markdown,
        credentials=credentials,
        rounds=rounds,
        seconds=seconds,
    )
    raise typer.Exit(run(options))
