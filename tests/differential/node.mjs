// Validates with `jose` and `express-oauth2-jwt-bearer`: reads {jwks, jwksUri, issuer, audience, tokens}, writes lists of booleans.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { createLocalJWKSet, jwtVerify } from 'jose';
import express from 'express';
import { auth } from 'express-oauth2-jwt-bearer';

const { jwks, jwksUri, issuer, audience, tokens } = JSON.parse(readFileSync(0, 'utf8'));

async function jose(token) {
  const options = { issuer, audience, algorithms: ['RS256'], requiredClaims: ['exp'], clockTolerance: 5 };
  try {
    await jwtVerify(token, createLocalJWKSet(jwks), options);
    return true;
  } catch {
    return false;
  }
}

const app = express();
app.use(auth({ issuer, audience, jwksUri, tokenSigningAlg: 'RS256', clockTolerance: 5 }));
app.get('/', (_request, response) => response.send('ok'));
app.use((error, _request, response, _next) => response.status(error.status ?? 500).end());
const server = http.createServer({ maxHeaderSize: 65536 }, app);
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));

function bearer(token) {
  return new Promise((done) => {
    const { port } = server.address();
    const request = http.get({ port, host: '127.0.0.1', headers: { authorization: `Bearer ${token}` } }, (response) => {
      response.resume();
      done(response.statusCode === 200);
    });
    request.on('error', () => done(false));
  });
}

const results = { jose: [], 'express-oauth2-jwt-bearer': [] };
for (const token of tokens) {
  results.jose.push(await jose(token));
  results['express-oauth2-jwt-bearer'].push(await bearer(token));
}
server.close();
console.log(JSON.stringify(results));
process.exit(0);
