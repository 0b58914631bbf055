"""From what was seen on this machine to what is said about it."""

from __future__ import annotations

from comet.commands.doctor.case import Case, Descriptors
from comet.commands.doctor.findings import Finding, fault, fine, warning
from comet.commands.doctor.verdicts import Check

ENOUGH = 4096
"""Open files that are enough for a beginning, where nobody says how many streams there may be."""

SPARE = 100
"""Files that a daemon opens beside its streams."""


def descriptors(case: Case) -> Finding | None:
    """Whether the daemon may open as many files as it may hold streams."""
    found: Descriptors | None = case.descriptors
    if found is None:
        return None
    says = f"the daemon may open {found.limit:,} files, of which {found.opened:,} are open"
    enough = ENOUGH
    if found.streams is not None:
        says, enough = f"{says}, and hold {found.streams:,} streams", found.streams
    if found.limit > enough:
        return fine("files", says, limit=found.limit, opened=found.opened, streams=found.streams)
    remedy = (
        f"raise the limit above {enough:,} before the daemon starts (systemd: LimitNOFILE={enough * 2}; a shell: "
        f"ulimit -n {enough * 2}), or have it hold fewer streams: --max-streams {max(1, found.limit - SPARE)}"
    )
    judge = fault if found.limit - found.opened < max(SPARE, found.limit // 10) else warning
    return judge("files", "descriptors", says, remedy)


def installed(case: Case) -> Finding | None:
    """Whether what is installed here is one Comet, and this one."""
    if not case.installed:
        return None
    others = [each for each in case.installed if each.name == "Comet"]
    ours = [each for each in case.installed if each.name != "Comet"]
    if others:
        return fault(
            "installed",
            "clash",
            f"the distribution Comet {others[0].version} (an astronomy broker) is installed too, in {others[0].place}: "
            "both write the packages comet and twisted.plugins, and each breaks the other",
            "give each a virtual environment of its own: pip uninstall Comet, and then "
            "pip install --force-reinstall comet-push",
        )
    if len({each.version for each in ours}) > 1:
        which = ", ".join(f"{each.version} in {each.place}" for each in ours)
        return warning(
            "installed",
            "clash",
            f"there are several versions of comet-push: {which}",
            "uninstall all but one: the first on sys.path is used, which may be another for twistd than for comet",
        )
    if len(case.plugins) > 1:
        return warning(
            "installed",
            "clash",
            f"there are several plugins called comet: {', '.join(case.plugins)}",
            "twistd takes the first of them: remove the others, or start twistd in another directory",
        )
    return fine("installed", f"comet-push {ours[0].version} in {ours[0].place}")


MACHINE = (Check("files", descriptors), Check("installed", installed))
