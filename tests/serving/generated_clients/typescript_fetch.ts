import * as api from "./client";
import { address, base64, features, finished, image, must, print, table } from "./calls";

const configuration = new api.Configuration({ basePath: address });
const images = new api.ImagesApi(configuration);
const recommendations = new api.RecommendationsApi(configuration);
const tabular = new api.TabularApi(configuration);
const jobs = new api.JobsApi(configuration);

const form = await images.classifyImage({ image, topK: 1 });
const file = await images.classifyImageFile({ body: image, topK: 1 });
const json = await images.classifyImageJson({ classifyFile: { image: await base64(), topK: 1 } });
const several = await images.classifyImages({ images: [image, image] });
const row = {
  age: 33, creditAmount: 1169, sex: "male" as const, purpose: "car", _class: true, savingAccounts: null, gre: 1.5,
};
const rows = await tabular.predictTabular({ tabularRequest: { instances: [row] } });
const one = await recommendations.recommend({ recommendRequest: { userId: "alice", n: 2, userFeatures: features } });
const users = await recommendations.recommendBulk({ bulkRecommendRequest: { userIds: ["alice", "bob"], n: 2 } });
const tensor = { name: "user_id", shape: [1], datatype: "BYTES" as const, data: ["alice"] };
const inferred = await new api.InferenceApi(configuration).inferRecommender({ inferRequest: { inputs: [tensor] } });
const models = new api.ModelsApi(configuration);
const model = await models.getModel({ name: "tabular" });
const param = await models.getModelParam({ name: "tabular", param: "seed" });
const catalog = new api.ItemsApi(configuration);
const items = await catalog.listItems({ pageSize: 3 });
const itemId = must(items.items[0]).itemId;
const similar = await catalog.getSimilarItems({ itemId, n: 1 });
const event = { userId: "alice", itemId, kind: "view" as const };
const feedback = await new api.FeedbackApi(configuration).sendFeedback({ feedbackRequest: { events: [event] } });
const health = await new api.ServiceApi(configuration).health();
const job = await tabular.submitTabularJob({ file: table });
await finished(() => jobs.getJob({ jobId: job.id }));
const result = await jobs.getJobResult({ jobId: job.id });

print({
  byForm: must(form.predictions[0]).label,
  byFile: must(file.predictions[0]).label,
  byJson: must(json.predictions[0]).label,
  several: several.results.length,
  prediction: must(rows.predictions[0]).prediction,
  user: one.userId,
  score: must(one.items[0]).score,
  users: users.results.map((each) => must((each as { userId?: string }).userId)),
  infers: inferred.modelName,
  model: model.name,
  seed: param.value,
  items: items.items.length,
  similar: similar.itemId,
  accepted: feedback.accepted,
  health: health.status,
  result: await result.text(),
});
