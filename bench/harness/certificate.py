"""The certificate both proxies show."""

import subprocess


def make(home):
    """A self-signed one for localhost: (certificate, key)."""
    certificate, key = home / "server.crt", home / "server.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", key, "-out", certificate],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    # Both programs read it, under different accounts; it protects nothing.
    key.chmod(0o644)
    return certificate, key
