// Gets a token that is bound to a certificate, over mutual TLS, and calls the API with it. This script sends the certificate to the API
// in a header, as a proxy would. Prints the statuses as JSON.
// usage: mtls.mjs <library> <issuer> <resource> <URL> <authority> <certificate> <another certificate>
import fs from 'node:fs';
import https from 'node:https';
import { X509Certificate } from 'node:crypto';

const [library, issuer, resource, url, authority, certificate, another] = process.argv.slice(2);
const scope = 'read:orders';
const read = (file) => fs.readFileSync(file, 'utf8');
const tls = { ca: read(authority), cert: read(certificate), key: read(certificate.replace(/\.pem$/, '.key')) };
const header = (file) => ({ 'client-cert': `:${new X509Certificate(read(file)).raw.toString('base64')}:` });

// `fetch` of Node.js has no certificates of clients.
function fetchOverTls(target, { method = 'GET', headers, body } = {}) {
  const fields = new Headers(headers);
  if (body instanceof URLSearchParams && !fields.has('content-type')) fields.set('content-type', 'application/x-www-form-urlencoded');
  return new Promise((resolve, reject) => {
    const request = https.request(target, { method, headers: Object.fromEntries(fields), ...tls }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => {
        const type = { 'content-type': response.headers['content-type'] ?? '' };
        resolve(new Response(Buffer.concat(chunks), { status: response.statusCode, headers: type }));
      });
    });
    request.on('error', reject);
    request.end(body?.toString());
  });
}

async function tokenOfOauth4webapi() {
  const oauth = await import(library);
  const options = { [oauth.customFetch]: fetchOverTls };
  const discovery = await oauth.discoveryRequest(new URL(issuer), options);
  const server = await oauth.processDiscoveryResponse(new URL(issuer), discovery);
  const client = { client_id: 'svc-mtls' };
  const grant = await oauth.clientCredentialsGrantRequest(server, client, oauth.TlsClientAuth(), { resource, scope }, options);
  const { access_token: token } = await oauth.processClientCredentialsResponse(server, client, grant);
  const insecure = { [oauth.allowInsecureRequests]: true };
  const call = (fields) => oauth.protectedResourceRequest(token, 'GET', new URL(url), new Headers(fields), null, insecure);
  return { token, call };
}

async function tokenOfOpenidClient() {
  const client = await import('openid-client');
  const options = { [client.customFetch]: fetchOverTls };
  const config = await client.discovery(new URL(issuer), 'svc-mtls', undefined, client.TlsClientAuth(), options);
  const { access_token: token } = await client.clientCredentialsGrant(config, { resource, scope });
  // The API listens on plain http on loopback, without TLS.
  const call = (fields) => fetch(url, { headers: { authorization: `Bearer ${token}`, ...fields } });
  return { token, call };
}

const { call } = library === 'openid-client' ? await tokenOfOpenidClient() : await tokenOfOauth4webapi();
async function status(fields) {
  try {
    const response = await call(fields);
    return { status: response.status, challenge: response.headers.get('www-authenticate'), body: await response.text() };
  } catch (error) {
    // oauth4webapi throws for a response with a challenge.
    const response = error.response ?? error.cause?.response;
    if (!response) throw error;
    return { status: response.status, challenge: response.headers.get('www-authenticate'), body: '' };
  }
}

const accepted = await status(header(certificate));
const rejected = { other: await status(header(another)), none: await status({}) };
console.log(JSON.stringify({ accepted, rejected }));
