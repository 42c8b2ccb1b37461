"""The web page at `/ui/`: files that the browser runs, and a thin server that stands between them and the gateway.

The page speaks to the gateway through its HTTP API alone, so it runs inside the gateway as well as in a process of its
own (`gattway ui --gateway URL`); see docs/page.md.
"""
