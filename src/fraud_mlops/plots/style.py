"""One look for all figures: a white ground, thin grid, few colours, titles that say the finding."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Paul Tol's "bright" scheme, told apart by colour-blind readers: https://personal.sron.nl/~pault/
BLUE, RED, GREEN, YELLOW, CYAN, PURPLE = (
    "#4477AA",
    "#EE6677",
    "#228833",
    "#CCBB44",
    "#66CCEE",
    "#AA3377",
)
CYCLE = (BLUE, RED, GREEN, PURPLE, YELLOW, CYAN)
GREY, LIGHT, INK, FAINT_INK = "#BBBBBB", "#E4E4E4", "#222222", "#6B6B6B"

WIDTH = 7.2
"""Inches."""
MAX_ROWS = 12
"""Rows of a figure that has one a category; the rest is counted in words. Metaflow's cards show
pictures 500 pixels high at most: what is higher is made smaller, and cannot be read any more."""

_TITLE_CHARACTERS = 88
_LABEL_CHARACTERS = 34


def new_figure(
    title: str, *, height: float = 3.4, rows: int = 1, ratios: Sequence[float] = (1,)
) -> tuple[Figure, list[Axes]]:
    """A figure with `rows` panels, one above the other, that share x; height in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08)
    figure = Figure(figsize=(WIDTH, height), layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    for axes in panels:
        _plain(axes)
    set_title(figure, title)
    return figure, list(panels)


def _plain(axes: Axes) -> None:
    axes.set_facecolor("white")
    axes.grid(visible=True, color=LIGHT, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(GREY)
        spine.set_linewidth(0.8)
    axes.tick_params(colors=FAINT_INK, labelsize=8, width=0.8, length=3)


def set_title(figure: Figure, title: str) -> None:
    wrapped = textwrap.fill(title, _TITLE_CHARACTERS)
    figure.suptitle(wrapped, x=0.012, ha="left", fontsize=10, fontweight="bold", color=INK)


def name_axes(axes: Axes, *, x: str = "", y: str = "") -> None:
    axes.set_xlabel(x, fontsize=8.5, color=FAINT_INK)
    axes.set_ylabel(y, fontsize=8.5, color=FAINT_INK)


def percent_axis(axis: Any) -> None:
    """Ticks of a share as percent, with the digits that the range asks for."""
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0))


def count_axis(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def row_axis(axes: Axes, names: Sequence[str], characters: int = _LABEL_CHARACTERS) -> None:
    """One named row each at y = 0, 1, ... from the top down."""
    axes.set_yticks(range(len(names)), [label(name, characters) for name in names])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def period_axis(axes: Axes, periods: Sequence[str], most: int = 12) -> None:
    """Periods at x = 0, 1, ...; at most `most` are named, evenly spread."""
    step = max(1, -(-len(periods) // most))
    shown = range(0, len(periods), step)
    turned = len(shown) > 8 or any(len(period) > 8 for period in periods)
    axes.set_xticks(list(shown), [label(periods[i]) for i in shown])
    if turned:
        axes.tick_params(axis="x", rotation=45)
        for text in axes.get_xticklabels():
            text.set_horizontalalignment("right")
            text.set_rotation_mode("anchor")
    axes.set_xlim(-0.6, len(periods) - 0.4)
    axes.grid(visible=False, axis="x")


def bar_width(bars: int) -> float:
    """Many bars touch: gaps of less than a pixel would come and go."""
    return 0.8 if bars <= 60 else 1.0


def row_height(rows: int) -> float:
    """Inches of a figure with that many rows."""
    return 1.2 + 0.24 * max(rows, 2)


def add_legend(axes: Axes, *, outside: bool = False, **options: Any) -> None:
    """outside: to the right of the axes, so that it hides nothing."""
    place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)} if outside else {"loc": "best"}
    axes.legend(**(place | options), fontsize=8, frameon=False, labelcolor=INK, handlelength=1.6)


def note(axes: Axes, text: str, **place: Any) -> None:
    """A remark in small print; `place` as of Axes.annotate."""
    options: dict[str, Any] = {"fontsize": 7.5, "color": FAINT_INK} | place
    axes.annotate(text, **options)


def nothing(title: str) -> Figure:
    """A figure that says that there is nothing to show."""
    figure, [axes] = new_figure(title, height=1.0)
    axes.set_axis_off()
    return figure


def label(name: object, characters: int = _LABEL_CHARACTERS) -> str:
    """A name on one line, cut in the middle when long.

    Matplotlib reads a dollar as the beginning of mathematics, and a leading underscore as a line
    that is to stay out of the legend; neither happens to a label.
    """
    text = " ".join(str(name).split()) or "(blank)"
    if len(text) > characters:
        head = (characters - 1) * 2 // 3
        text = f"{text[:head]}…{text[head + 1 - characters :]}"
    return (" " if text.startswith("_") else "") + text.replace("$", r"\$")


def bars(axes: Axes, values: Sequence[float], texts: Sequence[str], color: str = BLUE) -> None:
    """Horizontal bars from y = 0 down, each with its figure in print."""
    axes.barh(range(len(values)), values, color=color, height=0.62)
    for row, (value, text) in enumerate(zip(values, texts, strict=True)):
        note(axes, text, xy=(value, row), xytext=(3, 0), textcoords="offset points", va="center")
    axes.set_xlim(0, max(values) * 1.12 or 1)


def as_floats(values: Sequence[float | None]) -> np.ndarray:
    """float64 [n], nan for None."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def percent(share: float) -> str:
    """Two digits that say something: 12%, 4.3%, 0.27%."""
    hundredths = 100 * float(share)
    digits = 0 if hundredths >= 10 or hundredths == 0 else 1 if hundredths >= 1 else 2
    return f"{hundredths:.{digits}f}%"


def and_more(left_out: int, what: str) -> str:
    return f" ({left_out} more {what} not shown)" if left_out > 0 else ""


def thin_curve(x: np.ndarray, y: np.ndarray, buckets: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """The points of a curve that can be seen: at most four of each of `buckets` stretches of x.

    x, y: [n]; points that are not finite are left out. First, last, lowest and highest point of
    each stretch are kept, in their order (M4, Jugel et al. 2014): a line of any length looks the
    same. Raises ValueError when lengths differ.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"x of shape {x.shape} does not go with y of shape {y.shape}")
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(x) <= 4 * buckets:
        return x, y
    width = np.ptp(x) / buckets or 1.0
    bucket = np.minimum((x - x.min()) / width, buckets - 1).astype(np.int64)
    kept = [0, len(x) - 1]
    for order in (np.argsort(bucket, kind="stable"), np.lexsort((y, bucket))):
        starts = np.flatnonzero(np.diff(bucket[order], prepend=-1))
        kept += [*order[starts], *order[np.append(starts[1:], len(order)) - 1]]
    points = np.unique(kept)
    return x[points], y[points]


def to_png(figure: Figure, dpi: int = 110) -> bytes:
    """The same bytes for the same figure: no date, no version inside."""
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()
