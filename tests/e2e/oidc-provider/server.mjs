// Test authorization server: panva oidc-provider 9.x with a control plane.
// env: PORT, HOST, ISSUER, TLS_CERT/TLS_KEY/TLS_CA (enables https + mTLS when set)
import http from 'node:http';
import https from 'node:https';
import fs from 'node:fs';
import Provider, { errors } from 'oidc-provider';
import { generateKeyPair, exportJWK } from 'jose';

const PORT = +(process.env.PORT ?? 0), HOST = process.env.HOST ?? '127.0.0.1';
const TLS = process.env.TLS_CERT;
const ISSUER = process.env.ISSUER ?? `${TLS ? 'https' : 'http'}://localhost:${PORT}`;
const BASE = new URL(ISSUER).pathname.replace(/\/$/, '');      // '' or '/tenant/a'
const HS = Buffer.from(process.env.HS_SECRET ?? 'k'.repeat(32));

let seq = Date.now() % 1e9;
async function mk(alg, opt = {}) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true, ...opt });
  return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: `${alg.toLowerCase()}-${++seq}` };
}
const algs = ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'];
let jwks = process.env.JWKS_FILE && fs.existsSync(process.env.JWKS_FILE) ? JSON.parse(fs.readFileSync(process.env.JWKS_FILE)) : { keys: await Promise.all(algs.map((a) => mk(a))) };
if (process.env.JWKS_FILE) fs.writeFileSync(process.env.JWKS_FILE, JSON.stringify(jwks));   // the keys are the same after a restart, and start-up is faster

// audience -> the format of its tokens
const RS = {
  'https://api.example.test/':        { fmt: 'jwt', alg: 'RS256' },
  'https://api.example.test/es256':   { fmt: 'jwt', alg: 'ES256' },
  'https://api.example.test/es384':   { fmt: 'jwt', alg: 'ES384' },
  'https://api.example.test/ps256':   { fmt: 'jwt', alg: 'PS256' },
  'https://api.example.test/eddsa':   { fmt: 'jwt', alg: 'EdDSA' },
  'https://api.example.test/hs256':   { fmt: 'jwt', alg: 'HS256', key: HS },
  'https://api.example.test/opaque':  { fmt: 'opaque' },
  'https://api.example.test/auth0':   { fmt: 'jwt', alg: 'RS256', claims: 'auth0' },
  'https://api.example.test/multiaud': { fmt: 'jwt', alg: 'RS256', claims: 'multiaud' },
  'https://api.example.test/short':   { fmt: 'jwt', alg: 'RS256', ttl: 3 },
  'https://api.example.test/jwe':     { fmt: 'jwt', alg: 'RS256', jwe: { alg: 'dir', enc: 'A256GCM', key: Buffer.alloc(32, 7) } },
};
// one store for all Provider instances, so that opaque tokens stay valid after a key rotation
const store = new Map();
class Adapter {
  constructor(model) { this.m = model; }
  k(id) { return `${this.m}:${id}`; }
  async upsert(id, payload, ttl) { store.set(this.k(id), { payload, exp: ttl ? Date.now() + ttl * 1000 : Infinity }); }
  async find(id) { const e = store.get(this.k(id)); return e && e.exp > Date.now() ? e.payload : undefined; }
  async findByUid(uid) { for (const [k, e] of store) if (k.startsWith(`${this.m}:`) && e.payload.uid === uid) return e.payload; }
  async findByUserCode() {}
  async destroy(id) { store.delete(this.k(id)); }
  async revokeByGrantId(g) { for (const [k, e] of store) if (e.payload.grantId === g) store.delete(k); }
  async consume(id) { const e = store.get(this.k(id)); if (e) e.payload.consumed = Math.floor(Date.now() / 1000); }
}
const SCOPES = 'read:orders write:orders admin';
let ttl = 300, requireNonce = false;

