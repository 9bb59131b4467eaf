// Runs around the whole test run: stops what all test files share.
import { afterAll } from "bun:test";
import { stopSharedPostgres } from "./postgres.ts";

afterAll(stopSharedPostgres);
