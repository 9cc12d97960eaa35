"""The command ``segkit``: puts the commands together and turns what goes wrong into one line and an exit code."""

import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from types import FrameType
from typing import Annotated, Any

import typer

import segkit
from segkit.cli import (
    check,
    config,
    demo,
    distill,
    ensemble,
    evaluate,
    export,
    import_,
    init,
    models,
    postprocess,
    predict,
    pretrain,
    probe,
    stress,
    train,
    trust,
)
from segkit.cores import considerate_threads
from segkit.errors import SegkitError, UsageError
from segkit.memory import ran_out
from segkit.one_line import one_line

INTERRUPTED = 130  # what shells give for a program ended by Ctrl-C
TERMINATED = 143  # and for one ended by SIGTERM
CommandLineError: Any = typer.BadParameter.__base__  # wrong commands, options and arguments; typer doesn't export it

app = typer.Typer(
    name="segkit",
    help="Segmentation, from a folder of pictures to trained ensembles and the masks they draw.",
    epilog="Example: segkit demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo", epilog=demo.EPILOG)(demo.demo)
app.command("check", epilog=check.EPILOG)(check.check)
app.command("import", epilog=import_.EPILOG)(import_.import_)
app.command("init", epilog=init.EPILOG)(init.init)
app.command("train", epilog=train.EPILOG)(train.train)
app.command("pretrain", epilog=pretrain.EPILOG)(pretrain.pretrain)
app.command("probe", epilog=probe.EPILOG)(probe.probe)
app.command("evaluate", epilog=evaluate.EPILOG)(evaluate.evaluate)
app.command("predict", epilog=predict.EPILOG)(predict.predict)
app.add_typer(ensemble.app, name="ensemble")
app.command("distill", epilog=distill.EPILOG)(distill.distill)
app.command("stress", epilog=stress.EPILOG)(stress.stress)
app.command("trust", epilog=trust.EPILOG)(trust.trust)
app.command("postprocess", epilog=postprocess.EPILOG)(postprocess.postprocess)
app.command("export", epilog=export.EPILOG)(export.export)
app.command("models", epilog=models.EPILOG)(models.models)
app.add_typer(config.app, name="config")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"segkit {segkit.__version__}")
        raise typer.Exit


@app.callback()
def _segkit(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    modules: Annotated[
        list[str] | None,
        typer.Option("--import", metavar="MODULE", help="Import this module first: it holds parts that a model names."),
    ] = None,
) -> None:
    for module in modules or []:
        try:
            import_module(module)
        except Exception as error:  # whatever a module of somebody's does when it is run
            message = (
                f"--import {module}: {error}; install its package, or put the folder that it lies in on PYTHONPATH"
            )
            raise UsageError(message) from error


def run() -> None:
    """Leave the process with the exit code of the command in ``sys.argv``; the installed ``segkit`` calls this.

    SIGTERM, with which clusters and containers end a program, leaves no half-written file behind either.
    """
    signal.signal(signal.SIGTERM, _terminate)
    considerate_threads()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file on Windows may have no letter for × or a name
    sys.exit(main())


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of one command: 0 fine, 1 our fault, 2 wrong use or recipe, 3 bad data, 130 interrupted.

    What went wrong is one line on stderr; with ``SEGKIT_DEBUG=1`` in the environment the traceback comes before it.
    SIGTERM ends :func:`run` with 143, but for a training, which it interrupts.

    Args:
        arguments: what follows ``segkit`` on the command line; None takes it from ``sys.argv``.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if any(not word or (word.startswith("--") and word.endswith("=")) for word in words):
            raise UsageError("an argument is empty, where a name or a value is expected; is a variable unset?")
        code = app(args=words or ["--help"], prog_name="segkit", standalone_mode=False)
        if code == INTERRUPTED:
            _say("interrupted")
        return code if isinstance(code, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted")
        return INTERRUPTED
    except CommandLineError as error:
        where = error.ctx.command_path if error.ctx is not None else "segkit"
        message = error.format_message().replace(": Value error, ", ": ")  # Typer's word for any value
        if not message:  # a group of commands by itself, whose help is printed
            return 0
        _say(f"error: {message}{'' if message.endswith(('.', '?')) else '.'} See {where} --help.")
        return int(error.exit_code)
    except SegkitError as error:
        _trace()
        _say(f"error: {error}")
        return error.exit_code
    except Exception as error:
        if ran_out(error):
            _trace()
            what = "take smaller crops (data.crop), batches (train.batch) or tiles (--tile), or end other programs"
            _say(f"error: out of memory{f' ({one_line(error)})' if str(error) else ''}; {what}")
            return UsageError.exit_code
        hint = "" if _trace() else " (SEGKIT_DEBUG=1 in the environment shows where)"
        _say(f"error: unexpected {type(error).__name__}: {' '.join(str(error).split())}{hint}")
        return 1


def _terminate(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"terminated\n")  # the program may be in the middle of printing
    sys.exit(TERMINATED)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _trace() -> bool:
    """Print the traceback where the environment asks for it; whether it did."""
    wanted = os.environ.get("SEGKIT_DEBUG", "0") not in ("", "0")
    if wanted:
        traceback.print_exc()
    return wanted