function build(issuer = ISSUER, keys = jwks) {
  const p = new Provider(issuer, {
    clients: [
      { client_id: 'svc', client_secret: 'svc-secret', grant_types: ['client_credentials'], redirect_uris: [], response_types: [], token_endpoint_auth_method: 'client_secret_basic' },
      { client_id: 'svc-post', client_secret: 'svc-secret', grant_types: ['client_credentials'], redirect_uris: [], response_types: [], token_endpoint_auth_method: 'client_secret_post' },
      { client_id: 'svc-dpop', client_secret: 'svc-secret', grant_types: ['client_credentials'], redirect_uris: [], response_types: [], dpop_bound_access_tokens: true },
      { client_id: 'rs', client_secret: 'rs-secret', grant_types: [], redirect_uris: [], response_types: [] },          // resource server: introspection credentials
      ...(TLS ? [{ client_id: 'svc-mtls', grant_types: ['client_credentials'], redirect_uris: [], response_types: [], token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_subject_dn: 'CN=svc-mtls', tls_client_certificate_bound_access_tokens: true }] : []),
    ],
    adapter: Adapter,
    jwks: keys,
    scopes: SCOPES.split(' '),
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt', 'none', ...(TLS ? ['tls_client_auth', 'self_signed_tls_client_auth'] : [])],
    ttl: { ClientCredentials: (ctx, token) => token.resourceServer?.accessTokenTTL ?? ttl },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: (ctx, client, token) => client.clientId === 'rs' || client.clientId === token.clientId },
      jwtIntrospection: { enabled: true },
      revocation: { enabled: true },
      dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 1), requireNonce: () => requireNonce },
      mTLS: TLS ? {
        enabled: true, certificateBoundAccessTokens: true, selfSignedTlsClientAuth: true, tlsClientAuth: true,
        getCertificate: (ctx) => { const c = ctx.req.socket.getPeerX509Certificate?.(); return c ? c.toString() : undefined; },
        certificateAuthorized: (ctx) => ctx.req.socket.authorized,
        certificateSubjectMatches: (ctx, prop, expected) => prop === 'tls_client_auth_subject_dn' && ctx.req.socket.getPeerX509Certificate()?.subject === expected,
      } : { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: (ctx) => ctx.oidc.body?.audience ?? ctx.oidc.params?.resource,   // Auth0-style `audience=` as well as RFC 8707 `resource=`
        getResourceServerInfo: (ctx, ri) => {
          const r = RS[ri];
          if (!r) throw new errors.InvalidTarget();
          return { scope: SCOPES, audience: ri, accessTokenTTL: r.ttl ?? ttl, accessTokenFormat: r.fmt,
            ...(r.fmt === 'jwt' ? { jwt: { sign: { alg: r.alg, key: r.key }, encrypt: r.jwe } } : {}) };
        },
        useGrantedResource: () => true,
      },
    },
    formats: { customizers: { jwt(ctx, token, jwt) {
      if (RS[token.aud]?.claims === 'multiaud') jwt.payload.aud = [token.aud, `${issuer}/userinfo`];
      if (RS[token.aud]?.claims === 'auth0') {
        const { jti, client_id, ...rest } = jwt.payload;
        jwt.header = { ...jwt.header, typ: 'JWT' };
        jwt.payload = { ...rest, sub: `${client_id}@clients`, azp: client_id, gty: 'client-credentials', permissions: (rest.scope ?? '').split(' ').filter(Boolean) };
      }
    } } },
  });
  p.on('server_error', (ctx, e) => console.error('server_error', e));
  p.on('grant.error', (ctx, e) => console.error('grant.error', e.message, e.error_description, e.error_detail));
  return p.callback();
}
let handler = build();
// the tenants at /t/<name>, each with its own keys
const tenants = new Map();
const ORIGIN = new URL(ISSUER).origin;

async function setTenant(name, mode) {
  const present = tenants.get(name);
  if (mode === 'remove') return tenants.delete(name);
  if (mode === 'create' && !present) {
    const issuer = `${ORIGIN}/t/${name}`;
    return tenants.set(name, { mode: 'ok', issuer, handler: build(issuer, { keys: [await mk('RS256')] }) });
  }
  present.mode = mode === 'create' ? 'ok' : mode;      // hang | foreign
}

function tenantRequest(req, res, url) {
  const [, name, path] = /^\/t\/([^/]+)(\/.*)?$/.exec(url.pathname) ?? [];
  const tenant = tenants.get(name);
  if (!tenant) { res.statusCode = 404; return res.end(); }
  const isDocument = path === '/jwks' || path === '/.well-known/openid-configuration';
  if (tenant.mode === 'hang' && isDocument) return;    // no response, and the connection stays open
  if (tenant.mode === 'foreign' && path === '/.well-known/openid-configuration') {
    res.setHeader('content-type', 'application/json');
    return res.end(JSON.stringify({ issuer: tenant.issuer, jwks_uri: 'http://localhost:1/keys' }));
  }
  req.originalUrl = req.url; req.url = req.url.slice(`/t/${name}`.length);
  return tenant.handler(req, res);
}
let jwksMode = 'ok', introspectionMode = 'ok', requests = {};

