// node chat.mjs BASE_URL TOKEN [SHOTS_FOLDER]
// Against any running host with a demo server: sign in through the fragment, ask for the time, approve, see the answer, look at the
// status page. Fails on any console error.
import { check, launch, openPage, say, shotsIn } from './browser.mjs';

const [base, token, folder = 'shots'] = process.argv.slice(2);
if (!base || !token) {
  console.error('usage: node chat.mjs BASE_URL TOKEN [SHOTS_FOLDER]');
  process.exit(64);
}
const shot = shotsIn(folder);
const browser = await launch();
let failed = null;
const page = await openPage(browser);
try {
  await page.goto(`${base.replace(/\/$/, '')}/#token=${token}`);
  await page.getByRole('link', { name: 'Chat', exact: true }).waitFor();
  check(!page.url().includes(token), 'the token is gone from the address');
  await page.locator('.link-state.live').waitFor();
  check(true, 'the WebSocket is live');

  await page.getByRole('button', { name: '+ New chat' }).click();
  await page.waitForURL(/#\/chat\/.+/);
  await say(page, 'what time is it?');
  const card = page.getByRole('group', { name: 'Permission request' });
  await card.waitFor();
  check((await card.count()) === 1, 'one permission is asked for');
  await shot(page, 'chat-permission');
  await card.getByRole('button', { name: 'Allow once' }).click();
  await card.waitFor({ state: 'detached' });
  const done = page.locator('.call .pill.result').first();
  await done.waitFor();
  check(/Allowed once/.test(await page.locator('.call summary').first().innerText()), 'the call says who allowed it');
  await page.locator('.indicator.idle').waitFor();
  const answer = await page.locator('.message.assistant').last().innerText();
  check(/\d{4}-\d\d-\d\d|\d{1,2}:\d\d/.test(answer), `the answer holds a time: ${answer.replace(/\s+/g, ' ').slice(0, 120)}`);
  await page.locator('.call summary').first().click();
  await shot(page, 'chat');

  await page.reload();
  await page.locator('.call .pill.result').first().waitFor();
  check(await page.getByText('what time is it?').first().isVisible(), 'after a reload the session is there, still signed in');

  await page.getByRole('link', { name: 'Status', exact: true }).click();
  await page.locator('[data-server]').first().waitFor();
  await page.locator('[data-plugin]').first().waitFor();
  await page.locator('.tree .node-id').first().waitFor();
  check((await page.locator('[data-server]').count()) > 0, 'servers are listed');
  check((await page.locator('[data-plugin]').count()) > 0, 'plugins are listed');
  await shot(page, 'status');
  check(page.problems.length === 0, `no console errors${page.problems.length ? `: ${page.problems.join(' | ')}` : ''}`);
} catch (error) {
  failed = error;
  await shot(page, 'failure').catch(() => {});
}
await browser.close();
if (failed) {
  console.error(`FAILED ${failed.message}`);
  for (const problem of page.problems) console.error(`  ${problem}`);
  process.exit(1);
}
