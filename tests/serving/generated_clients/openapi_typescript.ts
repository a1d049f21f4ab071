import createClient from "openapi-fetch";
import type { paths } from "./client/schema";
import { address, base64, features, finished, image, must, print, row, table, tensor } from "./calls";

const api = createClient<paths>({ baseUrl: address });
const asForm = (body: unknown) => {
  const form = new FormData();
  for (const [name, value] of Object.entries(body as Record<string, unknown>)) {
    for (const each of Array.isArray(value) ? value : [value]) form.append(name, each instanceof Blob ? each : String(each));
  }
  return form;
};
// The types have a text where a file is.
const file_ = (blob: Blob) => blob as unknown as string;
const multipart = { bodySerializer: asForm };

const form = await api.POST("/v1/images/classify", { body: { image: file_(image), top_k: 1 }, ...multipart });
const file = await api.POST("/v1/images/classify-file", {
  body: file_(image),
  params: { query: { top_k: 1 } },
  bodySerializer: (body) => body,
  headers: { "Content-Type": "application/octet-stream" },
});
const json = await api.POST("/v1/images/classify-json", { body: { image: await base64(), top_k: 1 } });
const several = await api.POST("/v1/images/classify-batch", { body: { images: [file_(image), file_(image)] }, ...multipart });
const rows = await api.POST("/v1/tabular/predict", { body: { instances: [row] } });
const one = await api.POST("/v1/recommendations", { body: { user_id: "alice", n: 2, user_features: features } });
const users = await api.POST("/v1/recommendations/bulk", { body: { user_ids: ["alice", "bob"], n: 2 } });
const inferred = await api.POST("/v2/models/recommender/infer", { body: { inputs: [tensor] } });
const model = await api.GET("/v1/models/{name}", { params: { path: { name: "tabular" } } });
const items = await api.GET("/v1/items", { params: { query: { page_size: 3 } } });
const named = { params: { path: { name: "tabular", param: "seed" } } };
const param = await api.GET("/v1/models/{name}/params/{param}", named);
const item_id = must(must(items.data, items.error).items[0]).item_id;
const similar = await api.GET("/v1/items/{item_id}/similar", { params: { path: { item_id }, query: { n: 1 } } });
const events = [{ user_id: "alice", item_id, kind: "view" as const }];
const feedback = await api.POST("/v1/feedback", { body: { events } });
const health = await api.GET("/health");
const job = await api.POST("/v1/tabular/jobs", { body: { file: file_(table) }, ...multipart });
const path = { job_id: must(job.data, job.error).id };
await finished(async () => must((await api.GET("/v1/jobs/{job_id}", { params: { path } })).data));
const result = await api.GET("/v1/jobs/{job_id}/result", { params: { path }, parseAs: "text" });

print({
  byForm: must(must(form.data, form.error).predictions[0]).label,
  byFile: must(must(file.data, file.error).predictions[0]).label,
  byJson: must(must(json.data, json.error).predictions[0]).label,
  several: must(several.data, several.error).results.length,
  prediction: must(must(rows.data, rows.error).predictions[0]).prediction,
  user: must(one.data, one.error).user_id,
  score: must(must(one.data).items[0]).score,
  users: must(users.data, users.error).results.map((each) => each.user_id),
  infers: (must(inferred.data, inferred.error) as { model_name: string }).model_name,
  model: must(model.data, model.error).name,
  seed: must(param.data, param.error).value,
  items: must(items.data, items.error).items.length,
  similar: must(similar.data, similar.error).item_id,
  accepted: must(feedback.data, feedback.error).accepted,
  health: must(health.data, health.error).status,
  result: must(result.data) as string,
});