async function control(req, res, url) {
  const q = url.searchParams, out = (o) => { res.setHeader('content-type', 'application/json'); res.end(JSON.stringify(o)); };
  switch (url.pathname) {
    case '/__ctl/rotate': {             // ?mode=add (new key first, old kept) | replace (old gone)
      const fresh = await Promise.all(algs.map((a) => mk(a)));
      jwks = { keys: q.get('mode') === 'replace' ? fresh : [...fresh, ...jwks.keys] };
      if (process.env.JWKS_FILE) fs.writeFileSync(process.env.JWKS_FILE, JSON.stringify(jwks));
      handler = build();
      return out({ kids: jwks.keys.map((k) => k.kid) });
    }
    case '/__ctl/jwks': jwksMode = q.get('mode') ?? 'ok'; return out({ jwksMode });   // ok | 500 | slow | malformed | huge | 429
    case '/__ctl/introspection': introspectionMode = q.get('mode') ?? 'ok'; return out({ introspectionMode });   // see `introspectionFault`
    case '/__ctl/tenant': await setTenant(q.get('name'), q.get('mode')); return out({ tenants: tenants.size });
    case '/__ctl/nonce': requireNonce = q.get('on') === '1'; return out({ requireNonce });
    case '/__ctl/requests': { const counts = requests; if (q.get('reset')) requests = {}; return out(counts); }
    default: res.statusCode = 404; res.end();
  }
}
// Responds to an introspection request in a wrong way. Returns false if the server is to respond.
async function introspectionFault(res) {
  const answer = (body, type = 'application/json') => { res.setHeader('content-type', type); res.end(body); return true; };
  switch (introspectionMode) {
    case '500': res.statusCode = 500; res.end('boom'); return true;
    case '429': res.statusCode = 429; res.setHeader('retry-after', '1'); res.end(); return true;
    case 'html': return answer('<html>Log in</html>', 'text/html');
    case 'slow': await new Promise((r) => setTimeout(r, 15000)); return answer('{"active":true}');
    case 'huge': return answer(`{"active":true,"x":"${'x'.repeat(200000)}"}`);
    case 'string_active': return answer('{"active":"true"}');
    case 'no_active': return answer('{}');
    case 'redirect': res.statusCode = 307; res.setHeader('location', `${ISSUER.replace(/\/$/, '')}/elsewhere`); res.end(); return true;
    default: return false;
  }
}
const app = async (req, res) => {
  const url = new URL(req.url, 'http://x');
  if (url.pathname.startsWith('/__ctl/')) return control(req, res, url);
  requests[url.pathname] = (requests[url.pathname] ?? 0) + 1;
  if (url.pathname.startsWith('/t/')) return tenantRequest(req, res, url);
  if (url.pathname === `${BASE}/jwks`) {
    if (jwksMode === '500') { res.statusCode = 500; return res.end('boom'); }
    if (jwksMode === '429') { res.statusCode = 429; res.setHeader('retry-after', '2'); return res.end(); }
    if (jwksMode === 'malformed') { res.setHeader('content-type', 'application/json'); return res.end('{"keys": ['); }
    if (jwksMode === 'slow') await new Promise((r) => setTimeout(r, 15000));
    if (jwksMode === 'huge') { res.setHeader('content-type', 'application/json'); return res.end('{"keys":[' + Array.from({ length: 200000 }, (_, i) => `{"kty":"RSA","kid":"x${i}"}`).join(',') + ']}'); }
  }
  if (url.pathname === `${BASE}/token/introspection` && await introspectionFault(res)) return;
  if (BASE && (url.pathname === `/.well-known/oauth-authorization-server${BASE}`)) { req.url = `${BASE}/.well-known/openid-configuration`; }   // RFC 8414 path insertion
  if (BASE) {
    if (!req.url.startsWith(`${BASE}/`)) { res.statusCode = 404; return res.end(); }
    req.originalUrl = req.url; req.url = req.url.slice(BASE.length);          // mounted: provider derives its own URLs from originalUrl
  }
  return handler(req, res);
};
const server = TLS
  ? https.createServer({ cert: fs.readFileSync(TLS), key: fs.readFileSync(process.env.TLS_KEY), ca: fs.readFileSync(process.env.TLS_CA), requestCert: true, rejectUnauthorized: false }, app)
  : http.createServer(app);
server.listen(PORT, HOST, () => console.log(JSON.stringify({ ready: true, issuer: ISSUER, port: server.address().port, pid: process.pid })));
