// node's `pg`: pool, cursors, COPY streams, named statements.
'use strict'
const { failed, load, mask, say, section, tls, env } = require('./common')
const { Client, Pool } = load('pg')
const Cursor = load('pg-cursor')
const copy = load('pg-copy-streams')
const { pipeline } = require('stream/promises')
const { Readable, Writable } = require('stream')

const words = () => ({
  host: env.T_HOST, port: Number(env.T_PORT), user: env.T_USER, password: env.T_PASSWORD || undefined,
  database: env.T_DATABASE, options: env.T_OPTIONS || undefined, application_name: 'drivers',
  ssl: tls(), connectionTimeoutMillis: 20000,
})

const TYPES = [
  'true', 'null::int', '(-32768)::int2', '2147483647::int4', '(-9223372036854775808)::int8', '1.5::float4',
  "'NaN'::float8", '12345678901234567890.123::numeric', "'ünïcödé ☃'::text", "''::text", "'c'::char(5)",
  "'\\x00ff10'::bytea", "'2026-02-28 12:34:56+02'::timestamptz", "'1 day 02:03:04'::interval",
  "'6f1d1a0c-8f1e-4c1e-9b7e-0123456789ab'::uuid", '\'{"a": [1, null]}\'::jsonb', 'array[1,2,null]::int[]',
  "array['a',null]::text[]", "'10.1.2.3'::inet", "'(1,2)'::point",
]

async function types (client) {
  section('types')
  for (const expression of TYPES) {
    const text = await client.query(`select ${expression} as v`)
    const binary = await client.query({ text: `select ${expression} as v`, binary: true, values: [] })
    say(expression, text.rows[0].v, binary.rows[0].v, text.fields[0].dataTypeID)
  }
  for (const value of [null, true, 7, 1.25, 'té', Buffer.from([0, 1]), [1, 2], { a: 1 }]) {
    const text = value !== null && typeof value === 'object' && !Buffer.isBuffer(value) && !Array.isArray(value)
      ? 'select $1::jsonb as v' : Buffer.isBuffer(value) ? 'select $1::bytea as v' : Array.isArray(value) ? 'select $1::int[] as v' : 'select $1::text as v'
    say('parameter', (await client.query(text, [value])).rows[0].v)
  }
}

async function transactions (client) {
  section('transactions')
  await client.query('create table t (id int primary key, v text)')
  await client.query('begin')
  await client.query('insert into t values ($1, $2)', [1, 'one'])
  await client.query('savepoint s')
  await failed('unique', client.query('insert into t values ($1, $2)', [1, 'again']))
  await failed('aborted', client.query('select 1'))
  await client.query('rollback to s')
  await client.query('commit')
  await client.query('begin'); await client.query('delete from t'); await client.query('rollback')
  say('rows', (await client.query('select * from t')).rows)
}

async function statements (client) {
  section('statements')
  for (let n = 0; n < 5; n++) {
    say('named', (await client.query({ name: 'product', text: 'select $1::int * 3 as v', values: [n] })).rows[0].v)
  }
  await failed('syntax', client.query('selekt'))
  await failed('named syntax', client.query({ name: 'bad', text: 'selekt $1', values: [1] }))
  await failed('division', client.query('select 1 / $1::int', [0]))
  await failed('parameter', client.query('select $1::int', ['x']))
  await failed('nowhere', client.query('select * from nowhere'))
  const several = await client.query("select 1 as a; select 'x' as b, 2 as c; create table m (a int)")
  say('several', several.map((r) => [r.command, r.rows]))
  say('empty', (await client.query('')).rows)
  const many = await Promise.all(Array.from({ length: 100 }, (_, n) => client.query('select $1::int as v', [n])))
  say('queued', many.reduce((sum, r) => sum + r.rows[0].v, 0))
}

async function cursors (client) {
  section('cursors')
  await client.query('begin')
  const cursor = client.query(new Cursor('select g from generate_series(1, $1) g', [1000]))
  say('first', (await cursor.read(3)).map((r) => r.g))
  say('next', (await cursor.read(200)).length)
  await cursor.close()
  await client.query('commit')
  const all = client.query(new Cursor('select g from generate_series(1, 10) g'))
  say('all', (await all.read(100)).length, (await all.read(1)).length)
  await all.close()
  const broken = client.query(new Cursor('select 1 / (5 - g) from generate_series(1, 10) g'))
  try { await broken.read(3); await broken.read(3); say('broken', 'no error') } catch (e) { say('broken', e.code) }
}

