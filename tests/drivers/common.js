// What the tours of node's drivers share: a transcript without accidents, as common.py has it.
'use strict'
const fs = require('fs')
const { createRequire } = require('module')
const path = require('path')

const load = createRequire(path.join(__dirname, '..', 'node', 'package.json'))
const env = process.env

// What a verifying connection takes, or false where it is direct.
const tls = () => (env.T_CA ? { ca: fs.readFileSync(env.T_CA, 'utf8'), rejectUnauthorized: true } : false)

const mask = (text) => [env.T_DATABASE, env.T_ROLE].reduce((t, n) => (n ? t.split(n).join('<name>') : t), text)
const show = (value) => {
  if (Buffer.isBuffer(value)) return `bytes[${value.length}] ${value.subarray(0, 30).toString('hex')}`
  if (typeof value === 'string' && value.length > 400) return `str[${value.length}]`
  if (value instanceof Date) return value.toISOString()
  if (Array.isArray(value)) return '[' + value.map(show).join(', ') + ']'
  if (value && typeof value === 'object') return '{' + Object.entries(value).map(([k, v]) => `${k}: ${show(v)}`).join(', ') + '}'
  return JSON.stringify(value) ?? 'undefined'
}
const say = (what, ...values) => console.log(mask(`${what}: ${values.map(show).join(' | ')}`))
const section = (name) => console.log(`== ${name}`)
const failed = async (what, promise) => {
  try {
    say(what, 'no error', (await promise)?.rowCount)
  } catch (e) {
    say(what, e.severity, e.code, e.message, e.detail, e.position)
  }
}

module.exports = { env, failed, load, mask, say, section, tls }
