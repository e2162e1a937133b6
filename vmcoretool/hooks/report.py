"""What ``inspect`` says of a dump, as files beside it.

``vmcoretool.json`` is the object of ``inspect --json`` with one key more, ``report``: by which
version of this tool, of which file of which size.  ``vmcoretool.txt`` is the text.  Both appear
whole or not at all, readable by root alone: command lines and logs may hold secrets.
"""

from __future__ import annotations

import os
import stat
from typing import Any, Final, NamedTuple

from vmcoretool.errors import VmcoreError
from vmcoretool.inspection.inspect import inspect_vmcore
from vmcoretool.printable import printable
from vmcoretool.release import __version__
from vmcoretool.vmcore import open_vmcore

JSON_NAME: Final = "vmcoretool.json"
TEXT_NAME: Final = "vmcoretool.txt"
FAILURE_SCHEMA: Final = "vmcoretool/report/1"
INCOMPLETE: Final = "-incomplete"
"""How the name of a dump ends that is being written, or was never finished."""
AGAIN: Final = "it is tried again at the next run"
_LIMIT: Final = 200
_TAIL: Final = 8192


class Report(NamedTuple):
    """What was written: the two files, and one line for a log."""

    json_path: str
    text_path: str
    summary: str


def write_report(path: str | os.PathLike[str], *, folder: str | None = None) -> Report:
    """Inspect a dump and leave the answer beside it.

    Args:
        path: the dump; it is only read.
        folder: where the files are written; default: the dump's own folder.

    Raises:
        OSError: the dump cannot be read, or the folder not be written to; nothing is left behind.
        VmcoreError: it is no dump, or too damaged.
    """
    # imported here: the package itself is imported by every command, which needs none of this
    from vmcoretool.inspection.as_json import to_dict  # noqa: PLC0415
    from vmcoretool.render.owner import owner_words  # noqa: PLC0415
    from vmcoretool.render.text import inspection_text  # noqa: PLC0415

    name = os.fspath(path)
    place = folder if folder is not None else os.path.dirname(os.path.abspath(name))
    about = _about(name)  # before: a dump that changes meanwhile is not the one of the report
    with open_vmcore(name) as vmcore:
        inspection = inspect_vmcore(vmcore)
        facts = to_dict(inspection)
        text = inspection_text(inspection, verbose=True) + "\n"
    verdict = inspection.verdict
    said = owner_words(inspection.kind, inspection.vmcore)
    if inspection.kind == "xen-host":
        version = inspection.xen.version if inspection.xen else None
        start = "unknown" if verdict.xen_phys_start is None else f"{verdict.xen_phys_start:#x}"
        said = f"Xen {version.text if version else '(version unknown)'}, xen_phys_start {start} "
        cause = inspection.account.cause
        said += f"{verdict.status}; {cause.headline if cause else 'no panic text'}"
    if vmcore.memory.refused:  # what the system refused to read may be there another time
        about["final"] = False
        return _write(place, name, about, facts, text, f"{said[:_LIMIT]}; not all could be read")
    return _write(place, name, about, facts, text, said[:_LIMIT])


def leave_report(path: str) -> tuple[Report, str]:
    """As :func:`write_report`, or the reason why there is none, so that it is not tried for ever.

    Returns:
        What was written, and why it is no inspection, or "".

    Raises:
        OSError: the dump cannot be read, or the folder not be written to; nothing is left behind.
        VmcoreError: the dump could not be read here and now, which may go well another time.
    """
    about = _about(path)
    try:
        return write_report(path), ""
    except VmcoreError as error:
        if _is_passing(error):
            raise
        why = printable(str(error))
        text = f"{why}\n" if error.path else f"{printable(path)}: {why}\n"
    facts = {"schema": FAILURE_SCHEMA, "error": why}
    place = os.path.dirname(os.path.abspath(path))
    return _write(place, path, about, facts, text, f"not inspected: {why}"), why


def _is_passing(error: BaseException) -> bool:
    """Whether an error is from the system, and not from what the dump is like."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (OSError, MemoryError, ImportError)):
            return True  # ImportError: a codec that is not installed yet
        cause = cause.__cause__
    return False


def is_done(dump: str) -> bool:
    """Whether a report of this very dump, by this version of the tool, lies beside it.

    One of a dump that the system could not read everywhere is not the last one.
    """
    path = os.path.join(os.path.dirname(dump), JSON_NAME)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            os.close(handle)
            return False
        with open(handle, "rb") as file:
            # "report" is the last key; what is before it may be large, and anything
            file.seek(max(0, status.st_size - _TAIL))
            end = file.read(_TAIL)
        return _about_in(end) == _about(dump)
    except OSError:
        return False


def _about_in(end: bytes) -> object:
    import json  # noqa: PLC0415 - as above

    start = end.rfind(b'"report": {')
    try:
        facts: dict[str, object] = json.loads(b"{" + end[start:]) if start >= 0 else {}
    except (ValueError, RecursionError):
        return None
    return facts.get("report")


def _about(path: str) -> dict[str, Any]:
    """By which version, of which file of which size: what makes a report this very one."""
    try:
        size = os.stat(path).st_size
    except OSError:
        size = None
    name = printable(os.path.basename(path))
    return {"tool": f"vmcoretool {__version__}", "dump": name, "size": size}


def _write(  # noqa: PLR0913, PLR0917 - one report
    place: str, path: str, about: dict[str, Any], facts: dict[str, Any], text: str, said: str
) -> Report:
    import json  # noqa: PLC0415 - as above

    name = os.path.basename(path)
    if name.endswith(INCOMPLETE):
        cut = "cut short: its name says that it was never finished"
        said, text = f"{said}; {cut}", f"{text}\n{printable(name)} is {cut}\n"
    now = _about(path)
    if now["size"] != about["size"]:
        said = f"{said}; it changed while it was read"
    if now != about:
        said = f"{said}: {AGAIN}"
    facts["report"] = about  # the last key: is_done looks for it at the end
    text_path = os.path.join(place, TEXT_NAME)
    json_path = os.path.join(place, JSON_NAME)
    _put(text_path, text)
    _put(json_path, json.dumps(facts) + "\n")  # last: it says that the work is done
    return Report(json_path, text_path, f"{printable(name)}: {said}")


def _put(path: str, text: str) -> None:
    # tmp, fsync, rename: a reader sees the old file or the new one, never half of one
    import tempfile  # noqa: PLC0415 - as above

    folder, name = os.path.split(path)
    handle, partial = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
    try:
        with open(handle, "w", encoding="ascii", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(handle)
        os.replace(partial, path)
    except BaseException:
        if os.path.exists(partial):
            os.unlink(partial)
        raise
