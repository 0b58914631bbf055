"""Tokens for the visitors of a Django application: python examples/tokens/with_django.py runserver 8000"""

import json
import os
import sys
import time
from pathlib import Path
from urllib.parse import quote

import jwt
from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import FileResponse, HttpResponse, JsonResponse
from django.urls import path

KEY = Path(os.environ.get("PUSH_KEY", "comet.key")).read_text().strip()
LIFE = 300

# What a Django application has in its settings. This one needs no database, so that it fits on a page.
settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("SECRET", "only for this example"),
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
)


def logged_in(view):
    """Give ``view`` the visitor: in an application of yours ``request.user``, and Django's own ``login_required``."""

    def checked(request):
        user = request.session.get("user")
        return view(user) if user else HttpResponse("log in first", status=401)

    return checked


def allowed(user):
    """Return what ``user`` may do. Quoted, because somebody may choose the name ``**``, which would be a pattern."""
    return {"subscribe": ["chat/*", f"user/{quote(user, safe='')}"], "publish": ["chat/lobby"]}


@logged_in
def token(user):
    """Hand out a token for the next minutes."""
    now = int(time.time())
    claims = {"sub": user, "iat": now, "exp": now + LIFE, "comet": allowed(user)}
    return HttpResponse(jwt.encode(claims, KEY, "HS256"), "text/plain", headers={"Cache-Control": "no-store"})


@logged_in
def authorize(user):
    """Answer the daemon, which asks with the visitor's cookies: for those who come without a token."""
    return JsonResponse({"sub": user, "ttl": LIFE, "comet": allowed(user)})


def login(request):
    """Believe whoever comes: here an application checks a password."""
    request.session["user"] = str(json.loads(request.body)["user"])
    return HttpResponse(status=204)


def page(_request):
    """Show the chat."""
    return FileResponse((Path(__file__).parent / "page.html").open("rb"))


urlpatterns = [path("token", token), path("comet/authorize", authorize), path("login", login), path("", page)]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
