// /api/bridge: how the connection to NATS stands, and how far each cross-service stream is published.
import { streamNotFound } from "../base/errors.ts";
import type { BreakerState } from "../delivery/bridge/breaker.ts";
import type { NatsState } from "../delivery/bridge/jetstream.ts";
import { type OutboundStanding, readStandings, readWithheld } from "../delivery/bridge/outbound/publications.ts";
import type { Pool } from "../storage/pool.ts";
import { listRemoteStreams } from "../stream/remote/remote-streams.ts";
import { type Handler, json } from "./context.ts";
import { readAfter, readNumber, readQuery, readStreamName } from "./parameters.ts";
import type { RemoteStreamView } from "./remote-stream-view.ts";

export type BridgeDependencies = {
  reads: Pool;
  /** Of this process; null without NATS_URL. */
  connection: (() => ConnectionStanding) | null;
  showRemoteStream: RemoteStreamView;
};

export type ConnectionStanding = {
  state: NatsState;
  server: { name: string; version: string } | null;
  /** Times that it was made. */
  connects: number;
  lastError: string | null;
  breaker: BreakerState;
  /** This process is the one that publishes. */
  publishes: boolean;
};

export type BridgeHandlers = { get: Handler; withheld: Handler };

/** 64-bit numbers are decimal strings. */
export type StreamShown = Omit<OutboundStanding, "offset" | "sequence" | "lagEvents" | "withheld"> & {
  offset: string | null;
  sequence: string | null;
  lagEvents: string;
  withheld: string;
};

export function bridgeHandlers({ reads, connection, showRemoteStream }: BridgeDependencies): BridgeHandlers {
  return {
    async get({ request, principal }) {
      const query = readQuery(request, ["after", "limit"]);
      const after = query.get("after") ?? "";
      if (after !== "") readStreamName(after);
      const limit = readNumber(query, "limit", 100, 1_000);
      const rows = await readStandings(reads, after, limit + 1);
      const following = new URLSearchParams(query);
      const shown = rows.slice(0, limit);
      following.set("after", shown.at(-1)?.stream ?? "");
      const remote = await listRemoteStreams(reads, "", limit + 1);
      const mirrored = remote.slice(0, limit);
      const standing = connection?.() ?? null;
      return json({
        configured: standing !== null,
        connected: standing?.state === "connected",
        state: standing?.state ?? "off",
        server: standing?.server ?? null,
        connects: standing?.connects ?? 0,
        breaker: standing?.breaker ?? null,
        lastError: standing?.lastError ?? null,
        outbound: {
          publishes: standing?.publishes ?? false,
          streams: shown.filter(({ stream }) => principal.canRead(stream)).map(show),
          next: rows.length > limit ? `/api/bridge?${following}` : null,
        },
        inbound: {
          streams: mirrored.filter(({ name }) => principal.canRead(name)).map(showRemoteStream),
          next: remote.length > limit ? `/api/remote-streams?after=${mirrored.at(-1)?.name}&limit=${limit}` : null,
        },
      });
    },
    async withheld({ request, params, principal }) {
      const stream = readStreamName(params.name ?? "");
      if (!principal.canRead(stream)) throw streamNotFound(stream);
      const query = readQuery(request, ["after", "limit"]);
      const limit = readNumber(query, "limit", 100, 1_000);
      const found = await readWithheld(reads, stream, readAfter(query) ?? -1, limit + 1);
      if (found === null) throw streamNotFound(stream);
      const withheld = found.slice(0, limit);
      const following = new URLSearchParams(query);
      following.set("after", withheld.at(-1)?.offset ?? "");
      const next = found.length > limit ? `/api/bridge/streams/${stream}/withheld?${following}` : null;
      return json({ withheld, next });
    },
  };
}

function show({ offset, sequence, lagEvents, withheld, ...standing }: OutboundStanding): StreamShown {
  return {
    ...standing,
    offset: offset < 0 ? null : String(offset),
    sequence: sequence === null ? null : String(sequence),
    lagEvents: String(lagEvents),
    withheld: String(withheld),
  };
}
