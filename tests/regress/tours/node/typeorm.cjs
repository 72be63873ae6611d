// TypeORM: its synchronisation of a schema, its repositories, transactions and streams.
'use strict'
const { failed, login, say, tour } = require('./common.cjs')
const { DataSource, EntitySchema } = require('typeorm')

const schema = 'drv_typeorm'
const Thing = new EntitySchema({
  name: 'thing',
  schema,
  columns: {
    id: { type: 'uuid', primary: true, generated: 'uuid' },
    name: { type: 'varchar', unique: true },
    at: { type: 'timestamptz', nullable: true },
    kind: { type: 'enum', enum: ['a', 'b'], default: 'a' },
  },
})
const { user: username, ...words } = login
const db = new DataSource({ type: 'postgres', ...words, username, schema, entities: [Thing], extra: { max: 5 } })

async function synchronize () {
  await db.initialize()
  await db.query(`drop schema if exists ${schema} cascade`)
  await db.query(`create schema ${schema}`)
  await db.synchronize()
  const again = await db.driver.createSchemaBuilder().log()
  say('again', again.upQueries.map((query) => query.query))
}

async function rows () {
  const things = db.getRepository('thing')
  await things.save([{ name: 'a' }, { name: 'b', kind: 'b', at: new Date(0) }])
  const found = await things.find({ order: { name: 'ASC' } })
  say('found', found.map((thing) => [thing.name, thing.kind, thing.at]))
  await failed('unique', () => things.insert({ name: 'a' }))
  await things.upsert({ name: 'a', kind: 'b' }, ['name'])
  say('upsert', (await things.findOneBy({ name: 'a' })).kind)
}

async function transactions () {
  await failed('nested', () => db.transaction('SERIALIZABLE', async (outer) => {
    await outer.save('thing', { name: 'outer' })
    await outer.transaction((inner) => inner.save('thing', { name: 'inner' }))
    return outer.count('thing')
  }))
  const runner = db.createQueryRunner()
  await runner.connect()
  await runner.startTransaction()
  await runner.query(`insert into ${schema}.thing (name) values ('no')`)
  await runner.rollbackTransaction()
  await runner.release()
  say('count', await db.getRepository('thing').count())
}

async function streams () {
  const names = []
  const stream = await db.getRepository('thing').createQueryBuilder('t').orderBy('t.name').stream()
  for await (const row of stream) names.push(row.t_name)
  say('names', names)
}

async function drop () {
  await db.query(`drop schema ${schema} cascade`)
}

console.log('=== typeorm')
tour({ synchronize, rows, transactions, streams, drop }, () => db.destroy())
