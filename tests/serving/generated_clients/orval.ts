import * as api from "./client/client";
import { address, base64, features, finished, image, must, print, row, table, tensor } from "./calls";

const plain = globalThis.fetch;
globalThis.fetch = (url, options) => plain(`${address}${String(url)}`, options);

function ok<T extends { status: number; data: unknown }, S extends number>(answer: T, status: S) {
  if (answer.status !== status) throw new Error(JSON.stringify(answer));
  return answer.data as Extract<T, { status: S }>["data"];
}

const form = ok(await api.classifyImage({ image, top_k: 1 }), 200);
const file = ok(await api.classifyImageFile(image, { top_k: 1 }), 200);
const json = ok(await api.classifyImageJson({ image: await base64(), top_k: 1 }), 200);
const several = ok(await api.classifyImages({ images: [image, image] }), 200);
const rows = ok(await api.predictTabular({ instances: [row] }), 200);
const one = ok(await api.recommend({ user_id: "alice", n: 2, user_features: features }), 200);
const users = ok(await api.recommendBulk({ user_ids: ["alice", "bob"], n: 2 }), 200);
const inferred = ok(await api.inferRecommender({ inputs: [tensor] }), 200);
const model = ok(await api.getModel("tabular"), 200);
const items = ok(await api.listItems({ page_size: 3 }), 200);
const param = ok(await api.getModelParam("tabular", "seed"), 200);
const item_id = must(items.items[0]).item_id;
const similar = ok(await api.getSimilarItems(item_id, { n: 1 }), 200);
const feedback = ok(await api.sendFeedback({ events: [{ user_id: "alice", item_id, kind: "view" }] }), 202);
const health = ok(await api.health(), 200);
const job = ok(await api.submitTabularJob({ file: table }), 202);
await finished(async () => ok(await api.getJob(job.id), 200));
const result = await api.getJobResult(job.id);

print({
  byForm: must(form.predictions[0]).label,
  byFile: must(file.predictions[0]).label,
  byJson: must(json.predictions[0]).label,
  several: several.results.length,
  prediction: must(rows.predictions[0]).prediction,
  user: one.user_id,
  score: must(one.items[0]).score,
  users: users.results.map((each) => each.user_id),
  infers: (inferred as { model_name: string }).model_name,
  model: model.name,
  seed: param.value,
  items: items.items.length,
  similar: similar.item_id,
  accepted: feedback.accepted,
  health: health.status,
  result: await (result as unknown as { stream: Response }).stream.text(),
});
