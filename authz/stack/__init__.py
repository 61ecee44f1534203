"""Everything on one machine: Valkey, authz, Envoy and an upstream, for `authz up` and the tests.

Nothing here is on the path of a request, and production needs none of it.
"""
