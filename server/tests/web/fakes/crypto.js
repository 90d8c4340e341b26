// @ts-check
// WebCrypto as a global, as in browsers; Node.js has it so from version 19 on.

import { webcrypto } from 'node:crypto';

if (!globalThis.crypto) Object.assign(globalThis, { crypto: webcrypto });
