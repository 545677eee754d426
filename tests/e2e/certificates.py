"""Creates a certificate authority for one run, and a certificate for `localhost`, with `openssl`."""

import subprocess


def make(folder):
    folder.mkdir()

    def openssl(*arguments):
        command = ["openssl", *map(str, arguments)]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-days", 2, "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *key, "-subj", "/CN=localhost", "-keyout", "localhost.key", "-out", "localhost.csr")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
    signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", 2, "-extfile", "names"]
    openssl("x509", "-req", "-in", "localhost.csr", "-out", "localhost.pem", *signing)
    return folder
