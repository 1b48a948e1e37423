"""Lines of a task beside its figures, such as precision against recall, as charts."""

from __future__ import annotations

from weft.report.run import TaskResult
from weft.report.svg import Series, line_chart
from weft.report.training import Curve

#: Both axes of shares reach from 0 to 100 %, so that charts can be compared.
WHOLE = (0, 100)


def drawn_curves(task: TaskResult) -> tuple[Curve, ...]:
    """A chart for each of a task's curves that has a line."""
    drawn = []
    for one in task.curves:
        names = [name for name, points in one.lines.items() if points]
        if names:
            chart = line_chart(
                [Series(name, one.lines[name], colour) for colour, name in enumerate(names)],
                label=f"{task.name}: {one.name}",
                x_label=one.x_label,
                y_label=one.y_label,
                y_range=WHOLE if one.y_label.endswith("%") else (),
            )
            legend = tuple((name, colour, False) for colour, name in enumerate(names))
            drawn.append(Curve(one.name[:1].upper() + one.name[1:], chart, legend))
    return tuple(drawn)
