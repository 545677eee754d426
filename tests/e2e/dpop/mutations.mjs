// Changes valid proofs at random, sends each to the API, and validates the same request with oauth4webapi. Prints the counts, and the
// proofs that only the API accepts, as JSON.
// usage: mutations.mjs <issuer> <resource> <URL> <number of proofs> [<seed>]
import * as oauth from 'oauth4webapi-388';

const [issuer, resource, url, count, text = String(Date.now() % 1e9)] = process.argv.slice(2);
const seed = Number(text);
const insecure = { [oauth.allowInsecureRequests]: true };
const encode = (value) => Buffer.from(value).toString('base64url');

// A generator with a seed (mulberry32), so that a failure can be repeated.
let state = seed;
function random(limit) {
  state = (state + 0x6d2b79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
}
const pick = (list) => list[random(list.length)];

const discovery = await oauth.discoveryRequest(new URL(issuer), insecure);
const server = await oauth.processDiscoveryResponse(new URL(issuer), discovery);
const client = { client_id: 'svc-dpop' };
const [keys, others] = [await oauth.generateKeyPair('ES256', { extractable: true }), await oauth.generateKeyPair('ES256')];
const DPoP = oauth.DPoP(client, keys);
const parameters = { resource, scope: 'read:orders' };
const authentication = oauth.ClientSecretBasic('svc-secret');
const grant = await oauth.clientCredentialsGrantRequest(server, client, authentication, parameters, { DPoP, ...insecure });
const { access_token: token } = await oauth.processClientCredentialsResponse(server, client, grant);
const { kty, crv, x, y, d } = await crypto.subtle.exportKey('jwk', keys.privateKey);
const ath = encode(await crypto.subtle.digest('SHA-256', Buffer.from(token)));

// Members are pairs of the JSON texts of name and value, so that a change can write any text.
const members = (object) => Object.entries(object).map(([name, value]) => [JSON.stringify(name), JSON.stringify(value)]);
const write = (list) => `{${list.map(([name, value]) => `${name}:${value}`).join(',')}}`;
const now = () => Math.floor(Date.now() / 1000);
const valid = () => ({
  jwk: members({ kty, crv, x, y }),
  header: members({ typ: 'dpop+jwt', alg: 'ES256' }),
  claims: members({ jti: crypto.randomUUID(), htm: 'GET', htu: url, iat: now(), ath }),
  signer: keys.privateKey,
  beforeSigning: [],
  afterSigning: [],
});

const VALUES = ['null', 'true', '0', '-1', '1e400', '""', '"x"', '[]', '{}', '["x"]', '"\\u0000"', '"\\ud800"', '"é"'];
const TYPES = ['"DPoP+JWT"', '"application/dpop+jwt"', '"application/DPOP+jwt"', '"JWT"', '"at+jwt"', '"dpop+jwt "', '"dpop"'];
const ALGORITHMS = ['"none"', '"HS256"', '"RS256"', '"ES384"', '"EdDSA"', '"es256"', '"ES256K"'];
const NAMES = ['iss', 'aud', 'sub', 'exp', 'nbf', 'nonce', 'x', 'kid', 'crit', 'b64', 'x5c', 'jku', 'use', 'key_ops', 'ext', 'alg', 'd', 'k', 'p'];
const USES = ['"sig"', '"enc"', '["verify"]', '["sign"]', '["verify","sign"]', '"ES256"', '"ES384"', JSON.stringify(d)];
const SECONDS = [-7200, -400, -310, -200, -100, -80, -60, -1, 0.25, 1, 20, 25, 60, 100, 200, 310, 400, 7200];
const METHODS = ['get', 'Get', 'POST', 'HEAD', 'GET ', ' GET', ''];
const { origin, host, port } = new URL(url);
const URLS = [
  `${url}?a=b`, `${url}#a`, `${url}?`, `${url}/`, `${url}//`, origin, `${origin}/`, `${origin}//me`, `${origin}/ME`, `${origin}/%6De`, `${origin}/m%65`,
  `${origin}/m%2565`, `${origin}/x/../me`, `${origin}/x/%2e%2e/me`, `${origin}/./me`, `${origin}/../me`, `${origin}/me/.`, `${origin}/me;a`,
  `${origin}\\me`, `${origin}/ me`, `${url} `, ` ${url}`, `\t${url}`, url.replace('/me', '/m\ne'), url.replace('http', 'HTTP'), url.replace('http', 'https'),
  url.replace('http', 'ws'), url.replace('//', '/'), url.replace('//', '///'), url.replace('//', '//a@'), url.replace('//', '//a:b@'), url.replace('//', '//@'),
  url.replace('127.0.0.1', '127.1'), url.replace('127.0.0.1', '0x7f000001'), url.replace('127.0.0.1', '2130706433'), url.replace('127.0.0.1', '127.0.0.1.'),
  url.replace('127.0.0.1', 'localhost'), url.replace('127.0.0.1', '127.0.0.01'), url.replace('127.0.0.1', '%3127.0.0.1'), url.replace('127.0.0.1', '１27.0.0.1'),
  url.replace('127.0.0.1', '[::ffff:127.0.0.1]'), url.replace(port, `0${port}`), url.replace(port, ''), url.replace(port, '80'), url.replace(port, `${port}0`),
  `//${host}/me`, '/me', 'me', host, `${url}\u0000`, `${url}%00`, `${url}é`,
];

function editedAtOnePlace(before) {
  const position = random(before.length + 1);
  const added = () => String.fromCharCode(0x20 + random(0x5f));
  return pick([
    () => before.slice(0, position) + added() + before.slice(position),
    () => before.slice(0, position) + before.slice(position + 1),
    () => before.slice(0, position) + added() + before.slice(position + 1),
  ])();
}

const set = (list, name, value) => {
  const found = list.find((member) => member[0] === JSON.stringify(name));
  if (found) found[1] = value;
  else list.push([JSON.stringify(name), value]);
};
const part = (proof) => pick([proof.header, proof.claims, proof.jwk]);
const CHANGES = {
  'a member is removed': (proof) => { const list = part(proof); list.splice(random(list.length), 1); },
  'a member has another value': (proof) => { pick(part(proof))[1] = pick(VALUES); },
  'a member is there twice': (proof) => { const list = part(proof); list.push([...pick(list)]); },
  'a member is there twice, with other values': (proof) => { const list = part(proof); list.splice(random(2), 0, [pick(list)[0], pick(VALUES)]); },
  'a name has an escape': (proof) => { const one = pick(part(proof)); one[0] = one[0].replace(/"(.)/, (_, first) => `"\\u00${first.charCodeAt(0).toString(16)}`); },
  'a member is added': (proof) => { set(part(proof), pick(NAMES), pick([...VALUES, ...USES, String(now() + pick(SECONDS))])); },
  'a member is added to jwk': (proof) => { set(proof.jwk, pick(NAMES), pick([...VALUES, ...USES])); },
  'the order of the members': (proof) => { part(proof).reverse(); },
  'another typ': (proof) => { set(proof.header, 'typ', pick(TYPES)); },
  'another alg': (proof) => { set(proof.header, 'alg', pick(ALGORITHMS)); },
  'another htm': (proof) => { set(proof.claims, 'htm', JSON.stringify(pick(METHODS))); },
  'another htu': (proof) => { set(proof.claims, 'htu', JSON.stringify(pick(URLS))); },
  'another time': (proof) => { set(proof.claims, pick(['iat', 'exp', 'nbf']), String(now() + pick(SECONDS))); },
  'the text before the signature': (proof) => { proof.beforeSigning.push(random(2)); },
  'white space in the text': (proof) => { proof.beforeSigning.push(2 + random(2)); },
  'the text after the signature': (proof) => { proof.afterSigning.push(editedAtOnePlace); },
  'a segment less': (proof) => { proof.afterSigning.push((one) => one.slice(0, one.lastIndexOf('.'))); },
  'a segment more': (proof) => { proof.afterSigning.push((one) => `${one}.${one.slice(one.lastIndexOf('.') + 1)}`); },
  'two proofs': (proof) => { proof.afterSigning.push((one) => `${one}, ${one}`); },
  'padding': (proof) => { proof.afterSigning.push((one) => `${one}==`); },
  'another signer': (proof) => { proof.signer = others.privateKey; },
};

async function sign(proof) {
  const texts = [write([...proof.header, ['"jwk"', write(proof.jwk)]]), write(proof.claims)];
  for (const place of proof.beforeSigning) {
    texts[place % 2] = place < 2 ? editedAtOnePlace(texts[place]) : pick([' ', '\n\t', '\u00a0', '\ufeff', '\0']).concat(texts[place % 2], pick(['', ' ', '\r\n', '\0', '{}']));
  }
  const signed = texts.map(encode).join('.');
  const signature = await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, proof.signer, Buffer.from(signed));
  return { texts, proof: proof.afterSigning.reduce((one, change) => change(one), `${signed}.${encode(signature)}`) };
}

// Why the API accepts a proof that oauth4webapi rejects, by the error and the texts of header and claims.
const decoded = (text) => text.replace(/%([0-9a-f]{2})/gi, (encoded, hex) => {
  const character = String.fromCharCode(parseInt(hex, 16));
  return /[A-Za-z0-9._~-]/.test(character) ? character : encoded;
});
const EXPLAINED = {
  // RFC 3986 §6.2.2.2. A URL of the WHATWG keeps the encoding.
  'the API decodes a letter of htu that needs no encoding': (error, claims) =>
    error.message === 'DPoP Proof htu mismatch' && decoded(claims.htu) !== claims.htu && new URL(decoded(claims.htu)).pathname === '/me',
  // RFC 9449 §4.2 does not define these claims.
  'oauth4webapi checks the types of iss and aud': (error) => /^unexpected JWT "(iss|aud)" /.test(error.message),
};
const explain = (error, texts) => Object.keys(EXPLAINED).find((reason) => EXPLAINED[reason](error, JSON.parse(texts[1])));

const result = { seed, both: 0, neither: 0, only_other: 0, explained: {}, unexplained: [] };
const signingAlgorithms = ['RS256', 'ES256', 'PS256', 'Ed25519', 'EdDSA'];
for (let number = 0; number < Number(count); number += 1) {
  const changed = valid();
  const names = Array.from({ length: pick([0, 1, 1, 1, 1, 2]) }, () => pick(Object.keys(CHANGES)));
  // A second change may find nothing that is left to change.
  for (const name of names) { try { CHANGES[name](changed); } catch (error) { if (!(error instanceof TypeError)) throw error; } }
  const { texts, proof } = await sign(changed);
  const headers = { authorization: `DPoP ${token}`, dpop: proof };
  const response = await fetch(url, { headers });
  const error = await oauth.validateJwtAccessToken(server, new Request(url, { headers }), resource, { requireDPoP: true, signingAlgorithms, ...insecure })
    .then(() => null, (failure) => failure);
  if (![200, 400, 401].includes(response.status)) result.unexplained.push({ status: response.status, names, texts });
  else if (response.status !== 200) result[error ? 'neither' : 'only_other'] += 1;
  else if (!error) result.both += 1;
  else {
    const reason = explain(error, texts);
    if (reason) result.explained[reason] = (result.explained[reason] ?? 0) + 1;
    else result.unexplained.push({ error: error.message, names, texts });
  }
}
console.log(JSON.stringify(result));
