"""Do dropout, L1, L2 or weight decay help an untrained network to fit a picture, a noisy picture, or noise?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import pandas as pd

import pnp
from pnp.priors.dip import Hourglass, Trajectory

from .figures import Panel, lines, panels
from .findings import Finding, section, words
from .grid import Benchmark, Cell, Options, Outcome, Rows, Value
from .pictures import chosen
from .report import Charts, Comparison, Page, Section, Table, Tile
from .statistics import half_width
from .trajectories import (
    PER_DECADE,
    TARGETS,
    Curve,
    Film,
    Followed,
    first,
    follow,
    mean_curve,
    present,
    scaled,
    seeds,
    targets,
    times,
)

SIGMA = 25 / 255
# Anderson does not state the strengths: ours leave the fit possible, and the sweep goes a factor of ten each way.
STRENGTHS = {"dropout": 0.1, "L1": 1e-7, "L2": 1e-6, "weight decay": 0.1}
SWEEP = {"dropout": (0.03, 0.3), "L1": (1e-8, 1e-6), "L2": (1e-7, 1e-5), "weight decay": (0.01, 1.0)}
PUBLISHED = ("dropout", "L1", "L2")
CLOSE = 1.0  # dB below the plain network's last PSNR that counts as having converged


@dataclasses.dataclass(frozen=True)
class Regularised(Followed):
    """The encoder-decoder without skips, fitted with one regulariser or none.

    ``strength`` is the probability to drop a feature; the weight of ``sum |W|`` or of ``sum W^2 / 2`` beside the mean
    squared error; or AdamW's decay.
    """

    target: str
    variant: str
    strength: float
    channels: tuple[int, ...]
    inputs: int

    @property
    def label(self) -> str:
        return f"{self.target}, {self.variant} {self.strength:g}, {self.picture.name}, seed {self.seed}"

    def build(self) -> Hourglass:
        return Hourglass(1, inputs=self.inputs, channels=self.channels, skip=0, dropout=self._of("dropout"))

    def run(self) -> Outcome:
        truth = self.original()
        y = targets(truth, SIGMA, self.seed)[self.target]
        prior = self.prior(l1=self._of("L1"), l2=self._of("L2"), weight_decay=self._of("weight decay"))
        fitted, denoised, film = Trajectory(y, per_decade=PER_DECADE), Trajectory(truth, per_decade=PER_DECADE), Film(y)
        clean = Film(truth)
        result = follow(prior, self.identity(), y, [fitted, denoised, film, clean])
        curves = fitted.curves().columns() | {"psnr of the picture": denoised.curves().psnr.tolist()}
        row: dict[str, Value] = {
            "PSNR": film.psnr,
            "averaged": curves["average psnr"][-1],
            "status": result.status.name,
        }
        if self.target == "picture + noise":
            row |= {"best against the picture": clean.peak, "last against the picture": clean.psnr}
        return Outcome(row, {"x": pnp.to_image(film.last), "target": pnp.to_image(y)}, curves)

    def _of(self, variant: str) -> float:
        return self.strength if self.variant == variant else 0.0


def cells(options: Options) -> Iterator[Cell]:
    """10^4 iterations: at 256 x 256 on a GPU, with a narrower network and a smaller picture elsewhere."""
    narrow = ((16, 32, 64), 8)
    size, iterations, (channels, inputs) = scaled(
        options, gpu=(256, 10_000, ((128,) * 5, 32)), host=(48, 10_000, narrow), quick=(32, 100, narrow)
    )
    picture = chosen(["camera"], options.images)["camera"]

    def cell(target: str, variant: str, strength: float, seed: int) -> Cell:
        return Regularised(
            target,
            variant,
            strength,
            channels,
            inputs,
            picture=picture,
            size=options.size or size,
            iterations=iterations,
            seed=seed,
            device=options.device,
        )

    for seed in seeds(options):
        for target in TARGETS:
            yield cell(target, "none", 0.0, seed)
            for variant, strength in STRENGTHS.items():
                yield cell(target, variant, strength, seed)
    if not options.quick:
        for variant, strengths in SWEEP.items():
            for strength in strengths:
                yield cell("picture + noise", variant, strength, 0)


def summary(rows: Rows) -> Page:
    """Each regulariser against none, seed by seed."""
    compared = against_none(rows)
    main, sweep = compared[~compared["sweep"]], compared[compared["sweep"]]
    found = [] if rows.options.quick else findings(main, int(rows.frame["iterations"].max()))
    sections = [
        *section(found),
        Section("Curves", [_charts(rows)], _settings(rows)),
        Section("End of the fits", [_table(main)]),
    ]
    noisy = main[main["target"] == "picture + noise"]
    if len(noisy):
        sections.append(Section("As a denoiser", [_denoising(rows)], _denoiser(rows)))
    if len(sweep):
        sections.append(
            Section("Other strengths", [_table(sweep)], "One seed, the noisy picture: ten times weaker and stronger.")
        )
    sections.append(Section("Pictures", _pictures(rows)))
    shown = [Panel(_series(rows, t, "psnr"), "iteration", "PSNR against the target, dB", t, "x") for t in TARGETS]
    panels([panel for panel in shown if panel.series], rows.folder / "figure.png")
    text = f"{_settings(rows)}\n{_table(main).frame.round(3).to_string(index=False)}\n{words(found)}"
    return Page("Regularised networks", __doc__ or "", sections, text=text)


def against_none(rows: Rows) -> pd.DataFrame:
    """Per target, variant and strength: PSNR at the end less that of the plain network of the same seed, and pace."""
    outcomes = {(c.target, c.variant, c.strength, c.seed): o for c, o in rows.outcomes.items() if _is(c)}
    records: list[dict[str, object]] = []
    for target, variant, strength in dict.fromkeys(key[:3] for key in outcomes):
        seeds = [s for t, v, w, s in outcomes if (t, v, w) == (target, variant, strength)]
        seeds = [s for s in seeds if (target, "none", 0.0, s) in outcomes]
        if not seeds:
            continue
        ours = [outcomes[target, variant, strength, s] for s in seeds]
        plain = [outcomes[target, "none", 0.0, s] for s in seeds]
        change = [float(a.row["PSNR"]) - float(b.row["PSNR"]) for a, b in zip(ours, plain, strict=True)]  # type: ignore[arg-type]
        converged = [_converged(o, p) for o, p in zip(ours, plain, strict=True)]
        slower = [math.log(a / _converged(p, p)) for a, p in zip(converged, plain, strict=True)]
        records.append(
            {
                "target": target,
                "variant": variant,
                "strength": strength,
                "PSNR": pd.Series([o.row["PSNR"] for o in ours]).mean(),
                "change": pd.Series(change).mean(),
                "± change": half_width(change),
                "averaged": pd.Series([o.row["averaged"] for o in ours]).mean(),
                "converged at": _mean(converged),
                "of plain": math.exp(_mean(slower)),
                "± of plain": _spread(slower),
                "seeds": len(seeds),
                "sweep": variant != "none" and strength != STRENGTHS.get(variant),
            }
        )
    return pd.DataFrame(records)


def _is(cell: Cell) -> bool:
    return isinstance(cell, Regularised)


def _converged(outcome: Outcome, plain: Outcome) -> float:
    """Iterations until the PSNR against the target is within 1 dB of where the plain network ends."""
    level = plain.curves["psnr"][-1] - CLOSE
    return first(outcome.curves["iterations"], [psnr >= level for psnr in outcome.curves["psnr"]])


def _spread(logarithms: list[float]) -> float:
    """Half the 95 % interval of a ratio, towards the slower side; nan where a seed never came there."""
    if not all(map(math.isfinite, logarithms)):
        return math.nan
    return math.exp(_mean(logarithms)) * math.expm1(half_width(logarithms))


def _mean(values: list[float]) -> float:
    return math.inf if any(math.isinf(v) for v in values) else float(pd.Series(values).mean())


def findings(frame: pd.DataFrame, iterations: int) -> list[Finding]:
    """Anderson's findings for the three regularisers of the paper: an effect counts beyond its 95 % interval."""
    plain = frame[frame["variant"] == "none"].set_index("target")
    tried = frame[frame["variant"].isin(PUBLISHED) & frame["target"].isin(plain.index)]
    if tried.empty or tried["± change"].isna().all():  # one seed decides nothing
        return []
    low, high = tried["change"] - tried["± change"], tried["change"] + tried["± change"]
    worst, best = (tried.loc[i] for i in (tried["change"].idxmin(), tried["change"].idxmax()))
    extremes = (
        f"from {worst['change']:+.2f} ± {worst['± change']:.2f} dB ({worst['variant']}, {worst['target']}) to "
        f"{best['change']:+.2f} ± {best['± change']:.2f} dB ({best['variant']}, {best['target']})"
    )
    quicker = tried[tried["of plain"] + tried["± of plain"] < 1]
    told = "; ".join(
        f"{row['variant']} on {row['target']} after {times(row['converged at'], iterations)} iterations instead of "
        f"{times(plain.loc[row['target'], 'converged at'], iterations)}"
        for _, row in quicker.iterrows()
    )
    never = int(tried["of plain"].map(math.isinf).sum())
    return [
        Finding(
            "None of dropout, L1 and L2 raises the PSNR at the end (Anderson).",
            not bool((low > 0).any()),
            f"Raised in {int((low > 0).sum())} of {len(tried)} cases; {extremes}.",
        ),
        Finding(
            "Each of them lowers the PSNR at the end, on every target (Anderson).",
            bool((high < 0).all()),
            f"Lowered in {int((high < 0).sum())} of {len(tried)} cases: "
            + ", ".join(f"{v} in {int(part.sum())} of {len(part)}" for v, part in (high < 0).groupby(tried["variant"]))
            + ".",
        ),
        Finding(
            "None of them converges faster (Anderson).",
            quicker.empty,
            f"In {never} of {len(tried)} cases a seed does not even come within {CLOSE:g} dB of the plain network's end"
            + (f"; faster: {told}." if told else "."),
        ),
    ]


