// node pages.mjs SCRIPTED_WEB_BINARY [SHOTS_FOLDER]
// What the pages do with everything a host can throw at them, against the scripted host: markup in messages, forms, commands, a mass
// failure, a host that goes away and comes back, no WebSocket at all, a narrow screen, no mouse.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { check, launch, openPage, say, shotsIn } from './browser.mjs';

const [binary, folder = 'shots'] = process.argv.slice(2);
const shot = shotsIn(folder);

function startHost(port = 0) {
  return new Promise((resolve, reject) => {
    const child = spawn(binary, [String(port)], { stdio: ['ignore', 'pipe', 'inherit'] });
    child.once('exit', (code) => reject(new Error(`the scripted host ended with ${code}`)));
    createInterface({ input: child.stdout }).once('line', (url) => resolve({ child, url, port: Number(new URL(url).port) }));
  });
}
const stopHost = (host) => new Promise((resolve) => {
  host.child.removeAllListeners('exit');
  host.child.once('exit', resolve);
  host.child.kill('SIGTERM');
});

let host = await startHost();
const browser = await launch();
const page = await openPage(browser);
let failed = null;
const noErrors = (p, what, allowed = /^$/) => {
  const bad = p.problems.filter((problem) => !allowed.test(problem));
  check(bad.length === 0, `${what}: no console errors${bad.length ? ` — ${bad.join(' | ')}` : ''}`);
};
const NETWORK = /ERR_CONNECTION|WebSocket connection|Failed to load resource/; // the browser's own words while the host is away

