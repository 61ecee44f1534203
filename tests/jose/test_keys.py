"""Keys: what may verify, and that it verifies what was signed with it and nothing else."""

from __future__ import annotations

import base64
import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, x25519
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from authz.jose.keys import MAX_PEM, MAX_SECRET, UnfitKey, VerifyKey, bound, public_key, secret_key
from authz.jose.roca import has_roca_fingerprint
from authz.jose.tokens import ALGORITHMS, NotAToken, parse
from tests.jose.vectors import load
from tests.support.tokens import SECRET, jwk, pem, private_key, private_pem, rsa_key, token

HS = ("HS256", "HS384", "HS512")
CLAIMS = {"key": "a", "exp": 4102444800}


def verify_key(algorithm: str, name: str = "") -> VerifyKey:
    key = private_key(algorithm, name)
    if algorithm in HS:
        return secret_key(algorithm, key)
    return public_key(algorithm, pem(key))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_holds_what_it_signed(algorithm: str) -> None:
    """PyJWT signs, we verify; not with another key, nor what names another algorithm."""
    mine, other = verify_key(algorithm), verify_key(algorithm, "other")
    text = token(CLAIMS, private_key(algorithm), algorithm)

    assert mine.holds(parse(text))
    assert not other.holds(parse(text))
    for name in ALGORITHMS:
        if name != algorithm:
            assert not VerifyKey(name, mine.key).holds(parse(text))


def test_ed448() -> None:
    """The other curve of EdDSA (RFC 8037 section 3.1)."""
    key = private_key("Ed448")

    assert public_key("EdDSA", pem(key)).holds(parse(token(CLAIMS, key, "EdDSA")))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(data=st.data())
def test_any_changed_byte_fails(algorithm: str, data: st.DataObject) -> None:
    """One character of the token replaced: it is no token any more, or it does not hold."""
    key = verify_key(algorithm)
    text = SIGNED.setdefault(algorithm, token(CLAIMS, private_key(algorithm), algorithm))
    place = data.draw(st.integers(0, len(text) - 1))
    character = data.draw(st.characters(codec="latin-1").filter(lambda c: c != text[place]))

    try:
        changed = parse(text[:place] + character + text[place + 1 :])
    except NotAToken:
        return
    assert not key.holds(changed)


SIGNED: dict[str, str] = {}


@given(st.binary(min_size=1, max_size=200))
def test_no_other_signature_holds(signature: bytes) -> None:
    """Any bytes at all as the signature, under every algorithm."""
    for algorithm in ALGORITHMS:
        text = SIGNED.setdefault(algorithm, token(CLAIMS, private_key(algorithm), algorithm))
        forged = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
        made = parse(f"{text.rpartition('.')[0]}.{forged}")
        assert verify_key(algorithm).holds(made) is (parse(text).signature == signature)


@pytest.mark.parametrize("numbers", [(0, 0), (1, 0), (0, 1), ("n", "n")])
def test_degenerate_ecdsa_signatures(numbers: tuple[Any, Any]) -> None:
    """r and s of zero or of the group's order, which broken verifiers took (CVE-2022-21449)."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    raw = b"".join((order if n == "n" else n).to_bytes(32, "big") for n in numbers)
    text = token(CLAIMS, private_key("ES256"), "ES256").rpartition(".")[0]
    forged = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    assert not verify_key("ES256").holds(parse(f"{text}.{forged}"))


# -- secrets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("algorithm", "least"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_short_secrets(algorithm: str, least: int) -> None:
    """Not shorter than the hash (RFC 7518 section 3.2), unless that is expressly allowed."""
    assert secret_key(algorithm, b"x" * least).key == b"x" * least
    with pytest.raises(UnfitKey, match=f"has {least - 1} bytes, {algorithm} needs {least}"):
        secret_key(algorithm, b"x" * (least - 1))
    weak = secret_key(algorithm, b"apinto", allow_weak=True)
    assert weak.holds(parse(token(CLAIMS, b"apinto", algorithm)))


@pytest.mark.parametrize(
    ("secret", "message"),
    [(b"", "empty"), (b"x" * (MAX_SECRET + 1), "longer than")],
)
def test_secrets_that_nothing_permits(secret: bytes, message: str) -> None:
    with pytest.raises(UnfitKey, match=message):
        secret_key("HS256", secret, allow_weak=True)


@pytest.mark.parametrize("algorithm", ["RS256", "none", "", "ES256"])
def test_only_hmac_takes_a_secret(algorithm: str) -> None:
    with pytest.raises(UnfitKey, match="only HS256, HS384 and HS512"):
        secret_key(algorithm, SECRET)


def spellings() -> list[bytes]:
    """A public key in every form in which one is handed about."""
    key = rsa_key().public_key()
    spki = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pkcs1 = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    ssh = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    text = pem(key).encode()
    crt = certificate().public_bytes(serialization.Encoding.DER)
    wrapped = base64.encodebytes(spki)
    flat = [text, text.strip(), text.replace(b"\n", b"\r\n"), b"\n " + text, spki, pkcs1, crt, ssh]
    jwk_text = b' {"kty": "RSA", "n": "0vx7", "e": "AQAB", "padding": "' + b"x" * 40 + b'"}'
    return [*flat, wrapped, wrapped.replace(b"\n", b""), base64.b64encode(pkcs1), jwk_text]


def test_a_public_key_is_no_secret() -> None:
    """Else whoever knows it could sign (CVE-2015-9235, CVE-2026-39999)."""
    found = spellings()
    for secret in found:
        with pytest.raises(UnfitKey, match="public key"):
            secret_key("HS256", secret, allow_weak=True)
    assert len(found) == 12


@pytest.mark.parametrize("secret", [b"{" + SECRET, b"\x30" + SECRET, base64.b64encode(SECRET)])
def test_secrets_that_only_begin_like_a_public_key(secret: bytes) -> None:
    assert secret_key("HS256", secret).key == secret


# -- public keys -----------------------------------------------------------------------------------


def certificate() -> x509.Certificate:
    """A certificate, long expired, of the RSA key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
    start = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder().issuer_name(name).subject_name(name).serial_number(1)
    builder = builder.not_valid_before(start).not_valid_after(start.replace(year=2002))
    return builder.public_key(rsa_key().public_key()).sign(rsa_key(), hashes.SHA256())


