"""An auction: each bid is published once it is committed, and a page misses none from its rendering on.

The trap is the order in ``page``: first the position, then the state. A bid that is committed between the two then
reaches the page twice, which it does not mind; the other way round it would not reach the page at all.
"""

import json
import os
import sqlite3
from contextlib import closing
from urllib.request import urlopen

from flask import Flask, abort, redirect, render_template, request

from comet.publish import Publisher, PublishError

DATABASE = os.environ.get("DATABASE", "auction.db")
PUSH_URL = os.environ.get("PUSH_URL", "http://127.0.0.1:7080")  # Comet, as browsers reach it
STREAM = f"{PUSH_URL}/topics/auction/7"
publisher = Publisher(os.environ.get("PUSH_SERVER", "127.0.0.1:7081"), patience=2)
app = Flask(__name__)

with closing(sqlite3.connect(DATABASE)) as database:
    database.execute("CREATE TABLE IF NOT EXISTS bids (price INTEGER NOT NULL)")


def position():
    """Return where the log stands now."""
    with urlopen(f"{STREAM}?since=now&wait=0", timeout=5) as answer:
        return json.load(answer)["next"]


@app.get("/")
def page():
    """Render the state, and the URL of the stream of what comes after it."""
    since = position()
    with closing(sqlite3.connect(DATABASE)) as database:
        (price,) = database.execute("SELECT coalesce(max(price), 0) FROM bids").fetchone()
    return render_template("page.html", price=price, stream=f"{STREAM}?since={since}")


@app.post("/bid")
def bid():
    """Take a bid, if it is the highest."""
    price = int(request.form["price"])
    with closing(sqlite3.connect(DATABASE)) as database, database:  # commits at its end, or rolls back
        database.execute("INSERT INTO bids VALUES (?)", [price])
        if database.execute("SELECT count(*) FROM bids WHERE price >= ?", [price]).fetchone() != (1,):
            abort(400, "somebody has bid as much or more")
    try:
        publisher.publish("auction/7", {"price": price})
    except PublishError:
        app.logger.exception("the bid is stored, but not published")
    return redirect("/")