try {
  await page.goto(host.url);
  await page.locator('.link-state.live').waitFor();
  await shot(page, 'empty');

  await say(page, 'hello');
  await page.locator('.message.assistant .code pre').waitFor();
  await page.locator('.indicator.idle').waitFor();
  check(await page.getByText('<script>alert(1)</script>').isVisible(), 'markup in an answer is shown as text');
  check((await page.locator('.message.assistant strong').innerText()) === 'demonstration model', 'markdown is rendered');
  check((await page.locator('.message.assistant td').count()) === 2, 'tables are rendered');
  await shot(page, 'markdown');

  await say(page, '/help');
  await page.locator('.note').filter({ hasText: '/model [name|auto]' }).waitFor();
  check(true, 'slash commands answer in place');

  await say(page, 'show me a form');
  const form = page.getByRole('group', { name: 'Input request' });
  await form.waitFor();
  await form.getByLabel(/Colour/).selectOption({ label: 'green' });
  await form.getByLabel('As a gift').check();
  await shot(page, 'form');
  await form.getByRole('button', { name: 'Send' }).click();
  await page.getByText('"colour":"green"').waitFor();
  check(await page.getByText('"gift":true').isVisible(), 'a form sends typed values');
  await page.locator('.indicator.idle').waitFor();

  await say(page, 'show me an address');
  const visit = page.getByRole('group', { name: 'Input request' });
  await visit.getByText('site.example', { exact: true }).waitFor();
  const link = visit.getByRole('link');
  check((await link.getAttribute('href')) === 'https://accounts.example.org@site.example/sign-in?x=%3Cb%3E', 'an address is a link, with its site beside it');
  check((await link.getAttribute('rel')).includes('noopener') && (await link.getAttribute('target')) === '_blank', 'it opens apart from this page');
  await shot(page, 'address');
  await visit.getByRole('button', { name: 'Accept' }).click();
  await page.getByText('You said: null').waitFor();
  check(page.context().pages().length === 1, 'nothing is opened by itself');
  await page.locator('.indicator.idle').waitFor();

  // Two tabs: one asks, the other answers.
  const other = await page.context().newPage();
  other.problems = [];
  other.on('pageerror', (error) => other.problems.push(error.message));
  await other.goto(page.url());
  await other.locator('.message.user').first().waitFor();
  await say(page, 'what time is it?');
  await other.getByRole('group', { name: 'Permission request' }).getByRole('button', { name: 'Deny' }).click();
  await page.getByText('Then I cannot tell the time.').waitFor();
  check((await page.getByRole('group', { name: 'Permission request' }).count()) === 0, 'the answer of another tab closes the card here');
  await other.close();

  // Keyboard only.
  await page.locator('.indicator.idle').waitFor();
  await say(page, 'what time is it now?');
  const allow = page.getByRole('button', { name: 'Allow once' });
  await allow.waitFor();
  await allow.focus();
  await page.keyboard.press('Enter');
  await page.locator('.message.assistant').last().getByText('2026-11-21T12:00:00Z').waitFor();
  check(true, 'a permission is answered by keyboard');

  await page.getByRole('link', { name: 'Status', exact: true }).click();
  await page.locator('[data-server="remote"]').waitFor();
  check((await page.locator('[data-server="remote"] .light').getAttribute('title')) === 'Circuit breaker open', 'an open circuit is named');
  check((await page.locator('[data-act="server/demo/start"]').getAttribute('title')) === 'Already running', 'buttons say why they are off');
  await page.locator('[data-act="server/files/disable"]').click();
  await page.locator('[data-server="files"] .pill.disabled').waitFor();
  await page.locator('[data-act="server/files/enable"]:not([aria-disabled])').waitFor();  // once the answer to the click is there, too
  check(true, 'a disabled server can be enabled');
  await page.locator('[data-act="server/files/enable"]').click();
  await page.locator('[data-server="files"] .pill.healthy').waitFor();

  const logButton = page.getByRole('button', { name: 'log demo', exact: true });
  await logButton.focus();
  await page.keyboard.press('Enter');
  const log = page.getByLabel('Last lines that demo wrote to stderr');
  await log.getByText('<img src=x onerror=alert(1)> of demo').waitFor();
  check((await page.locator('#server-log img').count()) === 0, 'a server\'s log is text');
  await log.getByText('line 1', { exact: false }).waitFor();
  check((await logButton.getAttribute('aria-expanded')) === 'true', 'the log is open, and goes on');
  await shot(page, 'server-log');
  await page.keyboard.press('Escape');
  await log.waitFor({ state: 'hidden' });
  check((await page.evaluate(() => document.activeElement.dataset.act)) === 'server/demo/log', 'closed by keyboard: the button has the focus again');
  noErrors(page, 'everything worked');

  const before = Date.now();
  host.child.kill('SIGUSR1');
  await page.locator('[data-server="demo"] .pill.disconnected').waitFor();
  check(Date.now() - before < 1000 * (process.env.HOLDFAST_PATIENCE ?? 1), `a failure is seen within a second (${Date.now() - before} ms)`);
  await page.locator('.banner').waitFor();
  await shot(page, 'all-down');
  await page.getByRole('link', { name: 'Chat', exact: true }).click();
  await page.getByLabel('Message', { exact: true }).waitFor();
  check(await page.locator('.banner').isVisible(), 'the alert is seen on the chat page, too');
  await page.getByRole('link', { name: 'Status', exact: true }).click();
  host.child.kill('SIGUSR2');
  await page.locator('[data-server="demo"] .pill.healthy').waitFor();
  noErrors(page, 'all servers failed at once');

  // The host goes away.
  const port = host.port;
  await stopHost(host);
  await page.locator('.link-state.offline').waitFor();
  check((await page.locator('[data-act="server/demo/stop"]').getAttribute('title')) === 'Dashboard offline', 'offline: buttons are off');
  await shot(page, 'offline');
  page.problems = page.problems.filter((problem) => !NETWORK.test(problem));
  noErrors(page, 'the host went away');
  host = await startHost(port); // forgets its logins: a new process without a handover
  await page.getByRole('heading', { name: 'Sign in to Holdfast' }).waitFor();
  await page.getByLabel('Token').fill('wrong');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('this token is not valid', { exact: false }).waitFor();
  await shot(page, 'sign-in');
  await page.getByLabel('Token').fill(new URL(host.url).hash.slice('#token='.length));
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.locator('.link-state.live').waitFor();
  noErrors(page, 'signed in again', NETWORK);

  // No WebSocket: the page polls and still shows what happens.
  const polling = await openPage(browser);
  await polling.addInitScript(() => {
    window.WebSocket = class {
      constructor() {
        setTimeout(() => this.onclose?.({ code: 1006 }), 1);
      }
      close() {}
    };
  });
  await polling.goto(host.url);
  await polling.locator('.link-state.polling').waitFor();
  await polling.getByRole('link', { name: 'Status', exact: true }).click();
  await polling.locator('[data-server="demo"] .pill.healthy').waitFor();
  host.child.kill('SIGUSR1');
  await polling.locator('[data-server="demo"] .pill.disconnected').waitFor();
  check(true, 'without a WebSocket, polling shows the failure');
  noErrors(polling, 'polling');
  await polling.context().close();

  // A narrow screen, dark.
  const narrow = await openPage(browser, { viewport: { width: 390, height: 780 }, colorScheme: 'dark' });
  await narrow.goto(host.url);
  await narrow.locator('.link-state.live').waitFor();
  await say(narrow, 'what time is it?');
  await narrow.getByRole('group', { name: 'Permission request' }).waitFor();
  await shot(narrow, 'narrow-chat');
  const wide = await narrow.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  check(wide <= 0, 'nothing sticks out of a narrow screen');
  await narrow.getByRole('link', { name: 'Status', exact: true }).click();
  await narrow.locator('[data-server]').first().waitFor();
  await shot(narrow, 'narrow-status');
  noErrors(narrow, 'narrow');

  // Answers that make no sense.
  const odd = await openPage(browser);
  await odd.route('**/api/v1/call/**', (route) => {
    const bodies = ['null', '[]', '"text"', '{"servers":[null,5,{}],"plugins":[null,{}],"sessions":[null,{}],"children":[null,[]],"status":7,"messages":[null]}', 'not json'];
    route.fulfill({ status: 200, contentType: 'application/json', body: bodies[Math.floor(Math.random() * bodies.length)] });
  });
  await odd.goto(host.url);
  await odd.locator('.link-state.live').waitFor();
  for (let i = 0; i < 6; i += 1) {
    await odd.getByRole('link', { name: 'Status', exact: true }).click();
    await odd.locator('.cards .card').first().waitFor();
    await odd.evaluate(() => location.assign('#/chat/x'));
    await odd.locator('.composer').waitFor();
  }
  noErrors(odd, 'nonsense answers');
  check(odd.problems.filter((p) => p.startsWith('exception')).length === 0, 'nonsense answers raise no exception');
} catch (error) {
  failed = error;
  await shot(page, 'failure').catch(() => {});
}
await browser.close();
await stopHost(host).catch(() => {});
if (failed) {
  console.error(`FAILED ${failed.stack}`);
  for (const problem of page.problems) console.error(`  ${problem}`);
  process.exit(1);
}
