// @ts-check
// A member that speaks the wire protocol by hand: for what a well-behaved client never sends.
// It has its own small WebSocket client, so that frames can be as wrong as a test needs.

import { createHash, randomBytes } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';

import { within } from './deadline.js';

/** Accepts self-made certificates: this member is not the one that is protected. */
const TLS = { rejectUnauthorized: false };

/**
 * @param {string} url
 * @param {{ method?: string, headers?: Record<string, string>, body?: string }} [options]
 * @returns {Promise<{ status: number, headers: import('node:http').IncomingHttpHeaders, text: string }>}
 */
export function http(url, { method = 'GET', headers = {}, body } = {}) {
  const request = url.startsWith('https:') ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const asked = request(url, { method, headers, ...TLS }, (answer) => {
      /** @type {Buffer[]} */
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('end', () =>
        resolve({
          status: answer.statusCode ?? 0,
          headers: answer.headers,
          text: Buffer.concat(parts).toString('utf8'),
        }),
      );
    });
    asked.on('error', reject);
    asked.end(body);
  });
}

/**
 * Signs in; waits as long as the server asks when too many do so at once.
 * @param {string} serverUrl
 * @param {string} name
 * @returns {Promise<{ accessToken: string, tokenType: string, userId: string, username: string }>}
 */
export async function signIn(serverUrl, name) {
  for (let attempt = 0; attempt < 40; attempt += 1) {
    const answer = await http(`${serverUrl}/auth/sign-in`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ username: name }),
    });
    if (answer.status === 200) return JSON.parse(answer.text);
    if (answer.status !== 429) throw new Error(`sign-in: ${answer.status} ${answer.text}`);
    const seconds = Number(answer.headers['retry-after'] ?? 1);
    await new Promise((resolve) => setTimeout(resolve, Math.max(0.3, seconds) * 1000));
  }
  throw new Error('sign-in: the server refused forty times');
}

/**
 * Signs in until the new id stands as wanted beside another one. Ids are random: beside a very low
 * one a lower takes hundreds of attempts, of a millisecond each.
 * @param {string} serverUrl
 * @param {string} name
 * @param {(id: string) => boolean} wanted
 */
export async function signInWhere(serverUrl, name, wanted) {
  for (let attempt = 0; attempt < 5000; attempt += 1) {
    const answer = await signIn(serverUrl, name);
    if (wanted(answer.userId)) return answer;
  }
  throw new Error('no such id in five thousand sign-ins');
}

export class RawMember {
  /** Every message, parsed. @type {any[]} */
  messages = [];
  /** @type {{ code: number, reason: string } | undefined} */
  closed;

  /** @type {Set<() => void>} */
  #wake = new Set();
  /** @type {Buffer} */
  #pending = Buffer.alloc(0);
  #fragments = /** @type {Buffer[]} */ ([]);

  /**
   * @param {import('node:stream').Duplex} socket
   * @param {string} user
   * @param {Buffer} head
   */
  constructor(socket, user, head) {
    this.socket = socket;
    this.user = user;
    this.#pending = head;
    socket.on('data', (data) => {
      this.#pending = Buffer.concat([this.#pending, data]);
      this.#parse();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed ??= { code: 1006, reason: '' };
      this.#notify();
    });
    this.#parse();
  }

  /**
   * @param {string} serverUrl
   * @param {string} name
   */
  static async connect(serverUrl, name) {
    const { accessToken, userId } = await signIn(serverUrl, name);
    return RawMember.open(serverUrl, accessToken, userId);
  }

  /**
   * @param {string} serverUrl
   * @param {string} token
   * @param {string} user
   * @returns {Promise<RawMember>}
   */
  static open(serverUrl, token, user) {
    const url = new URL(`/ws?token=${encodeURIComponent(token)}`, serverUrl);
    const request = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const key = randomBytes(16).toString('base64');
    return new Promise((resolve, reject) => {
      const asked = request(url, {
        ...TLS,
        headers: {
          connection: 'Upgrade',
          upgrade: 'websocket',
          'sec-websocket-key': key,
          'sec-websocket-version': '13',
          origin: url.origin,
        },
      });
      asked.on('upgrade', (answer, socket, head) => {
        const expected = createHash('sha1')
          .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
          .digest('base64');
        if (answer.headers['sec-websocket-accept'] !== expected) {
          reject(new Error('the server answered with a wrong WebSocket key'));
        } else {
          resolve(new RawMember(socket, user, head));
        }
      });
      asked.on('response', (answer) => {
        answer.resume();
        reject(new Error(`no upgrade: ${answer.statusCode}`));
      });
      asked.on('error', reject);
      asked.end();
    });
  }

