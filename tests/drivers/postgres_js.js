// postgres.js: it pipelines by itself, prepares by itself, and every way of its own to say so.
'use strict'
const { env, failed, load, mask, say, section, tls } = require('./common')
const postgres = load('postgres')

const VARIANTS = [
  {}, { prepare: false }, { max: 1 }, { max_pipeline: 1 }, { fetch_types: false }, { max: 10, idle_timeout: 1 },
]

const make = (variant, notices) => postgres({
  host: env.T_HOST, port: Number(env.T_PORT), user: env.T_USER, password: env.T_PASSWORD,
  database: env.T_DATABASE, ssl: tls(), connect_timeout: 20, max: 3,
  connection: { application_name: 'drivers', ...(env.T_OPTIONS ? { options: env.T_OPTIONS } : {}) },
  onnotice: (notice) => notices.push([notice.severity, notice.code, notice.message]),
  ...variant,
})
const numbers = (length) => Array.from({ length }, (_, n) => n)
const total = (results) => results.reduce((sum, rows) => sum + rows[0].n, 0)

async function values (sql) {
  section('values')
  await sql`create table drv_postgres_js.t
    (id serial primary key, v text, j jsonb, a int[], d timestamptz default '2026-01-01')`
  const rows = [{ v: 'a', j: { x: 1 } }, { v: 'b', j: null }, { v: 'ünïcödé ☃', j: [1, 2] }]
  say('insert', await sql`insert into drv_postgres_js.t ${sql(rows, 'v', 'j')} returning id, v, j`)
  // Arrays are what it has to fetch the types for.
  if (sql.options.fetch_types) say('update', await sql`update drv_postgres_js.t set a = ${[1, 2]}::int[] where id = ${2} returning a`)
  say('select', await sql`select * from drv_postgres_js.t where id in ${sql([1, 2])} order by id`)
  say('types', await sql`select 1.5::numeric, 9007199254740993::int8 as i, null as n, ${true}::bool as b,
    ${Buffer.from([0, 255])}::bytea as x, ${new Date(0)}::timestamptz as t`)
  say('values', await sql`select 1 as a, 'x' as b`.values())
  say('raw', (await sql`select 1 as a, null as b`.raw())[0])
  const { columns } = await sql`select id, v from drv_postgres_js.t where id = ${1}`.describe()
  say('describe', columns.map((column) => column.name))
  say('parameters', sql.parameters.server_encoding, sql.parameters.standard_conforming_strings)
}

async function queued (sql) {
  section('queued')
  say('many', total(await Promise.all(numbers(500).map((n) => sql`select ${n}::int as n`))))
  const mixed = await Promise.all(numbers(200).map((n) => {
    if (n % 7 === 3) return sql`select 1 / ${0}::int`.catch((e) => e.code)
    return n % 5 === 1 ? sql.unsafe(`select ${n} as n`) : sql`select ${n}::int as n`
  }))
  say('mixed', mixed.map((rows) => (typeof rows === 'string' ? rows : rows[0].n)))
  const kinds = numbers(200).map((n) =>
    sql.unsafe(`select $1::int + ${n} as n`, [n], { prepare: n % 2 === 0 }))
  say('prepared or not', total(await Promise.all(kinds)))
  say('simple', await sql`select 1 as a; select 2 as b`.simple())
}

async function errors (sql) {
  section('errors')
  await failed('syntax', sql`selekt 1`)
  await failed('nowhere', sql`select * from nowhere where a = ${1}`)
  await failed('type', sql`select ${'x'}::int`)
  await failed('unique', sql`insert into drv_postgres_js.t (id) values (1)`)
}

