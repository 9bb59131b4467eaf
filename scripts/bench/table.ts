// The figures: printed as they come, one a line, and kept for the JSON file.
import { writeFile } from "node:fs/promises";
import { cpus, totalmem } from "node:os";
import { holdSeconds, maxEvents, messages, rounds, seconds } from "./settings.ts";

/** What a figure must reach: its ratio, or the service's value itself. */
export type Aim = { of: "ratio" | "service"; least: number } | { of: "ratio" | "service"; most: number };

export type Figure = {
  /** The measurement that it belongs to. */
  measurement: string;
  what: string;
  unit: string;
  service: number;
  /** What it is compared with. */
  beside?: string;
  yardstick?: number;
  /** service ÷ yardstick, the median of the rounds. */
  ratio?: number;
  aim?: Aim;
};

export type Table = {
  add: (figure: Figure) => void;
  /** A line about something that was not measured. */
  note: (measurement: string, text: string) => void;
  write: (file: string) => Promise<void>;
};

export function createTable(): Table {
  const rows: (Figure & { met?: boolean })[] = [];
  const notes: { measurement: string; text: string }[] = [];
  const machine = `${cpus().length} × ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GB, Bun ${Bun.version}`;
  console.log(`${machine}; medians of ${rounds} rounds of ${seconds} s\n`);
  console.log(line(["", "service", "yardstick", "", "ratio", "", "beside"]));
  return {
    add(figure) {
      const aim = figure.aim === undefined ? undefined : judge(figure, figure.aim);
      rows.push(aim === undefined ? figure : { ...figure, met: aim.met });
      const ratio = figure.ratio === undefined ? "" : figure.ratio.toFixed(2);
      console.log(
        line([
          figure.what,
          round(figure.service),
          figure.yardstick === undefined ? "" : round(figure.yardstick),
          figure.unit,
          ratio,
          aim?.text ?? "",
          figure.beside ?? "",
        ]),
      );
    },
    note(measurement, text) {
      notes.push({ measurement, text });
      console.log(`${measurement}: ${text}`);
    },
    async write(file) {
      const settings = { rounds, seconds, maxEvents, messages, holdSeconds };
      await writeFile(file, `${JSON.stringify({ machine, settings, figures: rows, notes }, null, 2)}\n`);
    },
  };
}

function judge(figure: Figure, aim: Aim): { met: boolean; text: string } {
  const value = aim.of === "ratio" ? (figure.ratio ?? Number.NaN) : figure.service;
  const met = "least" in aim ? value >= aim.least : value <= aim.most;
  return { met, text: `${"least" in aim ? `≥ ${aim.least}` : `≤ ${aim.most}`} ${met ? "met" : "MISSED"}` };
}

const widths = [62, 12, 12, 13, 8, 14, 0];

function line(cells: string[]): string {
  return cells
    .map((cell, i) => ([1, 2, 4].includes(i) ? cell.padStart(widths[i] as number) : cell.padEnd(widths[i] as number)))
    .join(" ")
    .trimEnd();
}

function round(value: number): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
