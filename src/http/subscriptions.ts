// /api/subscriptions and /api/subscriptions/{id}: creates, configures, lists, describes, pauses, resumes and deletes them.
import { subscriptionNotFound } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Pool } from "../storage/pool.ts";
import type { Catalog } from "../subscription/registry/catalog.ts";
import { parseSubscription } from "../subscription/registry/configuration.ts";
import { describeSubscription, describeSubscriptions } from "../subscription/registry/description.ts";
import { listSubscriptions } from "../subscription/registry/subscriptions.ts";
import type { BodyReader } from "./body.ts";
import { type Handler, json } from "./context.ts";
import { readJson } from "./json-body.ts";
import { readNumber, readQuery, readStreamName, readSubscriptionName } from "./parameters.ts";
import { manageableSubscription, requireManage, seesSubscription, visibleSubscription } from "./subscription-access.ts";

export type SubscriptionsDependencies = { catalog: Catalog; reads: Pool; body: BodyReader; log: Log };

export type SubscriptionsHandlers = {
  list: Handler;
  ofStream: Handler;
  get: Handler;
  put: Handler;
  remove: Handler;
  pause: Handler;
  resume: Handler;
};

export function subscriptionsHandlers({ catalog, reads, body, log }: SubscriptionsDependencies): SubscriptionsHandlers {
  function listHandler(streamOf: (params: Record<string, string>) => string | null): Handler {
    return async ({ request, params, principal }) => {
      const query = readQuery(request, ["after", "limit"]);
      const stream = streamOf(params);
      const limit = readNumber(query, "limit", 100, 1_000);
      const after = query.get("after") ?? "";
      if (after !== "") readSubscriptionName(after);
      const found = await reads.run((sql) => listSubscriptions(sql, { stream, after, limit: limit + 1 }));
      const shown = found.slice(0, limit);
      const subscriptions = await describeSubscriptions(
        reads,
        shown.filter((subscription) => seesSubscription(principal, subscription)),
      );
      const following = new URLSearchParams(query);
      following.set("after", shown.at(-1)?.name ?? "");
      const next = found.length > limit ? `${new URL(request.url).pathname}?${following}` : null;
      return json({ subscriptions, next });
    };
  }

  function pauseHandler(paused: boolean): Handler {
    return async ({ request, params, principal, requestId }) => {
      readQuery(request, []);
      const { name } = await manageableSubscription(catalog, principal, params.name);
      await catalog.setPaused(name, paused);
      log.info({ requestId: requestId(), subscription: name }, paused ? "subscription paused" : "subscription resumed");
      return json(await describeSubscription(reads, (await catalog.refresh(name)) ?? notFound(name)));
    };
  }

  return {
    list: listHandler(() => null),
    ofStream: listHandler((params) => readStreamName(params.name ?? "")),
    async get({ request, params, principal }) {
      readQuery(request, []);
      return json(await describeSubscription(reads, await visibleSubscription(catalog, principal, params.name)));
    },
    async put({ request, params, principal, requestId }) {
      readQuery(request, []);
      const name = readSubscriptionName(params.name ?? "");
      const parsed = parseSubscription(await readJson(body, request));
      requireManage(principal, parsed.configuration.streams);
      const isNew = await catalog.configure(name, parsed, null);
      log.info(
        { requestId: requestId(), subscription: name, mode: parsed.configuration.mode },
        isNew ? "subscription created" : "subscription configured",
      );
      return json(
        await describeSubscription(reads, (await catalog.refresh(name)) ?? notFound(name)),
        isNew ? 201 : 200,
      );
    },
    async remove({ request, params, principal, requestId }) {
      readQuery(request, []);
      const { name } = await manageableSubscription(catalog, principal, params.name);
      await catalog.remove(name);
      log.info({ requestId: requestId(), subscription: name }, "subscription deleted");
      return new Response(null, { status: 204 });
    },
    pause: pauseHandler(true),
    resume: pauseHandler(false),
  };
}

function notFound(name: string): never {
  throw subscriptionNotFound(name);
}
