// @ts-check
// A small internet in network namespaces of its own: a server with a public address, and homes
// behind routers that translate addresses or block UDP. It is gone when the scenario ends, and
// when the process does.

import { execFileSync } from 'node:child_process';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { chromiumBinary } from './paths.js';

/** Addresses that nobody has (RFC 5737), and that no rule takes for private. */
export const SERVER_ADDRESS = '198.51.100.1';

/** Why there is no such network here; `false` where there is one. */
export const noNetwork =
  process.getuid?.() === 0 ? false : 'network namespaces need root: run ./dev test e2e as root';

/** @type {Set<string>} */
const namespaces = new Set();
process.on('exit', () => {
  for (const name of namespaces) remove(name);
});

/** @param {string} name */
function remove(name) {
  try {
    execFileSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
  } catch {
    // It is gone already.
  }
  namespaces.delete(name);
}

/** @param {string} commands for a shell, one a line */
function run(commands) {
  execFileSync('sh', ['-ec', commands], { stdio: ['ignore', 'ignore', 'pipe'] });
}

let count = 0;

export class Network {
  #names = `pm${process.pid}-${(count += 1)}`;
  #homes = 0;

  /** @param {import('./stage.js').Stage} stage */
  constructor(stage) {
    this.stage = stage;
    this.internet = this.#add('internet');
    run(`
      ip -n ${this.internet} link set lo up
      ip -n ${this.internet} link add exchange type bridge
      ip -n ${this.internet} address add ${SERVER_ADDRESS}/24 dev exchange
      ip -n ${this.internet} link set exchange up`);
  }

  /** @param {string} name */
  #add(name) {
    const whole = `${this.#names}-${name}`;
    execFileSync('ip', ['netns', 'add', whole]);
    namespaces.add(whole);
    this.stage.onClose(async () => remove(whole));
    return whole;
  }

  /**
   * A computer behind a router of its own.
   * @param {{ udp?: boolean }} [options] the router gives every connection another port, as
   *   symmetric NATs do; `udp: false`: and lets no UDP through
   * @returns the words in front of a command that runs there
   */
  home({ udp = true } = {}) {
    const number = (this.#homes += 1);
    const [router, inside] = [this.#add(`router${number}`), this.#add(`home${number}`)];
    const lan = `10.0.${number}`;
    run(`
      ip link add wan netns ${router} type veth peer name home${number} netns ${this.internet}
      ip -n ${this.internet} link set dev home${number} master exchange
      ip -n ${this.internet} link set dev home${number} up
      ip link add eth0 netns ${inside} type veth peer name lan netns ${router}
      for device in lo wan lan; do ip -n ${router} link set dev $device up; done
      for device in lo eth0; do ip -n ${inside} link set dev $device up; done
      ip -n ${router} address add 198.51.100.${10 + number}/24 dev wan
      ip -n ${router} address add ${lan}.1/24 dev lan
      ip -n ${inside} address add ${lan}.2/24 dev eth0
      ip -n ${inside} route add default via ${lan}.1
      ip netns exec ${router} sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
      ip netns exec ${router} nft -f - <<'END'
table ip router {
  chain after {
    type nat hook postrouting priority 100;
    oifname "wan" masquerade fully-random
  }
  chain through {
    type filter hook forward priority 0; policy drop;
    ${udp ? '' : 'meta l4proto udp drop'}
    ct state established,related accept
    iifname "lan" accept
  }
}
END`);
    return this.#inside(inside);
  }

  /** The words in front of a command that runs at the server's address. */
  get public() {
    return this.#inside(this.internet);
  }

  /** @param {string} name */
  #inside(name) {
    return ['ip', 'netns', 'exec', name];
  }

  /**
   * A Chromium in a home: a program to start in place of the real one.
   * @param {string[]} home
   */
  async chromium(home) {
    const path = join(await this.stage.tempDir(), 'chromium');
    await writeFile(path, `#!/bin/sh\nexec ${home.join(' ')} ${chromiumBinary()} "$@"\n`);
    await chmod(path, 0o755);
    return path;
  }

  /**
   * What the server's relay has done so far.
   * @param {import('./server.js').Server} server
   * @param {string} token of its metrics
   */
  relayed(server, token) {
    const [program, ...args] = this.public;
    const header = `Authorization: Bearer ${token}`;
    const curl = ['curl', '--silent', '--insecure', '--header', header, `${server.url}/metrics`];
    const text = execFileSync(program, [...args, ...curl], { encoding: 'utf8' });
    const value = (/** @type {string} */ name) =>
      text
        .split('\n')
        .filter((line) => line.startsWith(`private_meet_turn_${name}`))
        .reduce((sum, line) => sum + Number(line.split(' ')[1]), 0);
    return {
      allocations: value('allocations '),
      allocated: value('allocated_total'),
      bytes: value('bytes_total'),
      refused: value('refused_total{reason="credentials"}'),
    };
  }
}
