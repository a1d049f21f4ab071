// What the calls of every generated TypeScript client print: the same for all of them.
import { readFileSync } from "node:fs";

export const address: string = process.argv[2] ?? "";
export const image = new Blob([readFileSync(process.argv[3] ?? "")], { type: "image/png" });
export const table = new Blob([readFileSync(process.argv[4] ?? "")], { type: "text/csv" });
export const row = {
  age: 33,
  "credit amount": 1169,
  sex: "male" as const,
  purpose: "car",
  class: true,
  "saving.accounts": null,
  größe: 1.5,
};
export const tensor = { name: "user_id", shape: [1], datatype: "BYTES" as const, data: ["alice"] };

export const features = { age: 25 };

export interface Outcome {
  byForm: string;
  byFile: string;
  byJson: string;
  several: number;
  prediction: string;
  user: string;
  score: number;
  users: string[];
  infers: string;
  model: string;
  seed: unknown;
  items: number;
  similar: string;
  accepted: number;
  health: string;
  result: string;
}

export const base64 = async () => Buffer.from(await image.arrayBuffer()).toString("base64");

export async function finished(get: () => Promise<{ status: string }>): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    if (!["queued", "running"].includes((await get()).status)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("the job does not end");
}

export function print(outcome: Outcome): void {
  console.log(JSON.stringify(outcome));
}

export function must<T>(value: T | null | undefined, error?: unknown): T {
  if (value === null || value === undefined) throw new Error(JSON.stringify(error ?? "no value"));
  return value;
}
