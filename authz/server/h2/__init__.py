"""A small HTTP/2 server for gRPC, made for Checks: one thread that reads, decides and answers.

Below stands what knows no socket (`hpack`, `frames`, `calls`, `connection`), above it the
loop (`listening`, `peer`, `loop`), on top what is served (`health`, `transport`). Linux alone:
epoll and eventfd.
"""
