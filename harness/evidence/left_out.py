"""Which runs do not count in a table, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from benchmarks.data.contents import BY_CONTENT
from harness.engine import identity
from harness.evidence.compare import differences
from harness.evidence.rows import Row, without_seed
from harness.records import Record


def left_out_line(rows: Sequence[Row]) -> list[str]:
    """Return one line on how many runs have a row's settings and do not count, and why; none where all count."""
    reasons = Counter({run.folder: reason for row in rows for run, reason in row.out}.values())
    if not reasons:
        return []
    count = reasons.total()
    listed = ", ".join(f"{reason} {number}" for reason, number in reasons.most_common())
    return [f"{count} run{'s' if count > 1 else ''} left out ({listed}): --why"]


def left_out(rows: Sequence[Row], records: Sequence[Record]) -> list[str]:
    """Return one line for every run that fills no row: how it differs from the row that it is nearest to."""
    counted = {run.folder for row in rows for run in row.runs}
    settings = [(row.label, each) for row in rows if not row.missing for each in row.settings]
    strategies = {row.get("strategy", {}).get("name") for _, row in settings}
    lines = []
    for record in records:
        if record.folder not in counted:
            if record.strategy not in (None, *strategies):
                lines.append(f"{record.id}: no row has strategy {record.strategy}: --row adds one")
                continue
            distances = [(label, differences(without_seed(record.settings), row)) for label, row in settings]
            label, nearest = min(distances, key=lambda option: len(option[1]))
            reasons = [f"{field}={mine}, not {wanted}" for field, (mine, wanted) in nearest.items()]
            lines.append(
                f"{record.id} does not count for {label}: {'; '.join(reasons) or reason_left_out(record, rows)}"
            )
    return lines or ["Every run counts."]


def reason_left_out(record: Record, rows: Sequence[Row]) -> str:
    """Return why a run does not count though it has the settings of a row."""
    reason = {run.folder: reason for row in rows for run, reason in row.out}.get(record.folder, "")
    if reason == "other data":
        known = {
            part: {run.fingerprint(part) for row in rows for run in row.runs} for part in ("data", "benchmark_data")
        }
        odd = [part for part, fingerprints in known.items() if record.fingerprint(part) not in fingerprints]
        return "; ".join(
            f"its {part} is not that of most runs here ({record.fingerprint(part)}{kind(record, part, known[part])})"
            for part in odd
        )
    return {
        "not finished": f"it is {record.status}, not finished",
        "name not of its settings": "its name is not the one that its settings give: it was copied or edited",
        "score out of range": f"a score is out of the benchmark's range: {record.scores}",
        "other code": f"its code is not that of most runs here ({code_text(record)})",
    }.get(reason, f"another record here is of its seed {record.settings['seed']} and trial {record.settings['trial']}")


def kind(record: Record, part: str, known: Collection[str | None]) -> str:
    """Return what a record's fingerprint covers if others are of another kind, with which it cannot be compared."""
    by_content = [str(each).startswith(BY_CONTENT) for each in (record.fingerprint(part), *known)]
    if all(by_content) or not any(by_content):
        return ""
    return ", of contents: theirs are of names and sizes alone" if by_content[0] else ", of names and sizes alone"


def code_text(record: Record) -> str:
    """Return by which code a run was made."""
    code, commit = identity.recorded(record.provenance), record.provenance.get("code", {}).get("commit")
    known = "not recorded" if code is None else f"benchmark {code.benchmark}, reference steps {code.reference[:1]}"
    return f"{known}, commit {str(commit)[:8]}"
