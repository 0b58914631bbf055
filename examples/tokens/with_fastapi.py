"""Tokens for the visitors of a FastAPI application: uvicorn --app-dir examples/tokens with_fastapi:app --port 8000"""

import os
import time
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import jwt
from fastapi import Body, Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, PlainTextResponse
from starlette.middleware.sessions import SessionMiddleware

KEY = Path(os.environ.get("PUSH_KEY", "comet.key")).read_text().strip()
LIFE = 300
app = FastAPI()
app.add_middleware(SessionMiddleware, secret_key=os.environ.get("SECRET", "only for this example"))


def user(request: Request) -> str:
    """Return who asks; without a session that is nobody."""
    if "user" not in request.session:
        raise HTTPException(401, "log in first")
    return request.session["user"]


User = Annotated[str, Depends(user)]


def allowed(user: str) -> dict[str, list[str]]:
    """Return what ``user`` may do. Quoted, because somebody may choose the name ``**``, which would be a pattern."""
    return {"subscribe": ["chat/*", f"user/{quote(user, safe='')}"], "publish": ["chat/lobby"]}


@app.get("/token")
def token(user: User) -> PlainTextResponse:
    """Hand out a token for the next minutes."""
    now = int(time.time())
    claims = {"sub": user, "iat": now, "exp": now + LIFE, "comet": allowed(user)}
    return PlainTextResponse(jwt.encode(claims, KEY, "HS256"), headers={"Cache-Control": "no-store"})


@app.get("/comet/authorize")
def authorize(user: User) -> dict[str, object]:
    """Answer the daemon, which asks with the visitor's cookies: for those who come without a token."""
    return {"sub": user, "ttl": LIFE, "comet": allowed(user)}


@app.post("/login", status_code=204)
def login(request: Request, user: Annotated[str, Body(embed=True)]) -> None:
    """Believe whoever comes: here an application checks a password."""
    request.session["user"] = user


@app.get("/")
def page() -> FileResponse:
    """Show the chat."""
    return FileResponse(Path(__file__).parent / "page.html")
