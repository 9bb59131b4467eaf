// Defines projections that fold: each event changes rows of one table, by functions that need no SQL.
import type { Static, TObject, TSchema } from "@sinclair/typebox";
import type { EventType } from "../events/event-type.ts";
import type { EventContext } from "../events/recorded-event.ts";
import { columnsOf } from "./columns.ts";
import { commonOf, type Fold, type FoldProjection, type ProjectionOptions, type ReadDefinition } from "./definition.ts";
import type { RowsModel } from "./model.ts";

type NameOf<Row> = Extract<keyof Row, string>;

/** The properties of a row that are its key: one, or several. */
export type KeyNames<Row> = NameOf<Row> | readonly [NameOf<Row>, ...NameOf<Row>[]];

type Names<Key> = Key extends readonly (infer Name)[] ? Name : Key;

/** A key: the value of its property, or an object of its properties. */
export type KeyOf<Row, Key> = Key extends readonly unknown[]
  ? { readonly [Name in Extract<Names<Key>, keyof Row>]: Row[Name] }
  : Row[Extract<Key, keyof Row>];

type RestOf<Row, Key> = { [Name in keyof Row as Name extends Names<Key> ? never : Name]: Row[Name] };

export type FoldOptions<Schema extends TObject, Key extends KeyNames<Static<Schema>>, Initial> = ProjectionOptions & {
  /** Of the rows: each property becomes a column. */
  row: Schema;
  key: Key;
  /** Of a row that is not there yet, all but its key. Without it handlers are given null where there is none. */
  initial?: Initial & NoInfer<RestOf<Static<Schema>, Key>>;
};

/** How an event changes rows. Both are pure functions: they may be asked again. */
export type FoldOf<Row, Key, Before, Data> = {
  /** The row that the event changes, several, or null for none. */
  key: (data: Data, event: EventContext) => KeyOf<Row, Key> | readonly KeyOf<Row, Key>[] | null;
  /** The row of a key as it is behind the event; null removes it. */
  apply: (row: Before, data: Data, event: EventContext, key: KeyOf<Row, Key>) => Row | null;
};

/** A projection of this kind; `on`, `onAny` and `read` return it with one more. `Before`: the row that handlers are given. */
export type FoldProjectionOf<Row, Key, Before> = FoldProjection & {
  /** How events of a type change rows; their data are those of the newest version. */
  on<Name extends string, Latest extends TSchema>(
    type: EventType<Name, Latest>,
    fold: FoldOf<Row, Key, Before, Static<Latest>>,
  ): FoldProjectionOf<Row, Key, Before>;
  /** How events of all other types change rows. */
  onAny(fold: FoldOf<Row, Key, Before, unknown>): FoldProjectionOf<Row, Key, Before>;
  /** What `GET /api/projections/{name}` answers, in place of the rows by pages. */
  read<Query extends TObject>(
    query: Query,
    answer: (model: RowsModel<Row, KeyOf<Row, Key>>, query: Static<Query>) => unknown,
  ): FoldProjectionOf<Row, Key, Before>;
};

/** A projection that handles nothing yet. Throws a plain sentence where a name, an option or a schema is none. */
export function defineProjection<
  Schema extends TObject,
  const Key extends KeyNames<Static<Schema>>,
  Initial extends object | undefined = undefined,
>(
  name: string,
  options: FoldOptions<Schema, Key, Initial>,
): FoldProjectionOf<Static<Schema>, Key, Initial extends undefined ? Static<Schema> | null : Static<Schema>> {
  type Row = Static<Schema>;
  type Definition = FoldProjectionOf<Row, Key, Initial extends undefined ? Row | null : Row>;
  const { row, key } = options;
  const keys = typeof key === "string" ? [key as string] : [...(key as readonly string[])];
  const base = {
    ...commonOf(name, options),
    form: "fold" as const,
    row,
    columns: columnsOf(`projection ${name}`, row, keys),
    keys,
    initial: (options.initial ?? null) as FoldProjection["initial"],
  };
  const build = (folds: readonly Fold[], reading: ReadDefinition | null): Definition => ({
    ...base,
    folds,
    reading,
    on(type, fold) {
      if (folds.some((other) => other.type?.name === type.name))
        throw new Error(`projection ${name} says twice what ${type.name} does`);
      return build([...folds, { ...fold, type: type as unknown as EventType } as unknown as Fold], reading);
    },
    onAny(fold) {
      if (folds.some((other) => other.type === null))
        throw new Error(`projection ${name} says twice what other events do`);
      return build([...folds, { ...fold, type: null } as unknown as Fold], reading);
    },
    read: (query, answer) => build(folds, { query, answer: answer as ReadDefinition["answer"] }),
  });
  return build([], null);
}
