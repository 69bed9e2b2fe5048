"""The command line: one command per benchmark, all with the same options."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import torch
import typer

from . import papers
from .catalogue import BENCHMARKS
from .gate import gate
from .grid import Benchmark, Options
from .pictures import absent
from .runner import Finished, NothingComputed, run

INTERRUPTED = 130  # exit status of a process ended by Ctrl-C
Page = Callable[[Mapping[str, Finished | None], Options], Path]  # writes a report and says where

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help=__doc__, rich_markup_mode=None, pretty_exceptions_enable=False
)


@app.command("list")
def list_benchmarks() -> None:
    """Name every benchmark and the question it answers."""
    width = max(len(benchmark.name) for benchmark in BENCHMARKS)
    for benchmark in BENCHMARKS:
        typer.echo(f"{benchmark.name:{width}}  {benchmark.question}")


@app.command("gate")
def regression_gate(
    update: Annotated[bool, typer.Option("--update", help="Make what is measured the reference.")] = False,
) -> None:
    """Is any of a small set of reconstructions worse or slower than benchmarks/reference.json says?"""
    status, text = gate(renew=update)
    typer.echo(text)
    raise typer.Exit(status)


def present(device: str) -> str:
    """The device, if it is there."""
    if device != "cpu" and not (device.startswith("cuda") and torch.cuda.is_available()):
        raise typer.BadParameter(f"expected cpu, or cuda where torch finds a GPU, got {device!r}.")
    return device


def lacking(benchmarks: tuple[Benchmark, ...], images: Path | None) -> str:
    """Which of the papers' pictures the folder lacks, in words."""
    wanted = dict.fromkeys(name for benchmark in benchmarks for name in benchmark.pictures)
    missing = [] if images is None else absent(wanted, images)
    if not missing:
        return ""
    if len(missing) == len(wanted):
        return f"{images} has none of the papers' pictures: its own stand in their places, and nothing is compared."
    return f"{images} has no {', '.join(missing)}: their cells are left out."


def command(benchmarks: tuple[Benchmark, ...], words: str, page: Page | None = None) -> Callable[..., None]:
    """The command that runs these benchmarks, one after the other, and then writes a page about all of them."""

    def run(
        quick: Annotated[bool, typer.Option("--quick", help="A smaller grid, for a first look.")] = False,
        size: Annotated[int | None, typer.Option(min=16, help="Side of the pictures, in pixels.")] = None,
        seeds: Annotated[int, typer.Option(min=1, help="Noise seeds per setting: means with 95 % intervals.")] = 1,
        only: Annotated[
            list[str] | None, typer.Option(help="Regular expression on the label of a cell; repeatable.")
        ] = None,
        device: Annotated[str, typer.Option(help="cpu or cuda.", callback=present)] = "cpu",
        jobs: Annotated[int, typer.Option(min=0, help="Cells at a time; 0: one per core. Timings run alone.")] = 0,
        threads: Annotated[int, typer.Option(min=1, help="Threads of one cell.")] = 1,
        images: Annotated[
            Path | None,
            typer.Option(help="Folder of pictures; default: scikit-image's own.", exists=True, file_okay=False),
        ] = None,
        kernel: Annotated[Path | None, typer.Option(help="Blur kernel, .npy or picture (valid-blur).")] = None,
        out: Annotated[Path, typer.Option(help="Where results/<name>/ goes.")] = Path("results"),
        any_version: Annotated[
            bool, typer.Option("--any-version", help="Accept cached cells of older code; rows name their version.")
        ] = False,
        scheduler: Annotated[
            str | None,
            typer.Option(help="Dask scheduler, tcp://host:8786, whose workers run the cells; timings run here."),
        ] = None,
    ) -> None:
        options = Options(
            quick, size, seeds, tuple(only or ()), device, jobs, threads, images, kernel, out, any_version, scheduler
        )
        if told := lacking(benchmarks, images):
            typer.echo(told, err=True)
        statuses: list[int] = []
        finished: dict[str, Finished | None] = {}
        for benchmark in benchmarks:
            status, finished[benchmark.name] = execute(benchmark, options)
            statuses.append(status)
            if status == INTERRUPTED:
                raise typer.Exit(status)
        if page is not None and any(part is not None for part in finished.values()):
            typer.echo(f"report of all: {page(finished, options)}")
        raise typer.Exit(max(statuses))

    run.__doc__ = words
    return run


def execute(benchmark: Benchmark, options: Options) -> tuple[int, Finished | None]:
    """Run, print the summary, say where the report is; the exit status and what there is to show."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(variable, str(options.threads))
    try:
        finished = run(benchmark, options)
    except KeyboardInterrupt:
        typer.echo(
            f"\nInterrupted: finished cells are kept in {options.out / benchmark.name / 'cells'}; "
            "the same command continues.",
            err=True,
        )
        return INTERRUPTED, None
    except NothingComputed as error:
        typer.echo(f"{benchmark.name}: {error}", err=True)
        return 1, None
    except ValueError as error:
        typer.echo(f"{benchmark.name}: {error}", err=True)
        return 2, None
    typer.echo(finished.page.text)
    for verdict in finished.page.verdicts:
        typer.echo(f"{'holds' if verdict.holds else 'FAILS'}: {verdict.claim} {verdict.detail}".rstrip())
    for reason, count in Counter(text.strip().splitlines()[-1] for text in finished.failures.values()).items():
        typer.echo(f"failed: {count} cell(s) with {reason}; see failures in results.json", err=True)
    typer.echo(f"report: {finished.rows.folder / 'index.html'}")
    held = all(verdict.holds for verdict in finished.page.verdicts)
    return (0 if held and not finished.failures else 1), finished


for _benchmark in BENCHMARKS:
    app.command(_benchmark.name)(command((_benchmark,), _benchmark.question))
app.command("papers")(command(papers.chosen(BENCHMARKS), papers.__doc__ or "", papers.together))
app.command("all")(command(BENCHMARKS, "Every benchmark: hours."))