async function copies (client) {
  section('copy')
  await client.query('create table c (a int, b text)')
  const rows = Array.from({ length: 3000 }, (_, n) => `${n}\trow ${n}\n`)
  const into = client.query(copy.from('copy c from stdin'))
  await pipeline(Readable.from(rows), into)
  say('in', into.rowCount)
  for (const format of ['text', 'csv', 'binary']) {
    const chunks = []
    await pipeline(client.query(copy.to(`copy (select * from c order by a) to stdout (format ${format})`)),
      new Writable({ write (chunk, _, done) { chunks.push(chunk); done() } }))
    const whole = Buffer.concat(chunks)
    say('out', format, whole)
    const back = client.query(copy.from(`copy c from stdin (format ${format})`))
    await pipeline(Readable.from([whole]), back)
    say('back', back.rowCount)
  }
  try {
    await pipeline(Readable.from(['1\tx\n', 'bad\n']), client.query(copy.from('copy c from stdin')))
  } catch (e) { say('broken', e.code, e.message) }
  say('count', (await client.query('select count(*) from c')).rows)
}

async function theRest (client) {
  section('notices')
  const notices = []
  client.on('notice', (n) => notices.push([n.severity, n.code, n.message]))
  await client.query("do $$ begin raise notice 'one'; raise warning 'two'; end $$")
  say('notices', notices)
  section('notify')
  const got = []
  const two = new Promise((resolve) => client.on('notification', (n) => { got.push([n.channel, n.payload]); if (got.length === 2) resolve() }))
  await client.query('listen drv_node')
  await client.query("notify drv_node, 'own'")
  const other = new Client(words())
  await other.connect()
  await other.query("notify drv_node, 'other'")
  await two
  say('got', got)
  await client.query('unlisten *')
  section('cancel')
  const sleeping = failed('cancelled', client.query('select pg_sleep(60) /* cancel-node */'))
  const sought = "select count(*)::int as n from pg_stat_activity where state = 'active' and query like '%cancel-node%' and pid <> pg_backend_pid()"
  while ((await other.query(sought)).rows[0].n === 0);
  // node-pg's own Client.cancel knows no TLS: a client of another connection does what it would.
  const { connection } = new Client(words())
  await new Promise((resolve) => {
    for (const end of ['end', 'error']) connection.once(end, resolve)
    const cancel = () => connection.cancel(client.processID, client.secretKey)
    connection.once('connect', () => (env.T_CA ? connection.requestSsl() : cancel()))
    connection.once('sslconnect', cancel)
    connection.connect(Number(env.T_PORT), env.T_HOST)
  })
  await sleeping
  say('alive', (await client.query('select 1 as v')).rows)
  await other.end()
  section('large')
  const big = await client.query("select repeat('x', 50000000) as v, length($1) as n", ['y'.repeat(10000000)])
  say('row', big.rows[0].v.length, big.rows[0].n)
}

async function pool () {
  section('pool')
  const pool = new Pool({ ...words(), max: 3 })
  const one = async (n) => {
    const client = await pool.connect()
    try {
      await client.query('begin')
      await client.query("update drv_node.t set v = v || '+' where id = 1")
      await client.query('commit')
      return (await client.query('select $1::int * 2 as v', [n])).rows[0].v
    } finally { client.release() }
  }
  say('values', await Promise.all(Array.from({ length: 30 }, (_, n) => one(n))))
  say('row', (await pool.query('select v from drv_node.t where id = 1')).rows)
  await pool.end()
}

async function main () {
  const client = new Client(words())
  await client.connect()
  await client.query('set client_min_messages to warning; drop schema if exists drv_node cascade; create schema drv_node; reset client_min_messages')
  await client.query("set search_path to drv_node; set timezone to 'UTC'")
  for (const part of [types, transactions, statements, cursors, copies, theRest]) await part(client)
  await pool()
  await client.query('set client_min_messages to warning; drop schema drv_node cascade')
  await client.end()
  section('end')
}

main().catch((e) => { console.log('FAILED', e.code, mask(String(e.stack))); process.exitCode = 1 })
