// What the tours of node's ORMs share: where to connect, and how they speak.
'use strict'
const env = process.env
const login = {
  host: env.PGHOST, port: Number(env.PGPORT), user: env.PGUSER, password: env.PGPASSWORD, database: env.PGDATABASE,
}

const say = (what, ...values) => console.log(`${what}: ${values.map((value) => JSON.stringify(value)).join(' | ')}`)
const failed = async (what, act) => {
  try {
    say(what, 'no error', await act())
  } catch (e) {
    // Where the message shows the place in a script (Prisma), its last line is what happened.
    const lines = String(e.message).trim().split('\n')
    const message = lines.find((line) => line.startsWith('Invalid `')) ? lines.at(-1) : lines[0]
    say(what, e.code || e.original?.code || e.cause?.code || e.name, message)
  }
}
const numbers = (length) => Array.from({ length }, (_, n) => n)

// Runs the parts of a tour, each in a section of its own.
async function tour (parts, last) {
  for (const [name, part] of Object.entries(parts)) {
    console.log(`== ${name}`)
    try {
      await part()
    } catch (e) {
      console.log('ENDED', e.stack)
    }
  }
  await last()
  console.log('== end')
}

module.exports = { failed, login, numbers, say, tour }
