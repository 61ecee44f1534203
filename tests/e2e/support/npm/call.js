// One call of the official client: what to do on standard input, what came of it on standard output.
'use strict';

const { Client, SimpleClient } = require('aliyun-api-gateway');
const fs = require('fs');

const asked = JSON.parse(fs.readFileSync(0, 'utf8'));
const client = asked.code ? new SimpleClient(asked.code) : new Client(asked.key, asked.secret, asked.stage);

client[asked.method](asked.url, asked.options).then(
  () => ({ status: 200, headers: {}, text: '' }),
  (error) => ({ status: error.code, headers: (error.data || {}).headers, text: error.message })
).then((told) => console.log(JSON.stringify(told)));
