// Gets a token that is bound to a new key, and signs proofs for it. Prints both as JSON.
// usage: proofs.mjs <issuer> <resource> <URL of the requests> <number of proofs>
const [issuer, resource, url, count] = process.argv.slice(2);
const oauth = await import('oauth4webapi-388');

const insecure = { [oauth.allowInsecureRequests]: true };
const discovery = await oauth.discoveryRequest(new URL(issuer), insecure);
const server = await oauth.processDiscoveryResponse(new URL(issuer), discovery);
const client = { client_id: 'svc-dpop' };
const keys = await oauth.generateKeyPair('ES256', { extractable: true });
const DPoP = oauth.DPoP(client, keys);
const authentication = oauth.ClientSecretBasic('svc-secret');
const parameters = { resource, scope: 'read:orders' };
const grant = await oauth.clientCredentialsGrantRequest(server, client, authentication, parameters, { DPoP, ...insecure });
const { access_token: token } = await oauth.processClientCredentialsResponse(server, client, grant);

const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', keys.publicKey);
const encode = (value) => Buffer.from(value).toString('base64url');
const ath = encode(await crypto.subtle.digest('SHA-256', Buffer.from(token)));

async function proof() {
  const header = { typ: 'dpop+jwt', alg: 'ES256', jwk: { kty, crv, x, y } };
  const claims = { jti: crypto.randomUUID(), htm: 'GET', htu: url, iat: Math.floor(Date.now() / 1000), ath };
  const text = `${encode(JSON.stringify(header))}.${encode(JSON.stringify(claims))}`;
  const signature = await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, keys.privateKey, Buffer.from(text));
  return `${text}.${encode(signature)}`;
}

const proofs = [];
for (let number = 0; number < Number(count); number += 1) proofs.push(await proof());
console.log(JSON.stringify({ token, proofs }));
