// Sample: users who come and go.
import { defineCommand, defineEvent, defineModule, Type } from "../workflow/index.ts";

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

const addUser = defineCommand("add-user", {
  description: "Adds a user",
  body: Type.Object({ name: Type.String({ minLength: 1, maxLength: 200 }), email: address }),
  result: Type.Object({ userId }),
  handle({ name, email }, { workflow }) {
    const id = crypto.randomUUID();
    workflow.emit("users", UserRegistered.event({ userId: id, name, email }, { subject: id, partitionKey: id }));
    return { userId: id };
  },
});

const removeUser = defineCommand("remove-user", {
  description: "Removes a user; removing one who has gone changes nothing",
  body: Type.Object({ userId }),
  handle({ userId: id }, { workflow }) {
    workflow.emit("users", UserRemoved.event({ userId: id }, { subject: id, partitionKey: id }));
  },
});

export default defineModule({
  name: "users",
  events: [UserRegistered, UserRemoved],
  commands: [addUser, removeUser],
});
