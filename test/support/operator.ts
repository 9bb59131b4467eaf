// An operator of NATS for tests, with an account and its users: what nats-server reads, and files of credentials.
import { nkeys } from "nats";

type KeyPair = {
  getPublicKey: () => string;
  getSeed: () => Uint8Array;
  sign: (input: Uint8Array) => Uint8Array;
};

export type Operator = {
  /** Lines of the server's configuration file. */
  config: string;
  /** The content of a file of credentials, of a new user. */
  credsOf: (name: string) => string;
};

const unlimited = { subs: -1, data: -1, payload: -1 };
const accountLimits = { ...unlimited, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 };
const storage = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function createOperator(): Operator {
  const operator = nkeys.createOperator() as KeyPair;
  const account = nkeys.createAccount() as KeyPair;
  const system = nkeys.createAccount() as KeyPair;
  const accountJwt = (pair: KeyPair, name: string, limits: object) =>
    sign(operator, pair, name, { type: "account", limits, default_permissions: { pub: {}, sub: {} } });
  return {
    config: `
      operator: "${sign(operator, operator, "operator", { type: "operator" })}"
      system_account: ${system.getPublicKey()}
      resolver: MEMORY
      resolver_preload: {
        ${system.getPublicKey()}: "${accountJwt(system, "SYS", accountLimits)}"
        ${account.getPublicKey()}: "${accountJwt(account, "services", { ...accountLimits, ...storage })}"
      }`,
    credsOf(name) {
      const user = nkeys.createUser() as KeyPair;
      const jwt = sign(account, user, name, { type: "user", pub: {}, sub: {}, ...unlimited });
      return [
        "-----BEGIN NATS USER JWT-----",
        jwt,
        "------END NATS USER JWT------",
        "",
        "-----BEGIN USER NKEY SEED-----",
        decoder.decode(user.getSeed()),
        "------END USER NKEY SEED------",
        "",
      ].join("\n");
    },
  };
}

/** A JWT of version 2, by which one key vouches for another. */
function sign(by: KeyPair, subject: KeyPair, name: string, nats: object): string {
  const claims = {
    jti: crypto.randomUUID(),
    iat: Math.floor(Date.now() / 1_000),
    iss: by.getPublicKey(),
    sub: subject.getPublicKey(),
    name,
    nats: { ...nats, version: 2 },
  };
  const parts = [{ typ: "JWT", alg: "ed25519-nkey" }, claims].map((part) =>
    base64url(encoder.encode(JSON.stringify(part))),
  );
  const input = parts.join(".");
  return `${input}.${base64url(by.sign(encoder.encode(input)))}`;
}

const base64url = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64url");
