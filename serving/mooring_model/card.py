"""The model card that is written when its maker gives none."""

from collections.abc import Sequence

from mooring_model.agreement import Agreement
from mooring_model.evaluate import Metric
from mooring_model.schema import ModelSchema


def default_card(
    name: str, schema: ModelSchema, metrics: Sequence[Metric], agreement: Agreement | None
) -> str:
    """A card with what the package itself knows, in Markdown."""
    lines = [
        f"# {name}",
        "",
        f"A {schema.task} model of `{schema.target}` from {len(schema.inputs)} features.",
        "",
        "| metric | rows | value | 95 % interval |",
        "|---|---|---|---|",
    ]
    for metric in metrics:
        interval = "" if metric.lower is None else f"{metric.lower:.4f} to {metric.upper:.4f}"
        lines.append(
            f"| {metric.name} ({metric.dataset}) | {metric.n} | {metric.value:.4f} | {interval} |"
        )
    if agreement is not None:
        lines += [
            "",
            f"The packaged file answers {agreement.rows} training rows like the estimator that it"
            f" was made from, within {agreement.largest:.2g}"
            f" ({agreement.differing} rows differ by more than the tolerance).",
        ]
    lines += ["", "Features: " + ", ".join(f"`{spec.name}`" for spec in schema.inputs), ""]
    return "\n".join(lines)
