"""Creates a certificate authority for one run, and certificates for `localhost` and for clients, with `openssl`."""

import subprocess


def make(folder):
    """Creates an authority and the certificate of a server."""
    folder.mkdir()
    openssl(folder, "req", "-x509", *KEY, "-days", 2, "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem")
    sign(folder, "localhost", f"subjectAltName=DNS:localhost,DNS:{OTHER_HOST},IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
    return folder


def client(folder, name):
    """Creates the certificate of a client, of the authority in the folder. Its key is in the file with the suffix `.key`."""
    sign(folder, name, "extendedKeyUsage=clientAuth\n")
    return folder / f"{name}.pem"


def sign(folder, name, extensions):
    openssl(folder, "req", *KEY, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
    (folder / "extensions").write_text(extensions)
    signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", 2, "-extfile", "extensions"]
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signing)


def openssl(folder, *arguments):
    command = ["openssl", *map(str, arguments)]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


# A second host for one server, which no resolver knows.
OTHER_HOST = "other.test"
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
