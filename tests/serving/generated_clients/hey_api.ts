import { client } from "./client/client.gen";
import * as api from "./client/sdk.gen";
import { address, base64, features, finished, image, must, print, row, table, tensor } from "./calls";

client.setConfig({ baseUrl: address, throwOnError: true });
const all = { throwOnError: true } as const;
const form = await api.classifyImage({ ...all, body: { image, top_k: 1 } });
const file = await api.classifyImageFile({ ...all, body: image, query: { top_k: 1 } });
const json = await api.classifyImageJson({ ...all, body: { image: await base64(), top_k: 1 } });
const several = await api.classifyImages({ ...all, body: { images: [image, image] } });
const rows = await api.predictTabular({ ...all, body: { instances: [row] } });
const one = await api.recommend({ ...all, body: { user_id: "alice", n: 2, user_features: features } });
const users = await api.recommendBulk({ ...all, body: { user_ids: ["alice", "bob"], n: 2 } });
const inferred = await api.inferRecommender({ ...all, body: { inputs: [tensor] } });
const model = await api.getModel({ ...all, path: { name: "tabular" } });
const items = await api.listItems({ ...all, query: { page_size: 3 } });
const param = await api.getModelParam({ ...all, path: { name: "tabular", param: "seed" } });
const item_id = must(items.data.items[0]).item_id;
const similar = await api.getSimilarItems({ ...all, path: { item_id }, query: { n: 1 } });
const feedback = await api.sendFeedback({ ...all, body: { events: [{ user_id: "alice", item_id, kind: "view" }] } });
const health = await api.health(all);
const job = await api.submitTabularJob({ ...all, body: { file: table } });
const path = { job_id: job.data.id };
await finished(async () => (await api.getJob({ ...all, path })).data);
const result = await api.getJobResult({ ...all, path });

print({
  byForm: must(form.data.predictions[0]).label,
  byFile: must(file.data.predictions[0]).label,
  byJson: must(json.data.predictions[0]).label,
  several: several.data.results.length,
  prediction: must(rows.data.predictions[0]).prediction,
  user: one.data.user_id,
  score: must(one.data.items[0]).score,
  users: users.data.results.map((each) => each.user_id),
  infers: (inferred.data as { model_name: string }).model_name,
  model: model.data.name,
  seed: param.data.value,
  items: items.data.items.length,
  similar: similar.data.item_id,
  accepted: feedback.data.accepted,
  health: health.data.status,
  result: await new Response(result.data as Blob).text(),
});
