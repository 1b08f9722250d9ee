// Sends the requests that stand in the file named by the first argument, one after another, by Tencent's Node SDK, and prints what the SDK
// makes of each answer: {data} or {error}, as one JSON list.
'use strict';

const fs = require('fs');
const COS = require('cos-nodejs-sdk-v5');

const { url, secretId, secretKey, token, clockOffset, requests } = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const cos = new COS({ SecretId: secretId, SecretKey: secretKey, SecurityToken: token, Protocol: 'http:' });
// What the SDK would think after a look at another clock.
cos.options.SystemClockOffset = clockOffset || 0;

function send({ method, path, query, headers, body }) {
  const asked = { Method: method, Url: url + path, Query: query, Headers: headers, Body: body, Bucket: 'b-1250000000', Region: 'ap-chengdu' };
  return new Promise((resolve) => {
    cos.request(asked, (error, data) =>
      resolve(error ? { error: { ...error, message: error.message } } : { data }));
  });
}

(async () => {
  const answers = [];
  for (const one of requests) answers.push(await send(one));
  process.stdout.write(JSON.stringify(answers));
})();
