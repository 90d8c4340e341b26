// @ts-check
// Calls through a network that loses packets: a network namespace of this test's own, in which
// loopback and an address beside it drop one UDP packet in twenty.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Child } from '../harness/child.js';
import { within } from '../harness/deadline.js';
import { e2eDir } from '../harness/paths.js';

/** Of a hundred UDP packets. */
const LOST = 5;

/** A page has no candidates on loopback alone; the pair of interfaces gives it an address. */
const NETWORK = `
ip link set lo up
ip link add outer type veth peer name inner
ip address add 10.9.0.1/24 dev outer
ip link set outer up
ip link set inner up
nft add table inet lossy
nft add chain inet lossy input '{ type filter hook input priority 0; }'
nft add rule inet lossy input meta l4proto udp numgen random mod 100 '<' ${LOST} drop
`;

test('a call survives a network that loses five packets in a hundred', async (t) => {
  const user = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
  // A test runner inside a test runner runs nothing, unless it does not know.
  const command = `set -e\n${NETWORK}\nunset NODE_TEST_CONTEXT\nexec "$0" --test --test-reporter=tap lossy/calls.js`;
  const args = ['--net', ...user, '--', 'sh', '-c', command, process.execPath];
  const child = new Child('lossy', 'unshare', args, { cwd: e2eDir });
  try {
    await within(150_000, 'the calls', child.ended);
  } finally {
    child.kill('SIGKILL');
  }
  for (const line of child.stdout.filter((text) => /^\s*# (native|page):/u.test(text))) {
    t.diagnostic(line.replace(/^\s*# /u, ''));
  }
  assert.ok(child.code === 0 && child.stdout.includes('# pass 1'), child.tail());
});