def _settings(rows: Rows) -> str:
    first_row = rows.frame.iloc[0]
    return (
        f"Encoder-decoder without skips ({first_row['channels']} channels), Adam with rate 0.01, "
        f"{first_row['size']} x {first_row['size']} pixels, {first_row['iterations']:,} iterations, "
        f"seeds: {rows.frame['seed'].nunique()}; noise {SIGMA:.3f}, clipped. PSNR is of the raw output against the "
        "target that is fitted; the running average of the outputs beside it. Anderson: 10,000 iterations, size and "
        "strengths unstated; a GPU (--device cuda) runs 10,000 at 256 x 256 with 128 channels."
    )


def _table(frame: pd.DataFrame) -> Table:
    shown = frame.drop(columns="sweep").assign(strength=[f"{strength:g}" for strength in frame["strength"]])
    return Table(
        "PSNR at the end, in dB",
        shown,
        "Change: against the plain network of the same seed, mean and 95 % interval. Converged at: iterations until "
        f"within {CLOSE:g} dB of the plain network's last PSNR; infinite where one seed never did. "
        "Of plain: iterations to come there over those of the plain network, below 1 is faster.",
        {"converged at": 0, "seeds": 0},
    )


def _curve(rows: Rows, target: str, variant: str, column: str) -> Curve:
    strength = STRENGTHS.get(variant, 0.0)
    return mean_curve(
        rows, lambda c: _is(c) and (c.target, c.variant, c.strength) == (target, variant, strength), column
    )  # type: ignore[attr-defined]


