// Shared by the browser tests: a Chromium, pages that remember their console errors, and small helpers.
import { existsSync, mkdirSync } from 'node:fs';
import { chromium } from 'playwright-core';

const CANDIDATES = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].filter(Boolean);

export async function launch() {
  const executablePath = CANDIDATES.find((path) => existsSync(path));
  if (!executablePath) throw new Error('no Chromium found: apt-get install -y chromium, or set CHROMIUM');
  return chromium.launch({
    executablePath,
    headless: true,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
}

// A page that records what the console and uncaught exceptions say.
export async function openPage(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  page.problems = [];
  page.on('pageerror', (error) => page.problems.push(`exception: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error') page.problems.push(`console: ${message.text()}`);
  });
  page.setDefaultTimeout(Number(process.env.BROWSER_TIMEOUT_MS) || 20000 * (process.env.HOLDFAST_PATIENCE ?? 1));
  return page;
}

export function shotsIn(folder) {
  mkdirSync(folder, { recursive: true });
  return (page, name) => page.screenshot({ path: `${folder}/${name}.png` });
}

export function check(condition, what) {
  if (!condition) throw new Error(`not so: ${what}`);
  console.log(`ok  ${what}`);
}

// Types a message as a person would and sends it.
export async function say(page, text) {
  await page.getByLabel('Message', { exact: true }).fill(text);
  await page.keyboard.press('Enter');
}
