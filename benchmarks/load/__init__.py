"""`python -m benchmarks load`: the gateway beside other gateways, a bare relay and no gateway at all, under one load.

    command ─▶ runner ─▶ sections ─▶ wrk, streams ─▶ candidates ─▶ upstreams
                  │       what is    the load        who is        nginx, which answers at once;
                  ▼       measured                   measured      paced, which sends tokens at a pace
               summary ─▶ report, pictures

Rounds alternate over the candidates, so that what else the machine does falls on all of them; read ratios before
absolute figures. Servers are pinned to one core, the load and the upstreams to another.
"""