def test_the_forms_of_a_public_key() -> None:
    """SPKI, PKCS#1 and a certificate, whatever stands around them."""
    key = rsa_key().public_key()
    pkcs1 = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1).decode()
    crt = certificate().public_bytes(serialization.Encoding.PEM).decode()
    text = token(CLAIMS, rsa_key(), "RS256")

    for form in (pem(key), pkcs1, crt, "Our key:\n" + pem(key), pem(key).replace("\n", "\r\n")):
        assert public_key("RS256", form).holds(parse(text))


def unfit() -> list[tuple[str, str, str]]:
    """(algorithm, PEM, what is wrong)."""
    other = x25519.X25519PrivateKey.generate()
    other_curve = ec.generate_private_key(ec.SECP256K1())
    return [
        ("RS256", "", "not PEM"),
        ("RS256", "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A", "not PEM"),
        ("RS256", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "can be read"),
        ("RS256", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "can be read"),
        ("RS256", "-----BEGIN PUBLIC KEY-----\n\udcff\n-----END PUBLIC KEY-----", "can be read"),
        ("RS256", " " * (MAX_PEM + 1), "longer than"),
        ("RS256", private_pem(rsa_key()), "private key"),
        ("ES256", private_pem(private_key("ES256")), "private key"),
        ("RS256", pem(rsa_key()) * 2, "more than one"),
        ("RS256", pem(rsa_key(1024)), "1024 bits"),
        ("RS256", pem(private_key("ES256")), "not a key for RS256"),
        ("PS256", pem(private_key("EdDSA")), "not a key for PS256"),
        ("ES256", pem(rsa_key()), "not a key for ES256"),
        ("ES256", pem(private_key("ES384")), "its curve is secp384r1"),
        ("ES512", pem(private_key("ES256")), "its curve is secp256r1"),
        ("ES256", pem(other_curve), "its curve is secp256k1"),
        ("EdDSA", pem(rsa_key()), "not a key for EdDSA"),
        ("EdDSA", pem(other), "not a key for EdDSA"),
        ("RS256", pem(dsa.generate_private_key(1024)), "not a key for RS256"),
        ("HS256", pem(rsa_key()), "not a key for HS256"),
        ("none", pem(rsa_key()), "not an algorithm"),
        ("RS1", pem(rsa_key()), "not an algorithm"),
    ]


def test_unfit_public_keys() -> None:
    """Each is refused, and the text says why."""
    cases = unfit()
    for algorithm, text, message in cases:
        with pytest.raises(UnfitKey, match=message) as refused:
            public_key(algorithm, text)
        assert "\n" not in str(refused.value)
    assert len(cases) == 22


def test_exponents() -> None:
    """Three is the least that may be."""
    assert public_key("RS256", pem(rsa_key(2048, 3))).algorithm == "RS256"


def test_the_roca_fingerprint() -> None:
    """Wycheproof's vulnerable key has it, ours do not."""
    [group] = [
        group
        for group in load("wycheproof/json_web_key_test.json")["testGroups"]
        if group["comment"] == "jws_rsa_roca_key"
    ]
    n = group["public"]["keys"][0]["n"]
    modulus = int.from_bytes(base64.urlsafe_b64decode(n + "=="), "big")

    assert has_roca_fingerprint(modulus)
    assert not has_roca_fingerprint(rsa_key().public_key().public_numbers().n)


def test_what_a_key_says_of_itself() -> None:
    """Its algorithm; the secret never."""
    assert repr(secret_key("HS256", SECRET, id="k")) == "VerifyKey(HS256)"
    assert secret_key("HS256", SECRET) == secret_key("HS256", SECRET)
    assert bound("RS256", rsa_key().public_key()) == public_key("RS256", pem(rsa_key()))
    assert jwk("RS256", rsa_key())["kty"] == "RSA"
