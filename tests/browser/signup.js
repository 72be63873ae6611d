// /signup in a headless browser: wrong fields, the form, the steps, the connection string, a key.
// Prints what it saw as one line of JSON.
'use strict'
const fs = require('fs')
const os = require('os')
const path = require('path')
const { createRequire } = require('module')
const load = createRequire(path.join(__dirname, '..', 'node', 'package.json'))
const { chromium } = load('playwright-core')

const { B_PAGE, B_BROWSER, B_EMAIL, B_TAKEN, B_SHOTS } = process.env
const ARGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
]

async function main () {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'pgusher-browser-'))
  const saw = { errors: [], outside: [] }
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: B_BROWSER, args: ARGS, headless: true, viewport: { width: 1000, height: 1080 },
    colorScheme: 'light',
  })
  try {
    const page = await browser.newPage()
    page.setDefaultTimeout(60000)
    page.on('pageerror', error => saw.errors.push(String(error)))
    page.on('console', line => { if (line.text().includes('Content Security')) saw.errors.push(line.text()) })
    page.on('request', request => {
      if (!request.url().startsWith(new URL(B_PAGE).origin)) saw.outside.push(request.url())
    })
    await page.goto(B_PAGE)
    const shot = name => B_SHOTS && page.screenshot({ path: path.join(B_SHOTS, name) })
    const wrong = async name => (await page.textContent(`#${name}-wrong`)).trim()

    // Every field that cannot be used says so, and the first of them has the focus.
    await page.fill('#email', 'nobody')
    await page.fill('#password', 'short')
    await page.click('#send')
    await page.waitForSelector('#email[aria-invalid="true"]')
    saw.wrong = {}
    for (const name of ['churchName', 'firstName', 'lastName', 'email', 'password']) {
      saw.wrong[name] = await wrong(name)
    }
    saw.focus = await page.evaluate(() => document.activeElement.id)

    await page.fill('#churchName', 'Harbor Church')
    await page.fill('#firstName', 'Ada')
    await page.fill('#lastName', 'Lovelace')
    await page.fill('#password', 'correct horse battery')
    await page.fill('#email', B_TAKEN)
    await page.keyboard.press('Enter')
    await page.waitForFunction(() => document.getElementById('email-wrong').textContent.includes('already'))
    saw.taken = await wrong('email')

    await page.fill('#email', B_EMAIL)
    await shot('form.png')
    await page.click('#send')
    await page.waitForSelector('#going:not([hidden]), #done:not([hidden])')
    await page.waitForSelector('#done:not([hidden])')
    saw.steps = await page.$$eval('#steps li', items => items.map(item => item.className))
    saw.percent = await page.$eval('#bar', bar => bar.value)
    saw.url = await page.inputValue('#url')
    saw.hint = await page.textContent('#url-hint')
    saw.trial = await page.textContent('#trial')
    await page.click('#make-key')
    await page.waitForSelector('#key:not([hidden])')
    saw.key = await page.inputValue('#key')
    await shot('done.png')

    // Nothing hangs over the edge of a phone, in the dark.
    await page.setViewportSize({ width: 360, height: 740 })
    await page.emulateMedia({ colorScheme: 'dark' })
    await shot('phone.png')
    saw.narrow = await page.evaluate(() => document.documentElement.scrollWidth)
    await page.goto(B_PAGE)
    await shot('phone-form.png')
    saw.narrowForm = await page.evaluate(() => document.documentElement.scrollWidth)
    saw.labels = await page.$$eval('input, select', fields => fields.filter(f => !f.labels.length).length)
  } finally {
    await browser.close()
    fs.rmSync(profile, { recursive: true, force: true })
  }
  console.log(JSON.stringify(saw))
}

main().catch(error => { console.error(error); process.exit(1) })
