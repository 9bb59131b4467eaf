// What modules are written with.
export { type Static, Type } from "@sinclair/typebox";
export { defineEvent, type EventData, type EventType } from "./event-type.ts";
export { defineModule, type Module } from "./module.ts";
