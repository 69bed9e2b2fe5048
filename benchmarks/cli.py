"""The command line: one command per benchmark, all with the same options."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from .catalogue import BENCHMARKS
from .grid import Benchmark, Options

INTERRUPTED = 130  # exit status of a process ended by Ctrl-C

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help=__doc__, rich_markup_mode=None, pretty_exceptions_enable=False
)


@app.command("list")
def list_benchmarks() -> None:
    """Name every benchmark and the question it answers."""
    width = max(len(benchmark.name) for benchmark in BENCHMARKS)
    for benchmark in BENCHMARKS:
        extra = " (--images DIR)" * benchmark.needs_images + " (--kernel FILE)" * benchmark.needs_kernel
        typer.echo(f"{benchmark.name:{width}}  {benchmark.question}{extra}")


def command(benchmarks: tuple[Benchmark, ...], words: str) -> Callable[..., None]:
    """The command that runs these benchmarks, one after the other."""

    def run(
        quick: Annotated[bool, typer.Option("--quick", help="A smaller grid, for a first look.")] = False,
        size: Annotated[int | None, typer.Option(min=16, help="Side of the pictures, in pixels.")] = None,
        seeds: Annotated[int, typer.Option(min=1, help="Noise seeds per setting: means with 95 % intervals.")] = 1,
        only: Annotated[
            list[str] | None, typer.Option(help="Regular expression on the label of a cell; repeatable.")
        ] = None,
        device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
        jobs: Annotated[int, typer.Option(min=0, help="Cells at a time; 0: one per core. Timings run alone.")] = 0,
        threads: Annotated[int, typer.Option(min=1, help="Threads of one cell.")] = 1,
        images: Annotated[Path | None, typer.Option(help="Folder of pictures; default: scikit-image's own.")] = None,
        kernel: Annotated[Path | None, typer.Option(help="Blur kernel, .npy or picture (valid-blur).")] = None,
        out: Annotated[Path, typer.Option(help="Where results/<name>/ goes.")] = Path("results"),
        any_version: Annotated[
            bool, typer.Option("--any-version", help="Accept cached cells of older code; rows name their version.")
        ] = False,
    ) -> None:
        options = Options(
            quick, size, seeds, tuple(only or ()), device, jobs, threads, images, kernel, out, any_version
        )
        statuses = []
        for benchmark in benchmarks:
            needed = missing(benchmark, options)
            if needed and len(benchmarks) == 1:
                raise typer.BadParameter(f"{benchmark.name} needs {needed}.")
            typer.echo(f"{benchmark.name}: left out, needs {needed}" if needed else "", nl=bool(needed), err=True)
            statuses.append(0 if needed else execute(benchmark, options))
            if statuses[-1] == INTERRUPTED:
                break
        raise typer.Exit(max(statuses))

    run.__doc__ = words
    return run


def missing(benchmark: Benchmark, options: Options) -> str:
    """What the command line must still give."""
    if benchmark.needs_images and options.images is None:
        return "--images DIR, a folder with the pictures of the papers"
    if benchmark.needs_kernel and options.kernel is None:
        return "--kernel FILE, a .npy array or a picture of the blur"
    return ""


def execute(benchmark: Benchmark, options: Options) -> int:
    """Run, print the summary, say where the report is; the exit status."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(variable, str(options.threads))
    from .runner import NothingComputed, run

    try:
        finished = run(benchmark, options)
    except KeyboardInterrupt:
        typer.echo(
            f"\nInterrupted: finished cells are kept in {options.out / benchmark.name / 'cells'}; "
            "the same command continues.",
            err=True,
        )
        return INTERRUPTED
    except NothingComputed as error:
        typer.echo(f"{benchmark.name}: {error}", err=True)
        return 1
    except ValueError as error:
        typer.echo(f"{benchmark.name}: {error}", err=True)
        return 2
    typer.echo(finished.page.text)
    for verdict in finished.page.verdicts:
        typer.echo(f"{'holds' if verdict.holds else 'FAILS'}: {verdict.claim} {verdict.detail}".rstrip())
    for reason, count in Counter(text.strip().splitlines()[-1] for text in finished.failures.values()).items():
        typer.echo(f"failed: {count} cell(s) with {reason}; see failures in results.json", err=True)
    typer.echo(f"report: {finished.rows.folder / 'index.html'}")
    return 1 if finished.failures or not all(verdict.holds for verdict in finished.page.verdicts) else 0


for _benchmark in BENCHMARKS:
    app.command(_benchmark.name)(command((_benchmark,), _benchmark.question))
app.command("all")(command(BENCHMARKS, "Every benchmark whose files are given: hours."))
