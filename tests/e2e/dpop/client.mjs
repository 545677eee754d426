// Gets a token that is bound to a new key, and calls the API with it. Prints the statuses as JSON.
// usage: client.mjs <library> <issuer> <resource> <URL> <ClientSecretBasic | ClientSecretPost> [<seconds that the clock is ahead>]
// The libraries are oauth4webapi-387, oauth4webapi-388, openid-client and dpop. The clock is wrong for the API only.
const [library, issuer, resource, url, method, seconds = '0'] = process.argv.slice(2);
const scope = 'read:orders';
const skew = Number(seconds);

async function withOauth4webapi() {
  const oauth = await import(library);
  const insecure = { [oauth.allowInsecureRequests]: true };
  const discovery = await oauth.discoveryRequest(new URL(issuer), insecure);
  const server = await oauth.processDiscoveryResponse(new URL(issuer), discovery);
  const client = { client_id: 'svc-dpop' };
  const authentication = oauth[method]('svc-secret');
  const keys = await oauth.generateKeyPair('ES256');
  const forServer = { DPoP: oauth.DPoP(client, keys), ...insecure };
  const grant = async () => {
    const response = await oauth.clientCredentialsGrantRequest(server, client, authentication, { resource, scope }, forServer);
    return oauth.processClientCredentialsResponse(server, client, response);
  };
  // The server may require a nonce.
  const granted = await grant().catch((error) => {
    if (!oauth.isDPoPNonceError(error)) throw error;
    return grant();
  });
  const { access_token: token, token_type: type } = granted;
  const DPoP = oauth.DPoP({ ...client, [oauth.clockSkew]: skew }, keys);
  return outcome(token, type, async (statuses) => {
    const call = async () => {
      try {
        const response = await oauth.protectedResourceRequest(token, 'GET', new URL(url), undefined, null, { DPoP, ...insecure });
        statuses.push(response.status);
        return response;
      } catch (error) {
        const response = error.response ?? error.cause;
        statuses.push(error.status ?? response?.status);
        if (oauth.isDPoPNonceError(error)) return call();
        if (error instanceof oauth.WWWAuthenticateChallengeError) return response;
        throw error;
      }
    };
    return call();
  });
}

async function withOpenidClient() {
  const client = await import('openid-client');
  const config = await client.discovery(new URL(issuer), 'svc-dpop', 'svc-secret', client[method]('svc-secret'), {
    execute: [client.allowInsecureRequests],
  });
  const keys = await client.randomDPoPKeyPair('ES256');
  const forServer = { DPoP: client.getDPoPHandle(config, keys) };
  const { access_token: token, token_type: type } = await client.clientCredentialsGrant(config, { resource, scope }, forServer);
  const metadata = { client_secret: 'svc-secret', [client.clockSkew]: skew };
  const late = new client.Configuration(config.serverMetadata(), 'svc-dpop', metadata, client[method]('svc-secret'));
  client.allowInsecureRequests(late);
  const DPoP = client.getDPoPHandle(late, keys);
  return outcome(token, type, async (statuses) => {
    try {
      const response = await client.fetchProtectedResource(late, token, new URL(url), 'GET', null, undefined, { DPoP });
      statuses.push(response.status);
      return response;
    } catch (error) {
      statuses.push(error.status ?? error.response?.status);
      return error.response;
    }
  });
}

// Proofs of the package `dpop`, with `fetch`.
async function withDpop() {
  const dpop = await import('dpop');
  const keys = await dpop.generateKeyPair('ES256');
  const metadata = await (await fetch(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`)).json();
  const form = { grant_type: 'client_credentials', resource, scope };
  const headers = {};
  if (method === 'ClientSecretBasic') headers.authorization = `Basic ${Buffer.from('svc-dpop:svc-secret').toString('base64')}`;
  else Object.assign(form, { client_id: 'svc-dpop', client_secret: 'svc-secret' });
  const nonces = new Map();
  const send = async (target, verb, body, fields, token, statuses) => {
    const nonce = nonces.get(target);
    const proof = await dpop.generateProof(keys, target, verb, nonce, token);
    const response = await fetch(target, { method: verb, body, headers: { ...fields, dpop: proof } });
    statuses.push(response.status);
    const next = response.headers.get('dpop-nonce');
    if (next) nonces.set(target, next);
    return response.ok || nonce || !next ? response : send(target, verb, body, fields, token, statuses);
  };
  const grant = await send(metadata.token_endpoint, 'POST', new URLSearchParams(form), headers, undefined, []);
  const { access_token: token, token_type: type } = await grant.json();
  return outcome(token, type, (statuses) => send(url, 'GET', undefined, { authorization: `DPoP ${token}` }, token, statuses));
}

// Calls the API twice, then once as somebody who has the token, but not its key.
async function outcome(token, type, call) {
  const statuses = [];
  const first = await call(statuses);
  const claims = first?.ok ? await first.json() : null;
  const challenge = first?.headers.get('www-authenticate') ?? null;
  await call(statuses);
  const stolen = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
  const bearer = { status: stolen.status, challenge: stolen.headers.get('www-authenticate') };
  return { type, statuses, claims, challenge, bearer };
}

const libraries = { dpop: withDpop, 'openid-client': withOpenidClient };
console.log(JSON.stringify(await (libraries[library] ?? withOauth4webapi)()));
