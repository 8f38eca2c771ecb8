"""The page for a browser: the tree, containers, images and events, live; read-only.

It is off unless the configuration says `page = true` under `[metrics]`: whoever may connect to that address,
on loopback, sees it. It has no resource of anybody else, no inline script, and takes nothing in.
"""

from actors.page.serving import Page

__all__ = ["Page"]
