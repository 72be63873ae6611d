// Prisma over pg: what its client asks, and its transactions.
'use strict'
const { failed, login, numbers, say, tour } = require('./common.cjs')
const { PrismaPg } = require('@prisma/adapter-pg')
const { PrismaClient } = require('@prisma/client')
const { Pool } = require('pg')

const SCHEMA = `
  set client_min_messages to warning;
  drop schema if exists drv_prisma cascade;
  create schema drv_prisma;
  create type drv_prisma."Kind" as enum ('A', 'B');
  create table drv_prisma."User" (
    id serial primary key, email text unique not null, kind drv_prisma."Kind" not null default 'A',
    meta jsonb, tags text[]);
  create table drv_prisma."Post" (
    id serial primary key, text text not null, "userId" int not null references drv_prisma."User")`

const db = new PrismaClient({ adapter: new PrismaPg({ ...login, max: 5 }, { schema: 'drv_prisma' }) })

async function execute (text) {
  const pool = new Pool(login)
  await pool.query(text)
  await pool.end()
}

async function rows () {
  await execute(SCHEMA)
  const posts = { create: [{ text: 'hi' }, { text: 'there' }] }
  const data = { email: 'a', tags: ['x'], meta: { a: [1] }, posts }
  say('create', await db.user.create({ data, include: { posts: true } }))
  await failed('unique', () => db.user.create({ data: { email: 'a' } }))
  say('many', await db.user.createMany({ data: numbers(500).map((n) => ({ email: `n${n}` })) }))
  const where = { email: { in: ['a', 'n3'] } }
  say('find', await db.user.findMany({ where, include: { posts: true }, orderBy: { id: 'asc' } }))
  say('upsert', await db.user.upsert({ where: { email: 'a' }, create: { email: 'a' }, update: { kind: 'B' } }))
  const all = await Promise.all(numbers(200).map((n) => db.user.findUnique({ where: { email: `n${n}` } })))
  say('unique', all.filter(Boolean).length)
  await failed('missing', () => db.user.update({ where: { id: 99999 }, data: { kind: 'A' } }))
  say('count', await db.user.count(), await db.post.groupBy({ by: ['userId'], _count: true }))
}

async function raw () {
  const text = 'update drv_prisma."User" set kind = $1::drv_prisma."Kind" where id < 5'
  say('query', await db.$queryRaw`select ${1}::int as a, ${'x'} as b, ${[1, 2]}::int[] as c`)
  say('execute', await db.$executeRawUnsafe(text, 'B'))
  await failed('division', () => db.$queryRaw`select 1 / 0`)
}

async function transactions () {
  say('batch', await db.$transaction([
    db.user.count(),
    db.user.update({ where: { email: 'n3' }, data: { kind: 'B' } }),
    db.user.aggregate({ _max: { email: true } }),
  ]))
  await failed('interactive', () => db.$transaction(async (t) => {
    await t.user.create({ data: { email: 'tx' } })
    await t.$queryRaw`select pg_sleep(0.1)::text`
    return t.user.count()
  }, { isolationLevel: 'Serializable' }))
  await failed('rolled back', () => db.$transaction(async (t) => {
    await t.user.create({ data: { email: 'no' } })
    throw new Error('no')
  }))
  // The message tells the milliseconds.
  const late = db.$transaction(async (t) => {
    await t.$queryRaw`select pg_sleep(2)::text`
    return t.user.count()
  }, { timeout: 500 })
  await failed('timeout', () => late.catch((e) => { throw Object.assign(new Error('late'), { code: e.code }) }))
  say('count', await db.user.count())
}

async function drop () {
  await execute('drop schema drv_prisma cascade')
}

console.log('=== prisma')
tour({ rows, raw, transactions, drop }, () => db.$disconnect())
