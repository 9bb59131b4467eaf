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

const invitationId = Type.String({ minLength: 1, maxLength: 100 });
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

// All invitations share one stream and one decider, so that nobody is invited twice at the same time. Its state holds those that
// are open.
export const invitations = defineDecider("invitations", {
  description: "Invitations that are open",
  stream: () => "invitations",
  state: Type.Object({ open: Type.Record(Type.String(), email) }),
  initialState: { open: {} },
})
  .on(InvitationSent, ({ open }, { invitationId: id, email: address }) => ({ open: { ...open, [id]: address } }))
  .on(InvitationAccepted, ({ open }, { invitationId: id }) => ({ open: without(open, id) }))
  .on(InvitationDeclined, ({ open }, { invitationId: id }) => ({ open: without(open, id) }))
  .on(InvitationExpired, ({ open }, { invitationId: id }) => ({ open: without(open, id) }))
  .command("invite", {
    description: "Invites somebody who has no open invitation",
    body: Type.Object({
      invitationId,
      email,
      invitedBy: Type.String({ minLength: 1, maxLength: 200 }),
      validForSeconds: Type.Optional(seconds),
    }),
    id: () => "all",
    decide({ open }, { validForSeconds = week, ...body }) {
      if (Object.hasOwn(open, body.invitationId) || Object.values(open).includes(body.email))
        reject("There is an open invitation already", { email: body.email });
      return InvitationSent.event(
        { ...body, validForSeconds },
        { subject: body.invitationId, partitionKey: body.invitationId },
      );
    },
  })
  .command("accept-invitation", {
    description: "Accepts an invitation that is open",
    body: answerBody,
    id: () => "all",
    decide: (state, { invitationId: id }) => InvitationAccepted.event(...answered(state, id)),
  })
  .command("decline-invitation", {
    description: "Declines an invitation that is open",
    body: answerBody,
    id: () => "all",
    decide: (state, { invitationId: id }) => InvitationDeclined.event(...answered(state, id)),
  })
  .command("expire-invitation", {
    description: "Ends an invitation that nobody answered; one that is over stays as it is",
    body: answerBody,
    id: () => "all",
    decide: (state, { invitationId: id }) =>
      Object.hasOwn(state.open, id) ? InvitationExpired.event(...answered(state, id)) : [],
  });

function without(open: Record<string, string>, id: string): Record<string, string> {
  const { [id]: _, ...rest } = open;
  return rest;
}

function answered({ open }: { open: Record<string, string> }, id: string) {
  // By its own name only: an id may be "constructor".
  const address =
    (Object.hasOwn(open, id) ? open[id] : undefined) ??
    reject("There is no open invitation of this id", { invitationId: id });
  return [
    { invitationId: id, email: address },
    { subject: id, partitionKey: id },
  ] as const;
}

// Runs out by itself: it sleeps, however often the service is started anew meanwhile.
export const invitationExpiry = defineSaga("invitation-expiry", {
  description: "Ends an invitation that nobody answers in time",
  data: Type.Object({ invitationId, expiresAt: Type.String({ format: "date-time" }) }),
})
  .sleep("until-it-expires", { until: ({ expiresAt }) => expiresAt })
  .step("expire", {
    execute: async ({ invitationId: id }, { run }) => {
      await run(invitations, "expire-invitation", { invitationId: id });
    },
  });

/** Each invitation is processed once, by whichever process has it. */
export const invitationProcessor = defineSubscription("invitation-processor", {
  stream: "invitations",
  mode: "exclusive",
  from: "beginning",
}).on(InvitationSent, async ({ invitationId: id, validForSeconds }, { recordedTime }, { start }) => {
  const expiresAt = new Date(Date.parse(recordedTime) + validForSeconds * 1_000).toISOString();
  await start(invitationExpiry, { invitationId: id, expiresAt });
});

export default defineModule({
  name: "invitations",
  events: [InvitationSent, InvitationAccepted, InvitationDeclined, InvitationExpired],
  deciders: [invitations],
  subscriptions: [invitationProcessor],
  sagas: [invitationExpiry],
});
