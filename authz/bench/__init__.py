"""`authz bench`: what a Check costs here, beside what does nothing and beside Envoy's own filters.

From the bottom: `order` (what one measurement is), `calls` and `people` (what is asked, and who is
allowed), `grpc_link`, `http_link` and `load` (the load generator, a process of its own), `nothing`
and `in_process` (what is compared), `site` and `gateway` (what runs), `candidates`, `line_up` and
`measuring` (who is measured, in rounds), `figures`, `report` and `picture` (what comes of it).

Nothing here is on the path of a request.
"""