  #parse() {
    for (;;) {
      const data = this.#pending;
      if (data.length < 2) return;
      const final = (data[0] & 0x80) !== 0;
      const opcode = data[0] & 0x0f;
      let length = data[1] & 0x7f;
      let at = 2;
      if (length === 126) {
        if (data.length < 4) return;
        length = data.readUInt16BE(2);
        at = 4;
      } else if (length === 127) {
        if (data.length < 10) return;
        length = Number(data.readBigUInt64BE(2));
        at = 10;
      }
      if (data.length < at + length) return;
      const body = data.subarray(at, at + length);
      this.#pending = data.subarray(at + length);
      if (opcode === 8) {
        const code = body.length >= 2 ? body.readUInt16BE(0) : 1005;
        this.closed = { code, reason: body.subarray(2).toString('utf8') };
        this.socket.end();
      } else if (opcode === 9) {
        this.frame(10, body);
      } else if (opcode <= 2) {
        this.#fragments.push(body);
        if (final) {
          this.messages.push(JSON.parse(Buffer.concat(this.#fragments).toString('utf8')));
          this.#fragments = [];
        }
      }
      this.#notify();
    }
  }

  #notify() {
    for (const wake of [...this.#wake]) wake();
  }

  /**
   * One frame, masked as clients must.
   * @param {number} opcode 1 text, 2 binary, 8 close, 10 pong
   * @param {Buffer} body
   */
  frame(opcode, body) {
    const mask = randomBytes(4);
    let header;
    if (body.length < 126) {
      header = Buffer.from([0x80 | opcode, 0x80 | body.length]);
    } else if (body.length < 65_536) {
      header = Buffer.from([0x80 | opcode, 0x80 | 126, 0, 0]);
      header.writeUInt16BE(body.length, 2);
    } else {
      header = Buffer.alloc(10);
      header.set([0x80 | opcode, 0x80 | 127]);
      header.writeBigUInt64BE(BigInt(body.length), 2);
    }
    const masked = Buffer.from(body);
    for (let i = 0; i < masked.length; i += 1) masked[i] ^= mask[i & 3];
    this.socket.write(Buffer.concat([header, mask, masked]));
  }

  /** @param {string} text */
  sendText(text) {
    this.frame(1, Buffer.from(text, 'utf8'));
  }

  /**
   * @param {string} type
   * @param {string} room as on the wire
   * @param {unknown} [data]
   */
  send(type, room, data = {}) {
    this.sendText(JSON.stringify({ type, room, data }));
  }

  /**
   * The first message of that type, past or future, for which `matches` holds.
   * @param {string} type
   * @param {(message: any) => unknown} [matches]
   * @param {number} [ms]
   */
  async waitFor(type, matches = () => true, ms = 10_000) {
    const found = this.#state(() => this.messages.find((m) => m.type === type && matches(m)));
    return within(ms, `${type} ${matches}`, found.promise, () =>
      JSON.stringify(this.messages.slice(-3)),
    ).finally(found.stop);
  }

  /** @param {number} [ms] */
  async waitForClose(ms = 10_000) {
    const found = this.#state(() => this.closed);
    return within(ms, 'the server closes the connection', found.promise).finally(found.stop);
  }

  /**
   * @template T
   * @param {() => T | undefined} look
   */
  #state(look) {
    /** @type {() => void} */
    let check = () => {};
    /** @type {Promise<T>} */
    const promise = new Promise((resolve) => {
      check = () => {
        const state = look();
        if (state !== undefined) resolve(state);
      };
      this.#wake.add(check);
      check();
    });
    return { promise, stop: () => void this.#wake.delete(check) };
  }

  close() {
    this.socket.destroy();
  }
}
