"""Reading and replacing a system's small files, byte for byte, and never outside its root."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import Final

MAX_FILE: Final = 1 << 20
"""No configuration of kdump is larger; one that is, is not edited."""
_LABEL: Final = "security.selinux"


def under(root: str, path: str) -> str:
    """A path of a system as a path of this one.

    Raises:
        OSError: a link on the way to it leads out of the root.
    """
    place = os.path.join(root, path.lstrip("/"))
    top = os.path.realpath(root)
    folder = os.path.realpath(os.path.dirname(place))
    if os.path.commonpath((top, folder)) != top:
        what = f"a link on the way leads out of {root}, to {folder}"
        raise OSError(errno.EXDEV, what, place)
    return place


def read(path: str) -> str:
    """A file's text, its line ends as they are.

    Raises:
        OSError: it cannot be read, is no regular file, or is larger than :data:`MAX_FILE`.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)  # open() refuses a folder, and leaves its handle open
        raise OSError(errno.EINVAL, "no regular file", path)
    with open(handle, encoding="utf-8", errors="surrogateescape", newline="") as file:
        text = file.read(MAX_FILE + 1)
    if max(status.st_size, len(text)) > MAX_FILE:
        raise OSError(errno.EFBIG, f"larger than {MAX_FILE >> 20} MiB", path)
    return text


def write(path: str, text: str, mode: int) -> None:
    """Replace a file, or make it: whole or not at all, with the owner and label of the old one.

    Raises:
        OSError: it cannot be written; its name is the final one.
    """
    partial = f"{path}.vmcoretool-new"
    try:
        with suppress(FileNotFoundError):
            os.unlink(partial)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        handle = os.open(partial, flags, 0o600)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    try:
        with open(handle, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(text)
            file.flush()
            os.fchmod(handle, mode)
            _keep_owner_and_label(path, handle)
            os.fsync(handle)
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(partial)
        raise


def _keep_owner_and_label(path: str, handle: int) -> None:
    with suppress(FileNotFoundError, PermissionError):
        owner = os.lstat(path)
        os.fchown(handle, owner.st_uid, owner.st_gid)
    # most systems have no SELinux, and the label of a new file is then nobody's loss
    with suppress(OSError):
        os.setxattr(handle, _LABEL, os.getxattr(path, _LABEL, follow_symlinks=False))
