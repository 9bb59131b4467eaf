// Counters of what a part of the service counts itself: each look adds what has come since the one before.
import { Counter, type Registry } from "prom-client";

export type AddCounter = (name: string, help: string, read: () => number) => void;

export function counterIn(registry: Registry): AddCounter {
  return (name, help, read) => {
    let last = 0;
    new Counter({
      name,
      help,
      registers: [registry],
      collect() {
        const now = read();
        this.inc(now - last);
        last = now;
      },
    });
  };
}
