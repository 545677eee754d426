"""Generates the certificates of this folder again: python3 make.py. Only the tests trust them; all of them have the key in key.pem."""

from datetime import datetime
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PAST, LONG_AGO, FUTURE, FAR_FUTURE = (datetime(year, 1, 1) for year in (2020, 2021, 2110, 2120))
HERE = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
ELSEWHERE = [x509.DNSName("login.northwind.example")]


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(subject, key, issuer, signer, begin, end, extensions):
    builder = x509.CertificateBuilder(name(issuer), name(subject), key.public_key(), x509.random_serial_number(), begin, end)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer, hashes.SHA256())


def write(file, item):
    with open(file, "wb") as out:
        out.write(item.public_bytes(serialization.Encoding.PEM))


def authority(subject):
    key = ec.generate_private_key(ec.SECP256R1())
    extensions = [(x509.BasicConstraints(True, 0), True)]
    return key, certificate(subject, key, subject, key, PAST, FAR_FUTURE, extensions)


ours, authority_certificate = authority("test authority")
stranger, _ = authority("test stranger")
write("authority.pem", authority_certificate)

server = ec.generate_private_key(ec.SECP256R1())
encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
with open("key.pem", "wb") as out:
    out.write(server.private_bytes(*encoding))

for file, issuer, signer, names, begin, end in [
    ("good", "test authority", ours, HERE, PAST, FAR_FUTURE),
    ("expired", "test authority", ours, HERE, PAST, LONG_AGO),
    ("not_yet_valid", "test authority", ours, HERE, FUTURE, FAR_FUTURE),
    ("other_host", "test authority", ours, ELSEWHERE, PAST, FAR_FUTURE),
    ("unknown_authority", "test stranger", stranger, HERE, PAST, FAR_FUTURE),
]:
    extensions = [
        (x509.BasicConstraints(False, None), True),
        (x509.SubjectAlternativeName(names), False),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
    ]
    write(f"{file}.pem", certificate("test server", server, issuer, signer, begin, end, extensions))
