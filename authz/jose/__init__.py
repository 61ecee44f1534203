"""JSON Web Signatures, keys and tokens (RFC 7515 to 7519), as strictly as RFC 8725 advises.

A token is taken apart under strict rules before any key is looked for, and verified with one key
whose algorithm was fixed when it was registered: the token chooses neither (RFC 8725 section 3.1).
PyJWT and cryptography do the arithmetic.
"""
