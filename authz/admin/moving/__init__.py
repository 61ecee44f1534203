"""Moving in: other gateways' files as gateway documents, with a report of every line of theirs.

What says who may call is taken over, or reported. What cannot be taken over never opens anything: a
route that asks there for something that cannot be asked for here admits nobody.
"""
