"""A grid as LaTeX (booktabs)."""

from __future__ import annotations

import re

from aspire.reporting.grid_text import Layout, Line, sources_of
from aspire.text import latex


def as_latex(layout: Layout) -> str:
    """One booktabs tabular no wider than the text: per column a group with a column per metric."""
    metrics = [b.metric for b in layout.blocks]
    many = len(metrics) > 1
    lines = [
        "% needs \\usepackage{booktabs,graphicx}",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{latex(' '.join(f'{t}.' for t in layout.header))}}}",
        "\\medskip",
        # as wide as it is, but never wider than the text
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{",
        f"\\begin{{tabular}}{{l{'r' * (len(layout.columns) * len(metrics))}}}",
        "\\toprule",
    ]
    names = [latex(c) for c in layout.columns]
    if many:
        spans = [f"\\multicolumn{{{len(metrics)}}}{{c}}{{{n}}}" for n in names]
        lines.append(" & " + " & ".join(spans) + " \\\\")
        ends = [2 + i * len(metrics) for i in range(len(names))]
        lines.append(" ".join(f"\\cmidrule(lr){{{e}-{e + len(metrics) - 1}}}" for e in ends))
        lines.append(" & " + " & ".join(latex(m) for _ in names for m in metrics) + " \\\\")
    else:
        lines.append(f"{latex(metrics[0])} & " + " & ".join(names) + " \\\\")
    lines.append("\\midrule")
    for label, kind, cells in _rows_over_metrics(layout):
        quad = "\\quad " if kind != "numbers" else ""
        texts = [MINUS.sub("$-$", latex(t)) for t in cells]
        lines.append(f"{quad}{latex(label.strip())} & " + " & ".join(texts) + " \\\\")
    lines += ["\\bottomrule", "\\end{tabular}}"]
    below = (*layout.notes, *sources_of(layout))
    if below:
        text = " \\\\\n".join(latex(t) for t in below)
        lines += ["", "\\medskip", f"{{\\footnotesize\\raggedright {text}\\par}}"]
    return "\n".join([*lines, "\\end{table}"])


def _rows_over_metrics(layout: Layout) -> list[tuple[str, str, list[str]]]:
    """Lines with the texts of all metrics side by side; a metric without a line gives dashes."""
    order: dict[tuple[str, str, str], dict[str, Line]] = {}
    for block in layout.blocks:
        parent = ""
        for line in block.lines:
            parent = line.label if line.kind == "numbers" else parent
            order.setdefault((parent, line.label, line.kind), {})[block.metric] = line
    parents = list(dict.fromkeys(parent for parent, _, _ in order))
    rows = []
    for (_, label, kind), by_metric in sorted(
        order.items(), key=lambda item: parents.index(item[0][0])
    ):
        texts = [
            by_metric[b.metric].texts[i] if b.metric in by_metric else "-"
            for i in range(len(layout.columns))
            for b in layout.blocks
        ]
        rows.append((label, kind, texts))
    return rows


MINUS = re.compile(r"(?<!\w)-(?=\d)")
