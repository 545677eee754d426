#!/usr/bin/env python3
# Configure a fresh glewlwyd (admin/password) with an OIDC plugin + clients. stdlib only.
import os, json, sys, urllib.request, urllib.error, http.cookiejar, ssl
import keys
base = sys.argv[1].rstrip('/'); issuer = sys.argv[2] if len(sys.argv) > 2 else base; tls = base.startswith('https')
ctx = ssl.create_default_context(cafile=os.environ.get('CERTS', 'certs') + '/ca.pem') if tls else None
cj = http.cookiejar.CookieJar()
op = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cj), *( [urllib.request.HTTPSHandler(context=ctx)] if tls else []))
def call(m, p, body=None, ok=(200,)):
    r = urllib.request.Request(base + '/api' + p, method=m, data=None if body is None else json.dumps(body).encode(), headers={'content-type': 'application/json'})
    try:
        with op.open(r) as f: t = f.read(); return json.loads(t) if t else None
    except urllib.error.HTTPError as e:
        print('ERR', m, p, e.code, e.read()[:800]); raise SystemExit(1)
jw = keys.generate([('rsa2048', 'RS256'), ('rsa2048', 'PS256'), ('ec256', 'ES256'), ('ec384', 'ES384'), ('ed25519', 'EdDSA')])
call('POST', '/auth', {'username': 'admin', 'password': 'password'})
for s in ('read:orders', 'write:orders', 'admin', 'introspect'):
    call('POST', '/scope', {'name': s, 'display_name': s, 'description': s, 'password_required': False})
m = call('GET', '/mod/client/database')
m['parameters']['data-format'].update({'sign_kid': {'multiple': False, 'read': True, 'write': True}, 'dpop_bound_access_tokens': {'multiple': False, 'read': True, 'write': True}})
call('PUT', '/mod/client/database', m); call('PUT', '/mod/client/database/reset')
A = 'https://api.example.test/'
params = {
  'iss': issuer, 'jwks-private': json.dumps(jw), 'default-kid': 'rs256', 'client-sign_kid-parameter': 'sign_kid', 'jwks-show': True,
  'access-token-duration': 300, 'refresh-token-duration': 3600, 'code-duration': 60, 'refresh-token-rolling': False,
  'allow-non-oidc': True, 'auth-type-client-enabled': True, 'auth-type-code-enabled': True, 'auth-type-token-enabled': True, 'auth-type-implicit-enabled': True,
  'auth-type-password-enabled': True, 'auth-type-refresh-enabled': True, 'auth-type-device-enabled': False, 'auth-type-none-enabled': False,
  'subject-type': 'public', 'secret-type': 'pairwise', 'allowed-scope': ['openid', 'read:orders', 'write:orders', 'admin'],
  'introspection-revocation-allowed': True, 'introspection-revocation-allow-target-client': True, 'introspection-revocation-auth-scope': ['introspect'],
  'resource-allowed': True, 'resource-scope': {s: [A, A + 'v2'] for s in ('read:orders', 'write:orders', 'admin')}, 'resource-client-property': 'resource', 'resource-scope-and-client-property': False,
  'oauth-dpop-allowed': True, 'oauth-dpop-iat-duration': 60, 'oauth-dpop-iat-gap-duration': 10, 'oauth-dpop-nonce-mandatory': False, 'oauth-dpop-nonce-counter': 50, 'oauth-dpop-dpop_bound_access_tokens-property': 'dpop_bound_access_tokens',
  'client-cert-source': 'TLS' if tls else 'no', 'client-cert-use-endpoint-aliases': True, 'client-cert-self-signed-allowed': True,
  'encrypt-out-token-allow': True, 'request-parameter-allow': True, 'client-jwks-parameter': 'jwks', 'client-pubkey-parameter': 'pubkey',
  'client-enc-parameter': 'enc', 'client-alg-parameter': 'alg', 'client-alg_kid-parameter': 'alg_kid', 'client-encrypt_at-parameter': 'encrypt_at',
  'session-management-allowed': False, 'pkce-allowed': True, 'pkce-method-plain-allowed': False, 'additional-parameters': [], 'scope': [], 'claims': [],
}
call('POST', '/mod/plugin', {'module': 'oidc', 'name': 'oidc', 'display_name': 'oidc', 'parameters': params})
def client(cid, **kw):
    call('POST', '/client', {'client_id': cid, 'name': cid, 'enabled': True, 'confidential': True, 'password': 'svc-secret', 'client_secret': 'svc-secret',
      'authorization_type': ['client_credentials'], 'token_endpoint_auth_method': ['client_secret_basic', 'client_secret_post'], 'redirect_uri': ['http://localhost/cb'],
      'scope': ['read:orders', 'write:orders', 'admin'], **kw})
client('svc')
for k in ('es256', 'es384', 'ps256', 'eddsa'): client('svc-' + k, sign_kid=k)
client('svc-dpop')
client('rs', scope=['introspect'])
if tls: client('svc-mtls', token_endpoint_auth_method=['tls_client_auth'], tls_client_auth_san_dns='svc-mtls')
print('ok')