async function transactions (sql) {
  section('transactions')
  say('begin', await sql.begin(async (t) => {
    await t`insert into drv_postgres_js.t (v) values ('tx')`
    const broken = t.savepoint(async (s) => {
      await s`insert into drv_postgres_js.t (v) values ('savepoint')`
      throw new Error('no')
    })
    await broken.catch((e) => say('savepoint', e.message))
    return t`select count(*)::int as n from drv_postgres_js.t`
  }))
  await failed('rolled back', sql.begin(async (t) => {
    await t`insert into drv_postgres_js.t (v) values ('rolled back')`
    await t`select 1 / 0`
  }))
  const insert = (t, v) => t`insert into drv_postgres_js.t (v) values (${v}) returning v`
  say('pipelined', await sql.begin((t) => [t`select 1 as a`, t`select 2 as b`, insert(t, 'pipelined')]))
  await failed('pipelined', sql.begin((t) => [t`select 1 as a`, t`select 1 / 0`, insert(t, 'never')]))
  await failed('isolation', sql.begin('read only', (t) => insert(t, 'never')))
  say('rows', await sql`select v from drv_postgres_js.t order by id`)
}

async function cursors (sql) {
  section('cursors')
  const rows = () => sql`select g from generate_series(1, 1000) g`
  let n = 0
  await rows().cursor(100, (some) => { n += some.length })
  say('cursor', n)
  n = 0
  for await (const some of rows().cursor(77)) {
    n += some.length
    if (n > 300) break
  }
  say('broken off', n)
  n = 0
  await rows().forEach(() => { n++ })
  say('each', n)
}

async function copies (sql) {
  section('copy')
  const into = await sql`copy drv_postgres_js.t (v) from stdin`.writable()
  await new Promise((resolve, reject) => {
    into.on('error', reject)
    into.on('finish', resolve)
    for (const row of numbers(1000)) into.write(`row ${row}\n`)
    into.end()
  })
  const out = await sql`copy (select v from drv_postgres_js.t order by id) to stdout`.readable()
  const chunks = []
  for await (const chunk of out) chunks.push(chunk)
  say('out', Buffer.concat(chunks))
}

async function sessions (sql, notices) {
  section('notify')
  const got = []
  let heard
  const two = new Promise((resolve) => { heard = resolve })
  const { unlisten } = await sql.listen('drv_postgres_js', (payload) => {
    if (got.push(payload) === 2) heard()
  })
  await sql.notify('drv_postgres_js', 'one')
  await sql`select pg_notify('drv_postgres_js', ${'two'})`
  await two
  say('got', got)
  await unlisten()
  section('cancel')
  const sleeping = sql`select pg_sleep(60) /* cancel-postgres-js */`
  const cancelled = failed('cancelled', sleeping)
  const watch = make({ max: 1 }, [])
  const sought = () => watch`select count(*)::int as n from pg_stat_activity
    where state = 'active' and query like '%cancel-postgres-js%' and pid <> pg_backend_pid()`
  while ((await sought())[0].n === 0);
  sleeping.cancel()
  await cancelled
  await watch.end()
  section('reserved')
  const one = await sql.reserve()
  await one`set application_name = 'reserved'`
  say('set', await one`show application_name`)
  await one`reset application_name`
  notices.length = 0
  await one`do $$ begin raise notice 'one'; raise warning 'two'; end $$`
  say('notices', notices)
  one.release()
  section('large')
  const [big] = await sql`select length(${'y'.repeat(3000000)}) as n, repeat('x', 10000000) as v`
  say('row', big.n, big.v)
}

async function tour (variant) {
  section(`postgres.js ${JSON.stringify(variant)}`)
  const notices = []
  const sql = make(variant, notices)
  await sql`drop schema if exists drv_postgres_js cascade`
  await sql`create schema drv_postgres_js`
  for (const part of [values, queued, errors, transactions, cursors, copies]) await part(sql)
  await sessions(sql, notices)
  await sql`drop schema drv_postgres_js cascade`
  await sql.end({ timeout: 5 })
}

async function main () {
  for (const variant of VARIANTS) await tour(variant)
  section('end')
}

main().catch((e) => { console.log('FAILED', e.code, mask(String(e.stack))); process.exit(1) })
