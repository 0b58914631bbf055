// The fan-out of Server-Sent Events that one would write with Node and nothing else: node node_sse.js PORT
'use strict';

const http = require('node:http');

const topics = new Map();
let messages = 0;

function subscribe(response, topic) {
  if (!topics.has(topic)) topics.set(topic, new Set());
  const subscribers = topics.get(topic);
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
  response.write(': open\n\n');
  subscribers.add(response);
  response.on('close', () => subscribers.delete(response));
}

function publish(request, response, topic) {
  let payload = '';
  request.setEncoding('utf8');
  request.on('data', (text) => { payload += text; });
  request.on('end', () => {
    const block = `id: ${++messages}\ndata: ${payload}\n\n`;
    const subscribers = topics.get(topic) ?? [];
    for (const subscriber of subscribers) subscriber.write(block);
    response.end(`${subscribers.size ?? 0}`);
  });
}

const server = http.createServer((request, response) => {
  const [, verb, topic] = request.url.split('/');
  if (request.method === 'GET' && verb === 'sub') subscribe(response, topic);
  else if (request.method === 'POST' && verb === 'pub') publish(request, response, topic);
  else response.writeHead(404).end();
});
server.requestTimeout = 0;
server.keepAliveTimeout = 3600000;
server.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });
