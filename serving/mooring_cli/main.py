"""The command line's entry: registers the commands, and turns our errors into a line and a code."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mooring_cli.commands import compare, drift, packages, processes
from mooring_cli.outcome import CommandFailed, report_unexpected

app = typer.Typer(
    help="Package, verify, serve and retrain models for Mooring.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(compare.app, name="compare")
app.add_typer(drift.app, name="drift")
Directory = Annotated[Path, typer.Argument(help="The package's directory.")]
TerminationLog = Annotated[
    Path | None, typer.Option(help="Where the result is also written, as one JSON object.")
]
AllowCode = Annotated[
    bool,
    typer.Option(
        envvar="MOORING_ALLOW_CODE", help="Take packages of format python, which run code."
    ),
]


@app.command("package")
def package_(
    data: Annotated[Path, typer.Option(help="The training table, Parquet or CSV.")],
    target: Annotated[str, typer.Option(help="Its label column.")],
    out: Annotated[Path, typer.Option(help="The new directory.")],
    model: Annotated[Path | None, typer.Option(help="A .skops or .onnx file.")] = None,
    rules: Annotated[
        Path | None, typer.Option(help="Instead: a decision table or expressions, YAML or JSON.")
    ] = None,
    composite: Annotated[
        Path | None, typer.Option(help="Instead: a graph of packages, YAML or JSON.")
    ] = None,
    python: Annotated[
        Path | None, typer.Option(help="Instead: a directory with code/, data/, wheels/.")
    ] = None,
    entrypoint: Annotated[str, typer.Option(help="With --python: module:Class.")] = "",
    task: Annotated[
        packages.TaskOption | None, typer.Option(help="With --python: what it predicts.")
    ] = None,
    name: Annotated[str, typer.Option(help="The model's name; the file's when left out.")] = "",
    time_column: Annotated[str, typer.Option(help="Its time column, if it has one.")] = "",
    segment: Annotated[
        list[str] | None,
        typer.Option(help="A feature whose values are watched apart; several times for more."),
    ] = None,
    format: Annotated[  # noqa: A002 - the word that users know
        packages.FormatOption, typer.Option(help="How an estimator is stored.")
    ] = packages.FormatOption.ONNX,
    test: Annotated[Path | None, typer.Option(help="Later rows, for metrics.")] = None,
) -> None:
    """Build a package from a model and its training table."""
    code: packages.CodeOptions | None = None
    if python is not None and entrypoint:
        code = packages.CodeOptions(python, entrypoint, task)
    given = [kind for kind in (model, rules, composite, code) if kind is not None]
    if len(given) != 1:
        raise typer.BadParameter(
            "give one of --model FILE, --rules FILE, --composite FILE, --python DIRECTORY with"
            " --entrypoint"
        )
    options = packages.PackageOptions(
        model=model or rules or composite, code=code, data=data, target=target, out=out,
        name=name or (model or rules or composite or python or out).stem,
        time_column=time_column or None, segments=tuple(segment or ()), format=format, test=test,
    )  # fmt: skip
    packages.build(options)


@app.command()
def verify(
    directory: Directory,
    digest: Annotated[str, typer.Option(help="The digest it must have.")] = "",
    allow_code: AllowCode = False,
    seconds: Annotated[
        float, typer.Option(min=0, help="Longest load and replay; 0: four minutes.")
    ] = 0,
    memory: Annotated[
        int,
        typer.Option(min=0, help="Bytes that the model may allocate; 0: half of what there is."),
    ] = 0,
    termination_log: TerminationLog = None,
) -> None:
    """Check every file, load the model once and replay its samples."""
    options = packages.VerifyOptions(
        directory, digest or None, allow_code, seconds or None, memory or None
    )
    packages.verify(options, termination_log)


@app.command()
def fetch(
    uri: Annotated[str, typer.Option(help="s3://, https://, pvc:// or file://")],
    digest: Annotated[str, typer.Option(help="The package digest.")],
    out: Annotated[Path | None, typer.Option(help="The new directory.")] = None,
    check_only: Annotated[bool, typer.Option(help="Check the package, and keep nothing.")] = False,
    allow_loopback: Annotated[
        bool, typer.Option(help="Let https:// and http:// reach this machine.")
    ] = False,
    allow_code: AllowCode = False,
    termination_log: TerminationLog = None,
) -> None:
    """Fetch a package by digest and check it without loading it."""
    if out is None and not check_only:
        raise typer.BadParameter("give --out DIRECTORY, or --check-only")
    options = packages.FetchOptions(uri, digest, out, check_only, allow_loopback, allow_code)
    packages.fetch(options, termination_log)


@app.command()
def push(
    directory: Directory, uri: Annotated[str, typer.Argument(help="s3://BUCKET/PREFIX")]
) -> None:
    """Upload a package and print how a Model declares it."""
    packages.push(directory, uri)


@app.command()
def digest(directory: Directory) -> None:
    """Print the package's digest."""
    packages.digest(directory)


@app.command()
def serve(
    directory: Directory,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    http_port: Annotated[int, typer.Option(help="For clients.")] = 8080,
    health_port: Annotated[int, typer.Option(help="For probes, metrics and sync.")] = 8081,
    forward_port: Annotated[int, typer.Option(help="For pods of the same deployment.")] = 0,
    grpc_port: Annotated[int, typer.Option(help="For gRPC clients; 0: a free one.")] = 9000,
    workers: Annotated[
        int,
        typer.Option(help="Processes that answer; 0: MOORING_WORKERS, or what the CPUs allow."),
    ] = 0,
) -> None:
    """Serve a package over the Open Inference Protocol."""
    processes.serve(
        directory, host, http_port, health_port, forward_port or None, grpc_port, workers or None
    )


@app.command()
def train() -> None:
    """Run the training Job that MOORING_TRAINING describes."""
    processes.train()


def main() -> None:
    """Runs a command. Exit codes: 10 refused, 11 worth another try, 2 bad usage, 1 unexpected."""
    try:
        app()
    except CommandFailed as failure:
        sys.stderr.write(f"mooring: {failure.message}\n")
        if failure.remedy:
            sys.stderr.write(f"  remedy: {failure.remedy}\n")
        sys.exit(failure.code)
    except BaseException:
        sys.excepthook = report_unexpected  # here, since typer sets its own
        raise
