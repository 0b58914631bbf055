"""An auction: each bid is published once it is committed, and a page misses none from its rendering on.

The trap is the order in ``page``: first the position, then the state. A bid that is committed between the two then
reaches the page twice, which it does not mind; the other way round it would not reach the page at all. Another trap:
the publisher blocks, so the functions are plain ones, which FastAPI runs in threads.
"""

import json
import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.request import urlopen

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates
from pydantic import BaseModel

from comet.publish import Publisher, PublishError

DATABASE = os.environ.get("DATABASE", "auction.db")
PUSH_URL = os.environ.get("PUSH_URL", "http://127.0.0.1:7080")  # Comet, as browsers reach it
STREAM = f"{PUSH_URL}/topics/auction/7"
publisher = Publisher(os.environ.get("PUSH_SERVER", "127.0.0.1:7081"), patience=2)
templates = Jinja2Templates(Path(__file__).parent / "templates")
app = FastAPI()

with closing(sqlite3.connect(DATABASE)) as database:
    database.execute("CREATE TABLE IF NOT EXISTS bids (price INTEGER NOT NULL)")


class Bid(BaseModel):
    """What is bid."""

    price: int


def position() -> str:
    """Return where the log stands now."""
    with urlopen(f"{STREAM}?since=now&wait=0", timeout=5) as answer:
        return json.load(answer)["next"]


@app.get("/")
def page(request: Request) -> HTMLResponse:
    """Render the state, and the URL of the stream of what comes after it."""
    since = position()
    with closing(sqlite3.connect(DATABASE)) as database:
        (price,) = database.execute("SELECT coalesce(max(price), 0) FROM bids").fetchone()
    return templates.TemplateResponse(request, "page.html", {"price": price, "stream": f"{STREAM}?since={since}"})


@app.post("/bid", status_code=204)
def bid(bid: Bid) -> None:
    """Take a bid, if it is the highest."""
    with closing(sqlite3.connect(DATABASE)) as database, database:  # commits at its end, or rolls back
        database.execute("INSERT INTO bids VALUES (?)", [bid.price])
        if database.execute("SELECT count(*) FROM bids WHERE price >= ?", [bid.price]).fetchone() != (1,):
            raise HTTPException(400, "somebody has bid as much or more")
    try:
        publisher.publish("auction/7", {"price": bid.price})
    except PublishError:
        logging.exception("the bid is stored, but not published")
