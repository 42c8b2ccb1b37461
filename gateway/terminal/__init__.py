"""`gattway chat`: a client of the gateway's HTTP API like any other."""
