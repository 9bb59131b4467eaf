// Runs around the tests: stops what all test files of this process share.
import { afterAll } from "bun:test";
import { stopSharedPostgres } from "./postgres.ts";

// One of several processes runs this after each of its files, and cannot know which is the last: there it stops with the process.
if (Bun.env.BUN_TEST_WORKER_ID === undefined) afterAll(stopSharedPostgres);
