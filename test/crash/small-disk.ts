// A small disk (tmpfs) that can be filled to the last byte; it is unmounted however the harness ends.
import { rmSync } from "node:fs";
import { mkdir, open } from "node:fs/promises";
import { join } from "node:path";

export type SmallDisk = {
  /** Takes what is left of it, until `free`. */
  fill: () => Promise<void>;
  free: () => void;
  /** May be called again. */
  unmount: () => Promise<void>;
};

// Room for the database and the load of a minute, and for the recovery after a crash on the full disk.
const sizeBytes = 1 << 30;
const chunk = new Uint8Array(1 << 20);

/** Mounts it at the folder, which is made. Throws where this user may not mount. */
export async function mountSmallDisk(folder: string): Promise<SmallDisk> {
  await mkdir(folder, { recursive: true });
  const mounted = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", `size=${sizeBytes},mode=0755`, "tmpfs", folder]);
  if (mounted.exitCode !== 0)
    throw new Error(`A small disk needs the right to mount: ${mounted.stderr.toString().trim()}`);
  const filler = join(folder, "filler");
  let filling = false;
  // It waits for the end of its input, which comes however this process ends, and unmounts then. Lazily: a process that
  // is being killed may hold a file for a moment longer.
  const guard = Bun.spawn(["sh", "-c", 'trap "" INT TERM HUP; cat >/dev/null; umount --lazy "$1"', "sh", folder], {
    stdin: "pipe",
    stdout: "ignore",
    stderr: "ignore",
  });

  function free(): void {
    filling = false;
    rmSync(filler, { force: true });
  }

  return {
    async fill() {
      filling = true;
      const file = await open(filler, "w");
      try {
        for (let bytes = chunk.byteLength; filling && bytes >= 4_096; ) {
          const { bytesWritten } = await file.write(chunk, 0, bytes).catch(() => ({ bytesWritten: 0 }));
          if (bytesWritten < bytes) bytes >>= 1;
        }
      } finally {
        await file.close();
      }
    },
    free,
    async unmount() {
      free();
      await guard.stdin.end();
      await guard.exited;
    },
  };
}
