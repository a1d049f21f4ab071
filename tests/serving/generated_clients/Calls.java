import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.FileNotFoundException;
import java.io.UncheckedIOException;
import java.net.http.HttpRequest;
import java.nio.file.Files;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.openapitools.client.ApiClient;
import org.openapitools.client.api.*;
import org.openapitools.client.model.*;

/** Makes the main calls with the Java client, and prints what they return. */
public class Calls {
  public static void main(String[] arguments) throws Exception {
    ApiClient client = new ApiClient();
    client.updateBaseUri(arguments[0]);
    File image = new File(arguments[1]);
    File table = new File(arguments[2]);
    Map<String, Object> outcome = new LinkedHashMap<>();
    // The client writes a file as a JSON string; here the interceptor of the request sends its bytes.
    ApiClient uploads = new ApiClient();
    uploads.updateBaseUri(arguments[0]);
    uploads.setRequestInterceptor(request -> request.POST(file(image)));
    Classification byFile = new ImagesApi(uploads).classifyImageFile(image, 1, null, null, null, null, null);
    outcome.put("byFile", byFile.getPredictions().get(0).getLabel());
    classify(new ImagesApi(client), image, outcome);
    recommend(new RecommendationsApi(client), outcome);
    predict(new TabularApi(client), new InferenceApi(client), outcome);
    read(client, outcome);
    outcome.put("result", job(new TabularApi(client), new JobsApi(client), table));
    System.out.println(new ObjectMapper().writeValueAsString(outcome));
  }

  private static HttpRequest.BodyPublisher file(File file) {
    try {
      return HttpRequest.BodyPublishers.ofFile(file.toPath());
    } catch (FileNotFoundException fault) {
      throw new UncheckedIOException(fault);
    }
  }

  private static void classify(ImagesApi images, File image, Map<String, Object> outcome) throws Exception {
    Classification form = images.classifyImage(image, null, null, null, 1, null, null);
    ClassifyFile text = new ClassifyFile().image(Files.readAllBytes(image.toPath())).topK(1);
    Classification json = images.classifyImageJson(text, null, null, null);
    BatchClassification several =
        images.classifyImages(List.of(image, image), null, null, null, null, null, null);
    outcome.put("byForm", form.getPredictions().get(0).getLabel());
    outcome.put("byJson", json.getPredictions().get(0).getLabel());
    outcome.put("several", several.getResults().size());
  }

  private static void recommend(RecommendationsApi recommendations, Map<String, Object> outcome) throws Exception {
    RecommendRequest user = new RecommendRequest().userId("alice").n(2).putUserFeaturesItem("age", 25);
    Recommendations one = recommendations.recommend(user, null, null, null);
    BulkRecommendRequest users = new BulkRecommendRequest().userIds(List.of("alice", "bob")).n(2);
    BulkRecommendations several = recommendations.recommendBulk(users, null, null, null);
    outcome.put("user", one.getUserId());
    outcome.put("score", one.getItems().get(0).getScore());
    outcome.put("users", several.getResults().stream().map(each -> each.getUserResult().getUserId()).toList());
  }

  private static void predict(TabularApi tabular, InferenceApi inference, Map<String, Object> outcome)
      throws Exception {
    Row row = new Row().age(33L).creditAmount(1169.0).sex(Row.SexEnum.MALE).purpose("car").propertyClass(true);
    row.savingAccounts(null).größe(1.5);
    ClassifiedRows rows =
        tabular.predictTabular(new TabularRequest().addInstancesItem(row), null, null, null, null);
    InferInput tensor =
        new InferInput().name("user_id").addShapeItem(1).datatype(InferInput.DatatypeEnum.BYTES).addDataItem("alice");
    InferAnswer inferred =
        inference.inferRecommender(new InferRequest().addInputsItem(tensor), null, null, null, null);
    outcome.put("prediction", rows.getPredictions().get(0).getPrediction());
    outcome.put("infers", inferred.getModelName());
  }

  private static void read(ApiClient client, Map<String, Object> outcome) throws Exception {
    ModelsApi models = new ModelsApi(client);
    ItemsApi items = new ItemsApi(client);
    List<Item> listed = items.listItems(null, null, null, null, 3, null, null, null, null, null).getItems();
    String item = listed.get(0).getItemId();
    FeedbackEvent event =
        new FeedbackEvent().userId("alice").itemId(item).kind(FeedbackEvent.KindEnum.VIEW);
    Accepted feedback = new FeedbackApi(client).sendFeedback(new FeedbackRequest().addEventsItem(event), null);
    outcome.put("model", models.getModel("tabular", null).getName());
    outcome.put("seed", models.getModelParam("tabular", "seed", null, null).getValue());
    outcome.put("items", listed.size());
    outcome.put("similar", items.getSimilarItems(item, 1, null, null, null, null, null).getItemId());
    outcome.put("accepted", feedback.getAccepted());
    outcome.put("health", new ServiceApi(client).health().getStatus());
  }

  private static String job(TabularApi tabular, JobsApi jobs, File table) throws Exception {
    JobInfo job = tabular.submitTabularJob(table, null, null, null);
    for (int tries = 0; List.of("queued", "running").contains(job.getStatus().getValue()); tries++) {
      if (tries == 600) throw new IllegalStateException("the job does not end");
      Thread.sleep(50);
      job = jobs.getJob(job.getId(), null);
    }
    return Files.readString(jobs.getJobResult(job.getId(), null, null).toPath());
  }
}
