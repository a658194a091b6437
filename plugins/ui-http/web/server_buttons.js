// Which buttons a server's state allows, and why not. Pure.

const off = (tooltip) => ({ disabled: true, tooltip });
const on = (tooltip) => ({ disabled: false, tooltip });

// Whether its tools can be used now: the light before its name.
export function readiness(status, offline) {
  if (offline) return off('Dashboard offline');
  switch (status) {
    case 'healthy':
      return on('Ready');
    case 'disconnected':
      return off('MCP disconnected, retrying...');
    case 'circuit_open':
      return off('Circuit breaker open');
    case 'disabled':
      return off('Manually disabled');
    default:
      return off('Unknown status');
  }
}

export const ACTIONS = ['start', 'stop', 'restart', 'enable', 'disable'];

export function buttonStates(row, { offline = false, busy = false, role = 'viewer' } = {}) {
  const all = (why) => Object.fromEntries(ACTIONS.map((a) => [a, off(why)]));
  if (offline) return all('Dashboard offline');
  if (role === 'viewer') return all('Your role may only look');
  if (busy) return all('Working on it...');
  const reason = typeof row?.reason === 'string' ? row.reason : '';
  const stopped = row?.status === 'disabled' && row?.enabled !== false && /stop/i.test(reason);
  switch (row?.status) {
    case 'healthy':
      return { start: off('Already running'), stop: on('Stop until it is started again'), restart: on('Stop and start again'), enable: off('Already enabled'), disable: on('Disable until it is enabled') };
    case 'disconnected':
      return { start: off('MCP disconnected, retrying...'), stop: on('Stop trying'), restart: on('Try again now'), enable: off('Already enabled'), disable: on('Disable until it is enabled') };
    case 'circuit_open':
      return { start: off('Circuit breaker open'), stop: on('Stop trying'), restart: on('Try again now, without waiting for the probe'), enable: off('Already enabled'), disable: on('Disable until it is enabled') };
    case 'disabled':
      return stopped
        ? { start: on('Start it'), stop: off('Already stopped'), restart: on('Start it again'), enable: off('Already enabled'), disable: on('Disable until it is enabled') }
        : { start: off('Manually disabled'), stop: off('Manually disabled'), restart: off('Manually disabled'), enable: on('Enable and connect'), disable: off('Already disabled') };
    default:
      return all('Unknown status');
  }
}
