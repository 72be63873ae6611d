"""What a scenario found: tables, plots, lines that had to be shown. Kept as JSON beside
RESULTS.md, so that one scenario can be run again without the others."""

import dataclasses
import json

from . import plot


@dataclasses.dataclass
class Section:
    """One scenario's part of RESULTS.md."""

    name: str
    title: str
    text: str = ""
    tables: list = dataclasses.field(default_factory=list)
    plots: list = dataclasses.field(default_factory=list)
    verdicts: list = dataclasses.field(default_factory=list)
    setting: dict = dataclasses.field(default_factory=dict)

    def table(self, head, rows, caption=""):
        rows = [[shown(cell) for cell in row] for row in rows]
        self.tables.append({"caption": caption, "head": list(head), "rows": rows})

    def bars(self, name, title, groups, series, unit):
        """A bar chart: a group per entry of `groups`, in it a bar per name in `series`."""
        self.plots.append({"name": name, "title": title, "groups": list(groups),
                           "series": series, "unit": unit})

    def verdict(self, line, value, holds):
        """A line that had to be shown, what was found, and whether it holds."""
        self.verdicts.append({"line": line, "value": shown(value), "holds": bool(holds)})

    def at_most(self, line, value, limit):
        self.verdict(line, value, value is not None and value <= limit)

    def at_least(self, line, value, limit):
        self.verdict(line, value, value is not None and value >= limit)

    def save(self, folder):
        folder.mkdir(exist_ok=True)
        text = json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False)
        (folder / f"{self.name}.json").write_text(text + "\n")

    @classmethod
    def load(cls, path):
        return cls(**json.loads(path.read_text()))

    def markdown(self, plots):
        """The section's text; its plots are written into the folder `plots`."""
        lines = [f"## {self.title}", ""]
        lines += [self.text, ""] if self.text else []
        for table in self.tables:
            lines += [f"**{table['caption']}**", ""] if table["caption"] else []
            lines.append("| " + " | ".join(table["head"]) + " |")
            lines.append("|" + "---|" * len(table["head"]))
            lines += ["| " + " | ".join(row) + " |" for row in table["rows"]] + [""]
        for chart in self.plots:
            path = plots / f"{chart['name']}.svg"
            path.write_text(plot.bars(chart))
            lines += [f"![{chart['title']}](plots/{path.name})", ""]
        for verdict in self.verdicts:
            mark = "holds" if verdict["holds"] else "**missed**"
            lines.append(f"- {verdict['line']}: {verdict['value']}, {mark}")
        told = ", ".join(f"{key} {value}" for key, value in self.setting.items())
        return "\n".join([*lines, "", f"<sub>{told}</sub>", ""])


def shown(cell):
    """A cell as it is printed: three significant figures are all a noisy machine gives."""
    if cell is None:
        return "–"
    if isinstance(cell, float):
        if cell == 0:
            return "0"
        if abs(cell) >= 1000:
            return f"{cell:,.0f}"
        return f"{cell:.3g}" if abs(cell) < 100 else f"{cell:.0f}"
    if isinstance(cell, int):
        return f"{cell:,}"
    return str(cell)
