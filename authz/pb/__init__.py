"""Envoy's ext_authz messages, generated from protos/.

Never edit what is here: change the .proto file and run `python protos/generate.py`.
"""
