// Drizzle over pg: statements it prepares by name, nested transactions.
'use strict'
const { failed, login, numbers, say, tour } = require('./common.cjs')
const { eq, sql } = require('drizzle-orm')
const { drizzle } = require('drizzle-orm/node-postgres')
const { jsonb, pgSchema, serial, text } = require('drizzle-orm/pg-core')
const { Pool } = require('pg')

const pool = new Pool({ ...login, max: 5 })
const db = drizzle(pool)
const things = pgSchema('drv_drizzle').table('t', { id: serial('id').primaryKey(), v: text('v'), j: jsonb('j') })

async function rows () {
  await db.execute(sql`drop schema if exists drv_drizzle cascade`)
  await db.execute(sql`create schema drv_drizzle`)
  await db.execute(sql`create table drv_drizzle.t (id serial primary key, v text unique, j jsonb)`)
  say('insert', await db.insert(things).values([{ v: 'a', j: { a: 1 } }, { v: 'b' }]).returning())
  await failed('unique', () => db.insert(things).values({ v: 'a' }))
  const upsert = db.insert(things).values({ v: 'a' }).onConflictDoUpdate({ target: things.v, set: { j: [1] } })
  say('upsert', await upsert.returning())
}

async function prepared () {
  const named = db.select().from(things).where(eq(things.v, sql.placeholder('v'))).prepare('by_v')
  const found = await Promise.all(numbers(50).map((n) => named.execute({ v: n % 2 ? 'a' : 'b' })))
  say('found', found.flat().map((row) => row.v).join(''))
}

async function transactions () {
  await failed('nested', () => db.transaction(async (outer) => {
    await outer.insert(things).values({ v: 'outer' })
    const inner = outer.transaction(async (savepoint) => {
      await savepoint.insert(things).values({ v: 'inner' })
      savepoint.rollback()
    })
    await inner.catch((e) => say('inner', e.name))
    return outer.$count(things)
  }))
  const how = { isolationLevel: 'serializable', accessMode: 'read only' }
  await failed('read only', () => db.transaction((outer) => outer.insert(things).values({ v: 'no' }), how))
}

async function drop () {
  await db.execute(sql`drop schema drv_drizzle cascade`)
}

console.log('=== drizzle')
tour({ rows, prepared, transactions, drop }, () => pool.end())
