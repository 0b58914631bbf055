"""Tokens for the visitors of a Flask application: flask --app examples/tokens/with_flask.py run --port 8000"""

import os
import time
from pathlib import Path
from urllib.parse import quote

import jwt
from flask import Flask, abort, request, send_file, session

KEY = Path(os.environ.get("PUSH_KEY", "comet.key")).read_text().strip()
LIFE = 300
app = Flask(__name__)
app.secret_key = os.environ.get("SECRET", "only for this example")


def user():
    """Return who asks; without a session that is nobody."""
    return session.get("user") or abort(401, "log in first")


def allowed(user):
    """Return what ``user`` may do. Quoted, because somebody may choose the name ``**``, which would be a pattern."""
    return {"subscribe": ["chat/*", f"user/{quote(user, safe='')}"], "publish": ["chat/lobby"]}


@app.get("/token")
def token():
    """Hand out a token for the next minutes."""
    now = int(time.time())
    claims = {"sub": user(), "iat": now, "exp": now + LIFE, "comet": allowed(user())}
    return jwt.encode(claims, KEY, "HS256"), {"Content-Type": "text/plain", "Cache-Control": "no-store"}


@app.get("/comet/authorize")
def authorize():
    """Answer the daemon, which asks with the visitor's cookies: for those who come without a token."""
    return {"sub": user(), "ttl": LIFE, "comet": allowed(user())}


@app.post("/login")
def login():
    """Believe whoever comes: here an application checks a password."""
    session["user"] = str(request.get_json()["user"])
    return "", 204


@app.get("/")
def page():
    """Show the chat."""
    return send_file("page.html")
