"""``comet doctor URL``: open every transport through the URL that clients use, publish, and say in words what is wrong.

Exit code 0 if all is well (warnings allowed), 1 if something is bad, 2 if nobody could be reached.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from comet.commands.arguments import Parser
from comet.commands.doctor.examination import Orders, examine
from comet.commands.doctor.findings import Finding, exit_code, fault
from comet.commands.doctor.publishing import server_of
from comet.commands.doctor.report import Objects, Report, Words
from comet.commands.doctor.target import Target
from comet.commands.doctor.wire import Trust, Unreachable
from comet.sending.credentials import of_environment

UNREACHABLE = 2
LONGEST_IDLE = 3600.0


def main(arguments: Sequence[str]) -> int:
    """Examine, and print what comes of it."""
    options = _parser().parse_args(arguments)
    report: Report = Objects(sys.stdout) if options.json else Words(sys.stdout)
    orders = Orders(
        target=Target.of(options.url, options.host).shown(of_environment()),
        trust=Trust(options.ca, not options.insecure),
        origin=options.origin,
        publish=options.publish_url and Target.of(options.publish_url).shown(of_environment()),
        server=options.server or "",
        idle=options.idle,
        progress=report.progress,
    )
    findings: list[Finding] = []
    try:
        for finding in examine(orders):
            findings.append(finding)
            report.tell(finding)
        code = exit_code(findings)
    except Unreachable as error:
        findings.append(fault("address", "unreachable", str(error), error.mend))
        report.tell(findings[-1])
        code = UNREACHABLE
    report.conclude(findings, code)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "comet doctor",
        description="Open every transport through the URL that clients use, publish, and say what is wrong and how to "
        "mend it.",
    )
    parser.add_argument(
        "url", metavar="URL", type=_url, help="the URL of Comet that clients use, https://push.example/"
    )
    way = parser.add_mutually_exclusive_group()
    way.add_argument(
        "--publish-url", type=_url, default=None, metavar="URL", help="publish there, if the public URL is not to"
    )
    way.add_argument("--server", type=_server, metavar="HOST:PORT", help="publish there, the TCP port")
    parser.add_argument("--host", default="", metavar="NAME", help="send this as Host, whatever the URL has")
    parser.add_argument("--origin", default="", metavar="ORIGIN", help="try as a page of that origin, too")
    parser.add_argument("--idle", type=_seconds, default=0.0, metavar="SECONDS", help="watch that long a silence, too")
    parser.add_argument("--insecure", action="store_true", help="trust any certificate")
    parser.add_argument("--ca", type=_file, metavar="FILE", help="trust the certificates in FILE, in PEM")
    parser.add_argument("--json", action="store_true", help="print an object a line")
    return parser


def _url(text: str) -> str:
    try:
        Target.of(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} cannot be used: write a URL such as https://push.example/"
        ) from None
    return text


def _server(text: str) -> str:
    try:
        server_of(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used: write host:port, such as 127.0.0.1:7081") from None
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST_IDLE:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used: it is a number of seconds up to {LONGEST_IDLE:g}")
    return seconds


def _file(text: str) -> str:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used: there is no such file")
    return text
