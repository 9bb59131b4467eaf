// Date and time as RFC 3339 writes them.

const dateTime =
  /^(\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]))[Tt](?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d{1,9})?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

/** Whether the text is a date-time (RFC 3339, section 5.6) of a day that there is; a leap second may be written. */
export function isDateTime(text: string): boolean {
  const date = dateTime.exec(text)?.[1];
  // `Date` takes the 30th of February for the 2nd of March.
  return date !== undefined && new Date(`${date}T00:00:00Z`).toISOString().startsWith(date);
}
