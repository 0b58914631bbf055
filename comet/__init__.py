"""Comet: a push daemon on Twisted. Programs publish messages on topics; browsers that hold a response receive them."""

__version__ = "0.1.0"
