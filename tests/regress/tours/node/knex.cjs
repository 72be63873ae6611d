// knex: its migrations, its pool, streams and timeouts.
'use strict'
const { failed, login, numbers, say, tour } = require('./common.cjs')

const db = require('knex')({ client: 'pg', connection: login, pool: { min: 2, max: 10 }, searchPath: ['drv_knex'] })

// One migration, from here instead of a folder.
const migrationSource = {
  getMigrations: async () => ['one'],
  getMigrationName: (name) => name,
  getMigration: async () => ({
    up: (knex) => knex.schema.createTable('t', (table) => {
      table.increments()
      table.string('v').unique()
      table.jsonb('j')
    }),
    down: (knex) => knex.schema.dropTable('t'),
  }),
}

async function migrate () {
  await db.raw('drop schema if exists drv_knex cascade')
  await db.raw('create schema drv_knex')
  say('up', await db.migrate.latest({ migrationSource }))
  say('again', await db.migrate.latest({ migrationSource }))
}

async function rows () {
  say('insert', await db('t').insert([{ v: 'a', j: { a: 1 } }, { v: 'b' }]).returning('*'))
  await failed('unique', () => db('t').insert({ v: 'a' }))
  say('upsert', await db('t').insert({ v: 'a', j: { b: 2 } }).onConflict('v').merge().returning('*'))
  const many = await Promise.all(numbers(100).map((n) => db.select(db.raw('?::int as n', [n]))))
  say('many', many.reduce((sum, found) => sum + found[0].n, 0))
}

async function transactions () {
  await failed('nested', () => db.transaction(async (outer) => {
    await outer('t').insert({ v: 'outer' })
    const inner = outer.transaction(async (savepoint) => {
      await savepoint('t').insert({ v: 'inner' })
      throw new Error('no')
    })
    await inner.catch((e) => say('inner', e.message))
    return outer('t').select('v').orderBy('id')
  }))
  await failed('read only', () => db.transaction((trx) => trx('t').insert({ v: 'x' }), { readOnly: true }))
}

async function streams () {
  let sum = 0
  for await (const row of db.select(db.raw('generate_series(1, 500) as g')).stream()) sum += row.g
  say('sum', sum)
}

async function timeouts () {
  // Cancelled by pg_cancel_backend of the process id the connection was told; the next query has the
  // same connection, and waits for what is not cancelled.
  await failed('timeout', () => db.raw('select pg_sleep(10)').timeout(500, { cancel: true }))
  const began = Date.now()
  const { rows } = await db.raw('select 1 as n')
  say('alive', rows, Date.now() - began < 5000 ? 'at once' : 'late')
}

async function back () {
  say('down', await db.migrate.rollback({ migrationSource }))
  await db.raw('drop schema drv_knex cascade')
}

console.log('=== knex')
tour({ migrate, rows, transactions, streams, timeouts, back }, () => db.destroy())
