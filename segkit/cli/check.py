"""``segkit check``: what is wrong with a dataset, and a mended copy of it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segkit.cli.options import Json, print_json
from segkit.cli.progress import progress_bar
from segkit.errors import DataError, SegkitError, UsageError

if TYPE_CHECKING:
    from segkit.checking.repairs import Repair

NAMED = ("omit", "no_depth", "one_depth")  # repairs that take files out
EPILOG = "Example: segkit check cells --fix cells_mended"


def check(
    data: Annotated[Path, typer.Argument(help="The dataset's folder.")],
    fix: Annotated[
        Path | None,
        typer.Option("--fix", metavar="COPY", help="Write a mended copy into this new folder; not of volumes."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Mend also where something is lost or guessed.")] = False,
    as_json: Json = False,
) -> None:
    """Find what is wrong with a dataset: broken files, wrong masks, leaks between splits, and more.

    The dataset itself is never changed. With --fix, what can be mended without loss is mended in a copy; the rest is
    asked on a terminal, and left alone elsewhere unless --yes is given; without a yes to what is wrong in dataset.yaml
    there is no copy. The exit code is 3 where errors remain.
    """
    from segkit.checking.mend import check_mendable, check_place, mend
    from segkit.checking.repairs import plan_repairs
    from segkit.checking.run import check as run_check

    if yes and fix is None:
        raise UsageError("--yes is about mending; name a copy by --fix")
    if fix is not None and data.is_dir():
        check_place(fix, data)
    with progress_bar("checking") as show:
        report = run_check(data, progress=show)
    result = report.to_json()
    if not as_json:
        typer.echo(report.table())
    if fix is not None:
        try:
            check_mendable(report)
            planned = plan_repairs(report)
            chosen = [one for one in planned if one.question is None or yes or (not as_json and _agreed(one))]
            left = [one for one in planned if one not in chosen]
            with progress_bar("mending") as show:
                changes = mend(report, fix, chosen, progress=show)
        except SegkitError as error:
            if as_json:  # what was found is worth knowing all the same
                print_json({**result, "error": str(error)})
            raise
        with progress_bar("checking the copy") as show:
            report = run_check(fix, progress=show)
        if as_json:
            result |= {"mended": [_row(one) for one in changes], "left": [_row(one) for one in left]}
            result |= {"copy": report.to_json()}
        else:
            typer.echo("\nmended" if changes else "\nnothing to mend")
            for one in changes:
                typer.echo(f"  {one.what}: {len(one.names):,}{f' ({_named(one)})' if one.kind in NAMED else ''}")
            if left:
                typer.echo("left alone (--yes mends these too)")
            for one in left:
                typer.echo(f"  {one.what}: {len(one.names):,}")
            typer.echo(f"\n{report.table()}")
    if as_json:
        print_json(result)
    if report.errors:
        raise typer.Exit(DataError.exit_code)


def _agreed(repair: "Repair") -> bool:
    """Whether someone at a terminal wants a repair that loses something."""
    if not sys.stdin.isatty():
        return False
    what = f"{repair.what} ({len(repair.names):,}: {_named(repair)})"
    return typer.confirm(f"\n{what}. {repair.question}. Do it?", err=True)


def _named(repair: "Repair") -> str:
    """The first names of those that it is about."""
    return ", ".join(repair.names[:3]) + (", …" if len(repair.names) > 3 else "")


def _row(repair: "Repair") -> dict[str, object]:
    return {"kind": repair.kind, "what": repair.what, "names": list(repair.names)}
