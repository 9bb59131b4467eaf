// Sample: invitations, which are accepted, declined, or run out.
import {
  defineDecider,
  defineEvent,
  defineModule,
  defineSaga,
  defineSubscription,
  reject,
  Type,
} from "../workflow/index.ts";

const invitationId = Type.String({ pattern: "^[A-Za-z0-9._:-]{1,100}$" });
const seconds = Type.Integer({ minimum: 1, maximum: 31_536_000 });
const week = 7 * 86_400;
const email = Type.String({ format: "email", maxLength: 200 });

export const InvitationSent = defineEvent(
  "InvitationSent",
  Type.Object({ invitationId, email, invitedBy: Type.String(), validForSeconds: seconds }),
  {
    description: "Somebody is invited",
  },
);
export const InvitationAccepted = defineEvent("InvitationAccepted", Type.Object({ invitationId, email }));
export const InvitationDeclined = defineEvent("InvitationDeclined", Type.Object({ invitationId, email }));
export const InvitationExpired = defineEvent("InvitationExpired", Type.Object({ invitationId, email }), {
  description: "Nobody answered in time",
});

const answerBody = Type.Object({ invitationId });

// Each invitation has a stream of its own. Its id can be used again once it is over: what is open is told by where it was sent.
export const invitation = defineDecider("invitation", {
  description: "An invitation, open or not",
  state: Type.Object({ open: Type.Union([Type.Object({ email, sentAt: Type.Integer() }), Type.Null()]) }),
  initialState: { open: null },
})
  .on(InvitationSent, (_, { email: address }, { offset }) => ({ open: { email: address, sentAt: offset } }))
  .on(InvitationAccepted, () => ({ open: null }))
  .on(InvitationDeclined, () => ({ open: null }))
  .on(InvitationExpired, () => ({ open: null }))
  .command("invite", {
    description: "Invites somebody, by an id of which no invitation is open",
    body: Type.Object({
      invitationId,
      email,
      invitedBy: Type.String({ minLength: 1, maxLength: 200 }),
      validForSeconds: Type.Optional(seconds),
    }),
    id: ({ invitationId: id }) => id,
    decide({ open }, { validForSeconds = week, ...body }) {
      if (open !== null) reject("There is an open invitation already", { email: open.email });
      return InvitationSent.event(
        { ...body, validForSeconds },
        { subject: body.invitationId, partitionKey: body.invitationId },
      );
    },
  })
  .command("accept-invitation", {
    description: "Accepts an invitation that is open",
    body: answerBody,
    id: ({ invitationId: id }) => id,
    decide: ({ open }, { invitationId: id }) => InvitationAccepted.event(...ofOpen(open, id)),
  })
  .command("decline-invitation", {
    description: "Declines an invitation that is open",
    body: answerBody,
    id: ({ invitationId: id }) => id,
    decide: ({ open }, { invitationId: id }) => InvitationDeclined.event(...ofOpen(open, id)),
  })
  .command("expire-invitation", {
    description:
      "Ends an invitation that nobody answered; one that is over, and a later one of the same id, stays as it is",
    body: Type.Object({
      invitationId,
      sentAt: Type.Integer({ minimum: 0, description: "The offset at which it was sent" }),
    }),
    id: ({ invitationId: id }) => id,
    decide: ({ open }, { invitationId: id, sentAt }) =>
      open?.sentAt === sentAt ? InvitationExpired.event(...ofOpen(open, id)) : [],
  });

function ofOpen(open: { email: string } | null, id: string) {
  const { email: address } = open ?? reject("There is no open invitation of this id", { invitationId: id });
  return [
    { invitationId: id, email: address },
    { subject: id, partitionKey: id },
  ] as const;
}

// Runs out by itself: it sleeps, however often the service is started anew meanwhile.
export const invitationExpiry = defineSaga("invitation-expiry", {
  description: "Ends an invitation that nobody answers in time",
  data: Type.Object({ invitationId, sentAt: Type.Integer(), expiresAt: Type.String({ format: "date-time" }) }),
})
  .sleep("until-it-expires", { until: ({ expiresAt }) => expiresAt })
  .step("expire", {
    execute: async ({ invitationId: id, sentAt }, { run }) => {
      await run(invitation, "expire-invitation", { invitationId: id, sentAt });
    },
  });

/** Each invitation is processed once, by whichever process has it. */
export const invitationProcessor = defineSubscription("invitation-processor", {
  stream: "*",
  mode: "exclusive",
  from: "beginning",
}).on(InvitationSent, async ({ invitationId: id, validForSeconds }, { offset, recordedTime }, { start }) => {
  const expiresAt = new Date(Date.parse(recordedTime) + validForSeconds * 1_000).toISOString();
  await start(invitationExpiry, { invitationId: id, sentAt: offset, expiresAt });
});

export default defineModule({
  name: "invitations",
  events: [InvitationSent, InvitationAccepted, InvitationDeclined, InvitationExpired],
  deciders: [invitation],
  subscriptions: [invitationProcessor],
  sagas: [invitationExpiry],
});
