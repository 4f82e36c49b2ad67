"""The process that decodes pictures of strangers: reads one after another from standard input, writes what becomes of each.

A message is 8 bytes of length and then so many bytes. A request begins with a byte: "k" for the form that is kept, "d" for all pixels. An
answer begins with a line of JSON, which has ``refused`` where there is no picture. The kernel ends this process when one picture has taken
more CPU time than it may; whoever started it sees the end of the output, and starts another.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import sys
import warnings
from typing import Any, BinaryIO

from corkboard.errors import PictureRefused
from corkboard.lake.pictures.config import PictureLimits
from corkboard.lake.pictures.decode import decode, kept_form

_MEMORY = 4 << 30
"""Address space in bytes. The largest picture that the limits let through takes about a tenth of it."""


def send(stream: BinaryIO, *parts: bytes) -> None:
    """Write one message."""
    stream.write(sum(map(len, parts)).to_bytes(8, "big"))
    for part in parts:
        stream.write(part)
    stream.flush()


def main() -> None:
    """Serve until standard input ends; the limits are the first argument, as JSON."""
    limits = PictureLimits.model_validate_json(sys.argv[1])
    with contextlib.suppress(ValueError, OSError):  # a system may have less, or know no such limit
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the end of the input ends this process, also where somebody presses Ctrl-C
    warnings.simplefilter("ignore")  # of corrupt EXIF data and the like: they are of no consequence, and nobody reads them here
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    send(answers, b"ready")
    while length := int.from_bytes(requests.read(8), "big"):
        request = requests.read(length)
        signal.setitimer(signal.ITIMER_PROF, limits.decode_seconds)  # SIGPROF ends a process that does not handle it
        facts, content = _answer(request, limits)
        signal.setitimer(signal.ITIMER_PROF, 0)
        send(answers, json.dumps(facts).encode() + b"\n", content)


def _answer(request: bytes, limits: PictureLimits) -> tuple[dict[str, Any], bytes]:
    try:
        if request[:1] == b"k":
            content, kind = kept_form(request[1:], limits)
            return {"kind": kind}, content
        picture = decode(request[1:], limits)
    except PictureRefused as error:
        return {"refused": error.message, "found": error.found, "expected": error.expected}, b""
    return {"shape": picture.rgb.shape, "format": picture.format}, picture.rgb.tobytes()


if __name__ == "__main__":
    main()
