"""The two resources that the tree is made of: a leaf that refuses politely, and a branch that knows its children."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource

from comet.errors import CometError, MethodNotAllowed, NotFound, shown


def refuse(failure: Failure, request: Any) -> None:
    """Answer ``request``, for which something was waited for, with what refuses it."""
    if not failure.check(CometError):
        request.processingFailed(failure)
    elif request.channel is not None:
        request.refuse(failure.value)


class Leaf(Resource):
    """Answers everything beneath its path by ``render_<METHOD>``, which may raise any refusal."""

    isLeaf = True

    def render(self, request: Any) -> Any:
        """Answer, or raise :exc:`~comet.errors.MethodNotAllowed`."""
        method = request.method.decode("latin-1")
        render = getattr(self, f"render_{method}", None)
        if render is None or method == "HEAD":
            allowed = ", ".join(
                sorted(name[7:] for name in dir(self) if name.startswith("render_") and name != "render_HEAD")
            )
            request.setHeader(b"allow", allowed.encode())
            raise MethodNotAllowed(f"{shown(method)} is not done here; there is {allowed}")
        return render(request)


class Nothing(Resource):
    """What is found where there is nothing."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        """Raise :exc:`~comet.errors.NotFound`."""
        raise NotFound(f"there is nothing at {shown(request.path)}")


class Branch(Resource):
    """Has ``children`` by the next segment of the path, and nothing else."""

    def __init__(self, children: Mapping[bytes, IResource]) -> None:
        super().__init__()
        for name, child in children.items():
            self.putChild(name, child)

    def getChild(self, path: bytes, request: Any) -> IResource:  # noqa: ARG002
        """Nothing: ``children`` were looked at before."""
        return Nothing()
