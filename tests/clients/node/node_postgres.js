// node-postgres: queries, named statements, pools, transactions, cursors, streams of rows, COPY both ways, notifications, cancelled statements.
'use strict';

const { Client, Pool } = require('pg');
const Cursor = require('pg-cursor');
const QueryStream = require('pg-query-stream');
const { from: copyFrom, to: copyTo } = require('pg-copy-streams');
const { Readable } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const { say, refused } = require('./told.js');

const EVERY = 'SELECT tenant_id, id, product, total, paid, placed, tags, note, token, raw FROM orders';

async function queries(client) {
  let result = await client.query(EVERY + ' WHERE tenant_id = $1 ORDER BY id', [7]);
  say('fields', result.command, result.rowCount, result.fields.map((f) => [f.name, f.dataTypeID, f.dataTypeSize, f.dataTypeModifier, f.format]));
  say('rows', result.rows);
  result = await client.query(EVERY + ' ORDER BY tenant_id, id');
  say('all', result.rowCount, result.rows.slice(0, 3));
  result = await client.query({ text: 'SELECT tenant_id, sum(total) FROM orders GROUP BY 1 ORDER BY 2 DESC LIMIT $1', values: [3], rowMode: 'array' });
  say('arrays', result.rows);
  for (let tenant = 1; tenant <= 12; tenant++) {
    result = await client.query({ name: 'of tenant', text: 'SELECT name FROM customers WHERE tenant_id = $1 AND id = $2', values: [tenant, 1] });
    say('named', result.rows);
  }
  result = await client.query('SELECT 1 AS a; SELECT count(*) FROM orders; SELECT body FROM notes WHERE id = 1');
  say('several', result.map((r) => [r.command, r.rows]));
  say('any', (await client.query('SELECT count(*) FROM orders WHERE tenant_id = ANY($1)', [[1, 2, 3]])).rows);
  say('types', (await client.query('SELECT $1::timestamptz AS t, $2::jsonb AS j, $3::bytea AS b, $4::text[] AS a, $5::int8 AS i', [new Date(0), { a: [1] }, Buffer.from([0, 255]), ['x', null], '9007199254740993'])).rows);
  await refused('unique', () => client.query('INSERT INTO customers VALUES (1, 1, $1)', ['again']));
  await refused('syntax', () => client.query('SELEC 1'));
  await refused('column', () => client.query('SELECT nothing FROM orders WHERE tenant_id = 1'));
  await refused('foreign key', () => client.query('INSERT INTO orders (tenant_id, id, customer_id) VALUES (3, 900, 900)'));
  // Queued without waiting: a pipeline of the driver's own.
  const queued = await Promise.all([1, 2, 3].map((tenant) => client.query('SELECT count(*) FROM orders WHERE tenant_id = $1', [tenant])));
  say('queued', queued.map((r) => r.rows[0]));
}

async function transactions(client) {
  await client.query('BEGIN');
  for (let tenant = 1; tenant <= 6; tenant++) {
    await client.query('UPDATE customers SET name = $2 WHERE tenant_id = $1 AND id = 1', [tenant, `node ${tenant}`]);
  }
  await client.query('SAVEPOINT s');
  await refused('in a savepoint', () => client.query('INSERT INTO customers VALUES (2, 1, $1)', ['x']));
  await refused('aborted', () => client.query('SELECT 1'));
  await client.query('ROLLBACK TO SAVEPOINT s');
  await client.query('COMMIT');
  say('committed', (await client.query("SELECT tenant_id FROM customers WHERE name LIKE 'node%' ORDER BY 1")).rows);
  const inserted = await client.query('INSERT INTO notes (body) VALUES ($1), ($2) RETURNING id, body', ['n1', 'n2']);
  say('returning', inserted.rows);
}

async function cursors(client) {
  const cursor = client.query(new Cursor('SELECT tenant_id, id FROM orders WHERE total > $1 ORDER BY tenant_id, id', [50]));
  say('cursor', await cursor.read(4), (await cursor.read(100)).length, await cursor.read(1));
  await cursor.close();
  const early = client.query(new Cursor('SELECT id FROM orders ORDER BY total'));
  say('closed early', (await early.read(2)).length);
  await early.close();
  let count = 0;
  for await (const row of client.query(new QueryStream('SELECT tenant_id, id, note FROM orders ORDER BY tenant_id, id', [], { batchSize: 7 }))) {
    count += row.tenant_id;
  }
  say('stream', count);
}

async function copies(client) {
  const lines = Array.from({ length: 1000 }, (_, n) => `${1 + (n % 12)}\t${1000 + n}\tcopied ${n}\\\\\n`);
  const copyIn = client.query(copyFrom('COPY customers (tenant_id, id, name) FROM STDIN'));
  await pipeline(Readable.from(lines), copyIn);
  say('copied in', copyIn.rowCount, (await client.query('SELECT count(*), max(name) FROM customers WHERE id >= 1000')).rows);
  let out = '';
  const copyOut = client.query(copyTo('COPY (SELECT tenant_id, id, name FROM customers WHERE id < 1003 AND id >= 1000 ORDER BY id) TO STDOUT (FORMAT csv)'));
  for await (const chunk of copyOut) out += chunk;
  say('copied out', out);
  out = '';
  for await (const chunk of client.query(copyTo('COPY customers (tenant_id, id) TO STDOUT'))) out += chunk;
  say('table', out.split('\n').length);
  await refused('bad row', () => pipeline(Readable.from(['1\t2\t3\n', 'x\t2\t3\n']), client.query(copyFrom('COPY customers (tenant_id, id, name) FROM STDIN'))));
  say('deleted', (await client.query('DELETE FROM customers WHERE id >= 1000')).rowCount);
}

async function pooled() {
  const pool = new Pool({ max: 4 });
  const names = await Promise.all(Array.from({ length: 24 }, (_, n) => pool.query('SELECT name FROM customers WHERE tenant_id = $1 AND id = 2', [1 + (n % 12)])));
  say('pool', names.map((r) => r.rows[0].name));
  const client = await pool.connect();
  await client.query('BEGIN');
  await client.query('DELETE FROM orders');
  await client.query('ROLLBACK');
  client.release();
  say('rolled back', (await pool.query('SELECT count(*) FROM orders')).rows);
  await pool.end();
}

async function main() {
  const client = new Client({ statement_timeout: 60000 });
  const notices = [];
  client.on('notice', (notice) => notices.push([notice.severity, notice.message]));
  await client.connect();
  await queries(client);
  await transactions(client);
  await cursors(client);
  await copies(client);
  await client.query("DO $$ BEGIN RAISE NOTICE 'hello'; END $$");
  say('notices', notices);
  const heard = new Promise((resolve) => client.once('notification', (n) => resolve([n.channel, n.payload])));
  await client.query('LISTEN word');
  await client.query("SELECT pg_notify('word', 'spoken')");
  say('heard', await heard);
  await client.query('SET statement_timeout = 300');
  await refused('timed out', () => client.query('SELECT pg_sleep(60)'));
  await client.query('RESET statement_timeout');
  say('goes on', (await client.query('SHOW statement_timeout')).rows);
  await client.end();
  await pooled();
  console.log('END');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
