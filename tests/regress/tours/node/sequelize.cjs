// Sequelize: what it makes of models, and its transactions.
'use strict'
const { failed, login, numbers, say, tour } = require('./common.cjs')
const { DataTypes, Sequelize, Transaction } = require('sequelize')

const { host, port, user, password, database } = login
const db = new Sequelize(database, user, password, { host, port, dialect: 'postgres', logging: false, pool: { max: 5 } })
const place = { schema: 'drv_sequelize', timestamps: false }
const User = db.define('user', {
  name: { type: DataTypes.STRING, unique: true },
  tags: DataTypes.ARRAY(DataTypes.TEXT),
  kind: DataTypes.ENUM('a', 'b'),
  at: DataTypes.DATE,
}, place)
const Post = db.define('post', { body: DataTypes.TEXT, extra: DataTypes.JSONB }, place)
User.hasMany(Post)
Post.belongsTo(User)

async function sync () {
  await db.query('drop schema if exists drv_sequelize cascade')
  await db.createSchema('drv_sequelize')
  await db.sync({ force: true })
  await db.sync({ alter: true })
  const columns = await db.getQueryInterface().describeTable({ tableName: 'users', schema: 'drv_sequelize' })
  say('columns', Object.entries(columns).map(([name, column]) => [name, column.type]))
}

async function rows () {
  const user = await User.create({ name: 'x', tags: ['1', '2'], kind: 'a', at: new Date(0) })
  await user.createPost({ body: 'hi', extra: { a: [1] } })
  say('found', await User.findAll({ include: Post }))
  await failed('unique', () => User.create({ name: 'x' }))
  say('bulk', (await User.bulkCreate(numbers(500).map((n) => ({ name: `n${n}` })))).length)
  say('upsert', (await User.upsert({ id: 1, name: 'x', kind: 'b' }))[0].kind)
}

async function transactions () {
  const { SERIALIZABLE } = Transaction.ISOLATION_LEVELS
  await failed('nested', () => db.transaction({ isolationLevel: SERIALIZABLE }, async (transaction) => {
    await User.create({ name: 'outer' }, { transaction })
    await db.transaction({ transaction }, (inner) => User.create({ name: 'inner' }, { transaction: inner }))
    return User.count({ transaction })
  }))
  await failed('rolled back', () => db.transaction(async (transaction) => {
    await User.create({ name: 'no' }, { transaction })
    throw new Error('no')
  }))
  say('count', await User.count())
  const locked = db.transaction((transaction) =>
    User.findAll({ where: { id: 1 }, lock: transaction.LOCK.UPDATE, transaction }))
  say('locked', (await locked).length)
}

async function drop () {
  await db.query('drop schema drv_sequelize cascade')
}

console.log('=== sequelize')
tour({ sync, rows, transactions, drop }, () => db.close())
