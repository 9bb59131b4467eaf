// Sample: users who come and go.
import {
  defineCommand,
  defineEvent,
  defineModule,
  defineProjection,
  defineStream,
  defineSubscription,
  Type,
} from "../workflow/index.ts";

const userId = Type.String({ minLength: 1, maxLength: 100 });
const address = Type.String({ format: "email", maxLength: 200 });

export const UserRegistered = defineEvent(
  "UserRegistered",
  Type.Object({ userId, name: Type.String({ minLength: 1, maxLength: 200 }), email: address }),
  { description: "Somebody has become a user" },
);

export const UserRemoved = defineEvent("UserRemoved", Type.Object({ userId }), {
  description: "A user has gone, and nothing of theirs is used any more",
});

// Clients may append to it too: what is not as these types say is refused, so that it cannot stop the projection.
const users = defineStream("users", { validation: "enforce" });

const addUser = defineCommand("add-user", {
  description: "Adds a user",
  body: Type.Object({ name: Type.String({ minLength: 1, maxLength: 200 }), email: address }),
  result: Type.Object({ userId }),
  handle({ name, email }, { workflow }) {
    const id = crypto.randomUUID();
    workflow.emit(users, UserRegistered.event({ userId: id, name, email }, { subject: id, partitionKey: id }));
    return { userId: id };
  },
});

const removeUser = defineCommand("remove-user", {
  description: "Removes a user; removing one who has gone changes nothing",
  body: Type.Object({ userId }),
  handle({ userId: id }, { workflow }) {
    workflow.emit(users, UserRemoved.event({ userId: id }, { subject: id, partitionKey: id }));
  },
});

/** A row for each user who ever was: removing one twice, or one who never was, counts for nothing. */
export const userStatistics = defineProjection("user-statistics", {
  description: "How many users there are, and how many came on which day",
  streams: [users],
  row: Type.Object({ userId, registeredOn: Type.String(), isActive: Type.Boolean() }),
  key: "userId",
})
  .on(UserRegistered, {
    key: (data) => data.userId,
    apply: (_, data, { recordedTime }) => ({
      userId: data.userId,
      registeredOn: recordedTime.slice(0, 10),
      isActive: true,
    }),
  })
  .on(UserRemoved, {
    key: (data) => data.userId,
    apply: (row) => (row === null ? null : { ...row, isActive: false }),
  })
  .read(Type.Object({}), async ({ sql }) => {
    const days = await sql<{ day: string; registered: number; active: number }[]>`
      select "registeredOn" as day, count(*)::int as registered, count(*) filter (where "isActive")::int as active
      from rows group by 1 order by 1 desc`;
    const total = (of: "registered" | "active") => days.reduce((sum, day) => sum + day[of], 0);
    const registered = total("registered");
    const active = total("active");
    return { registered, active, removed: registered - active, days: days.slice(0, 30) };
  });

/** What the handlers of this process have seen; each process of a broadcast with a consumer of its own would see all. */
export const seen = { registered: 0, removed: 0 };

export const userAnalytics = defineSubscription("user-analytics", { stream: users, mode: "broadcast" })
  .on(UserRegistered, () => {
    seen.registered++;
  })
  .on(UserRemoved, () => {
    seen.removed++;
  });

export default defineModule({
  name: "users",
  events: [UserRegistered, UserRemoved],
  streams: [users],
  commands: [addUser, removeUser],
  projections: [userStatistics],
  subscriptions: [userAnalytics],
});
