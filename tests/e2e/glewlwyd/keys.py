"""Generates private keys as a JWK set."""

import base64
import json
import subprocess

# The lengths of coordinates and private keys in bytes (RFC 7518 §6.2.1.2 and §6.2.2.1).
LENGTHS = {"P-256": 32, "P-384": 48}


def generate(algorithms, tag=""):
    """Returns one key for each pair of a type of `rnbyc` and an algorithm. The `kid` is the algorithm in lower case, then the tag."""
    keys = [generate_key(kind, algorithm, f"{algorithm.lower()}{tag}") for kind, algorithm in algorithms]
    return {"keys": keys}


def generate_key(kind, algorithm, kid):
    # `rnbyc` omits leading zero bytes of one key in about a hundred, and such a key is malformed.
    while True:
        command = ["rnbyc", "-j", "-g", kind, "-k", kid, "-a", algorithm, "-p", "/dev/null"]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        (key,) = json.loads(output.replace("Private keys:", ""))["keys"]
        length = LENGTHS.get(key.get("crv"))
        if length is None or all(len(decode(key[name])) == length for name in ["x", "y", "d"]):
            return key


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