def _series(rows: Rows, target: str, column: str) -> dict[str, Curve]:
    return present({variant: _curve(rows, target, variant, column) for variant in ("none", *STRENGTHS)})


def _charts(rows: Rows) -> Charts:
    figures = []
    for column, axis, log in (("loss", "loss", "xy"), ("psnr", "PSNR against the target, dB", "x")):
        for target in TARGETS:
            if series := _series(rows, target, column):
                drawing = lines(series, x="iteration", y=axis, title=target, log=log)
                figures.append((drawing, f"{axis} of {target} against the iteration"))
    return Charts("Loss and PSNR", figures, "Means over the seeds; the loss includes the penalty.")


def _denoising(rows: Rows) -> Charts:
    series = _series(rows, "picture + noise", "psnr of the picture")
    drawing = lines(series, x="iteration", y="PSNR against the clean picture, dB", title="picture + noise", log="x")
    return Charts("Against the clean picture", [(drawing, "PSNR against the clean picture")])


def _denoiser(rows: Rows) -> str:
    noisy = rows.frame[(rows.frame["target"] == "picture + noise") & rows.frame["seed"].notna()]
    default = noisy[[s == STRENGTHS.get(v, 0.0) for v, s in zip(noisy["variant"], noisy["strength"], strict=True)]]
    means = default.groupby("variant", sort=False)[["best against the picture", "last against the picture"]].mean()
    told = ", ".join(f"{name} {row.iloc[0]:.2f} and {row.iloc[1]:.2f}" for name, row in means.iterrows())
    return f"PSNR against the clean picture in dB, at its best moment and at the end: {told}."


def _pictures(rows: Rows) -> list[Table | Comparison | Charts]:
    parts: list[Table | Comparison | Charts] = []
    for target in TARGETS:
        found = [
            (c.variant, o)
            for c, o in rows.outcomes.items()
            if isinstance(c, Regularised)
            and (c.target, c.seed) == (target, 0)
            and c.strength == STRENGTHS.get(c.variant, 0)
        ]
        if found:
            tiles = [Tile(name, o.images["x"], f"{o.row['PSNR']:.2f} dB") for name, o in found]
            parts.append(Comparison(f"Fitted to: {target}", found[0][1].images["target"], tiles))
    return parts


BENCHMARK = Benchmark("regularization", __doc__ or "", cells, summary)
