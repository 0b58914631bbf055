"""An auction: each bid is published once it is committed, and a page misses none from its rendering on.

The trap is the order in ``page``: first the position, then the state. A bid that is committed between the two then
reaches the page twice, which it does not mind; the other way round it would not reach the page at all.
"""

import json
import os
from urllib.request import urlopen

from django.db import transaction
from django.db.models import Max
from django.http import HttpResponseBadRequest
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_POST

from auction.models import Bid
from comet.publish import Publisher

PUSH_URL = os.environ.get("PUSH_URL", "http://127.0.0.1:7080")  # Comet, as browsers reach it
STREAM = f"{PUSH_URL}/topics/auction/7"
publisher = Publisher(os.environ.get("PUSH_SERVER", "127.0.0.1:7081"), patience=2)


def position():
    """Return where the log stands now."""
    with urlopen(f"{STREAM}?since=now&wait=0", timeout=5) as answer:
        return json.load(answer)["next"]


def page(request):
    """Render the state, and the URL of the stream of what comes after it."""
    since = position()
    price = Bid.objects.aggregate(highest=Max("price", default=0))["highest"]
    return render(request, "auction/page.html", {"price": price, "stream": f"{STREAM}?since={since}"})


class TooLow(Exception):
    """Somebody has bid as much or more."""


@require_POST
def bid(request):
    """Take a bid, if it is the highest."""
    price = int(request.POST["price"])
    try:
        with transaction.atomic():
            mine = Bid.objects.create(price=price)
            # Not a partial: Django logs a publish that fails by its name, and a partial has none.
            transaction.on_commit(lambda: publisher.publish("auction/7", {"price": price}), robust=True)
            if Bid.objects.filter(price__gte=price).exclude(pk=mine.pk).exists():
                raise TooLow  # rolls back, and nothing is published
    except TooLow:
        return HttpResponseBadRequest("somebody has bid as much or more")
    return redirect("/")


urlpatterns = [path("", page), path("bid", bid)]
