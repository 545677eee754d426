// Gets a token that is bound to a new key, and calls the API with it. Prints the statuses as JSON.
// usage: client.mjs <oauth4webapi-387 | oauth4webapi-388 | openid-client> <issuer> <resource> <URL> <ClientSecretBasic | ClientSecretPost>
const [library, issuer, resource, url, method] = process.argv.slice(2);
const scope = 'read:orders';

async function withOauth4webapi() {
  const oauth = await import(library);
  const insecure = { [oauth.allowInsecureRequests]: true };
  const discovery = await oauth.discoveryRequest(new URL(issuer), insecure);
  const server = await oauth.processDiscoveryResponse(new URL(issuer), discovery);
  const client = { client_id: 'svc-dpop' };
  const authentication = oauth[method]('svc-secret');
  const keys = await oauth.generateKeyPair('ES256');
  const DPoP = oauth.DPoP(client, keys);
  const grant = await oauth.clientCredentialsGrantRequest(server, client, authentication, { resource, scope }, { DPoP, ...insecure });
  const { access_token: token, token_type: type } = await oauth.processClientCredentialsResponse(server, client, grant);
  const statuses = [];
  const call = async () => {
    try {
      const response = await oauth.protectedResourceRequest(token, 'GET', new URL(url), undefined, null, { DPoP, ...insecure });
      statuses.push(response.status);
      return response;
    } catch (error) {
      statuses.push(error.status ?? error.response?.status);
      if (!oauth.isDPoPNonceError(error)) throw error;
      return call();
    }
  };
  const claims = await (await call()).json();
  await call();
  return { type, statuses, claims, bearer: await bearer(token) };
}

async function withOpenidClient() {
  const client = await import('openid-client');
  const config = await client.discovery(new URL(issuer), 'svc-dpop', 'svc-secret', client[method]('svc-secret'), {
    execute: [client.allowInsecureRequests],
  });
  const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256'));
  const { access_token: token, token_type: type } = await client.clientCredentialsGrant(config, { resource, scope }, { DPoP });
  const statuses = [];
  const call = async () => {
    const response = await client.fetchProtectedResource(config, token, new URL(url), 'GET', null, undefined, { DPoP });
    statuses.push(response.status);
    return response.json();
  };
  const claims = await call();
  await call();
  return { type, statuses, claims, bearer: await bearer(token) };
}

// A stolen token without its key.
async function bearer(token) {
  const response = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
  return { status: response.status, challenge: response.headers.get('www-authenticate') };
}

console.log(JSON.stringify(library === 'openid-client' ? await withOpenidClient() : await withOauth4webapi()));
