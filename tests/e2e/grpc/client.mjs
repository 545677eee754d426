// Calls northwind.Greeter/Greet with each token given, in one channel, and prints the results as JSON.
// usage: client.mjs <host:port> <token, or empty for none> ...
import { Client, Metadata, credentials, status } from '@grpc/grpc-js';

const [address, ...tokens] = process.argv.slice(2);
const names = Object.fromEntries(Object.entries(status).map(([name, code]) => [code, name]));
const client = new Client(address, credentials.createInsecure());

function call(token) {
  const metadata = new Metadata();
  if (token) metadata.set('authorization', `Bearer ${token}`);
  return new Promise((resolve) => {
    // The messages of the example are plain text.
    client.makeUnaryRequest(
      '/northwind.Greeter/Greet', (text) => Buffer.from(text), (bytes) => bytes.toString(), 'hello', metadata,
      { deadline: Date.now() + 10_000 },
      (error, reply) => resolve(error ? { status: names[error.code], message: error.details } : { status: 'OK', reply }),
    );
  });
}

const responses = [];
for (const token of tokens) responses.push(await call(token));
console.log(JSON.stringify(responses));
client.close();
