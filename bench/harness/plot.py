"""Bar charts as SVG, without a library."""

from html import escape

COLOURS = {"pgusher": "#2b6cb0", "pgbouncer": "#c05621", "direct": "#718096"}
OTHERS = ["#2f855a", "#6b46c1", "#b7791f"]
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 720, 300, 60, 40, 46


def bars(chart):
    """A grouped bar chart; the scale begins at nothing."""
    series, groups = chart["series"], chart["groups"]
    values = [v for row in series.values() for v in row if v is not None]
    top = nice(max(values, default=1) or 1)
    high = HEIGHT - TOP - BOTTOM
    step = (WIDTH - LEFT - 10) / max(len(groups), 1)
    wide = step * 0.8 / max(len(series), 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="16" font-size="13">{escape(chart["title"])} ({chart["unit"]})</text>',
    ]
    for n in range(5):
        y = TOP + high - high * n / 4
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{y:.1f}" y2="{y:.1f}" '
                     f'stroke="#e2e8f0"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
                     f"{short(top * n / 4)}</text>")
    for g, group in enumerate(groups):
        start = LEFT + step * g + step * 0.1
        for s, (name, row) in enumerate(series.items()):
            if row[g] is None:
                continue
            tall = high * row[g] / top
            x = start + wide * s
            parts.append(f'<rect x="{x:.1f}" y="{TOP + high - tall:.1f}" width="{wide * 0.94:.1f}" '
                         f'height="{tall:.1f}" fill="{colour(name, s)}"><title>{escape(name)} '
                         f"{escape(str(group))}: {short(row[g])}</title></rect>")
        parts.append(f'<text x="{start + step * 0.4:.1f}" y="{HEIGHT - BOTTOM + 16}" '
                     f'text-anchor="middle">{escape(str(group))}</text>')
    for s, name in enumerate(series):
        x = LEFT + 110 * s
        parts.append(f'<rect x="{x}" y="{HEIGHT - 18}" width="10" height="10" '
                     f'fill="{colour(name, s)}"/>')
        parts.append(f'<text x="{x + 14}" y="{HEIGHT - 9}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def colour(name, n):
    return COLOURS.get(name, OTHERS[n % len(OTHERS)])


def nice(value):
    """A round number not below it."""
    unit = 10.0 ** (len(str(int(value))) - 1) if value >= 1 else 10.0 ** -3
    while unit * 10 < value:
        unit *= 10
    for factor in (1, 1.5, 2, 3, 4, 5, 6, 8, 10):
        if unit * factor >= value:
            return unit * factor
    return value


def short(value):
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:.3g}"
