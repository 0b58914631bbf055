"""What has been bid."""

from django.db import models


class Bid(models.Model):
    """A bid; the highest one is the price."""

    price = models.PositiveIntegerField()
