// Sample: a service of its own that mirrors the users of another one over NATS, and counts them.
import { defineModule, defineProjection, defineRemoteStream, defineStream, Type } from "../workflow/index.ts";
import { UserRegistered, UserRemoved } from "./users.ts";

/** The stream `users` of the service that is called `sluice`, as a stream of this service. */
const mirror = defineRemoteStream("users", { service: "sluice", stream: "users" });

// In NATS anybody may have published: what is not as these types say becomes a dead letter, and cannot stop the projection.
const users = defineStream("users", { validation: "enforce" });

const count = Type.Integer({ minimum: 0 });

/** Rows by the day of the event, as the origin tells it, and not the day on which it was mirrored. */
export const userActivity = defineProjection("user-activity", {
  description: "How many users of the other service came and went on which day",
  streams: [users],
  row: Type.Object({ day: Type.String(), came: count, went: count }),
  key: "day",
})
  .on(UserRegistered, {
    key: (_, event) => dayOf(event),
    apply: (row, _, event) => ({ day: dayOf(event), came: (row?.came ?? 0) + 1, went: row?.went ?? 0 }),
  })
  .on(UserRemoved, {
    key: (_, event) => dayOf(event),
    apply: (row, _, event) => ({ day: dayOf(event), came: row?.came ?? 0, went: (row?.went ?? 0) + 1 }),
  })
  .read(Type.Object({}), async ({ sql }) => {
    const days = await sql<{ day: string; came: number; went: number }[]>`
      select day, came::int, went::int from rows order by day desc limit 30`;
    const [total] = await sql<{ came: number; went: number }[]>`
      select coalesce(sum(came), 0)::int as came, coalesce(sum(went), 0)::int as went from rows`;
    return { ...total, days };
  });

function dayOf({ attributes, recordedTime }: { attributes: Readonly<Record<string, unknown>>; recordedTime: string }) {
  return String(attributes.time ?? recordedTime).slice(0, 10);
}

export default defineModule({
  name: "analytics",
  events: [UserRegistered, UserRemoved],
  streams: [users],
  remoteStreams: [mirror],
  projections: [userActivity],
});
