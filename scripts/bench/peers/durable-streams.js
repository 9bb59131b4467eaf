// The reference server of the Durable Streams protocol, with its default store, which is memory.
import { DurableStreamTestServer } from "@durable-streams/server";

const server = new DurableStreamTestServer({ port: 0, host: "127.0.0.1" });
console.log(`ready on ${await server.start()}`);
