// Make the main calls with the Go client, and print what they return.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	api "github.com/makunouchi/client"
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func got[T any](value T, _ *http.Response, err error) T {
	return must(value, err)
}

func main() {
	configuration := api.NewConfiguration()
	configuration.Servers = api.ServerConfigurations{{URL: os.Args[1]}}
	client, ctx := api.NewAPIClient(configuration), context.Background()
	image := func() *os.File { return must(os.Open(os.Args[2])) }
	table := must(os.Open(os.Args[3]))

	form := got(client.ImagesAPI.ClassifyImage(ctx).Image(image()).TopK(1).Execute())
	file := got(client.ImagesAPI.ClassifyImageFile(ctx).Body(image()).TopK(1).Execute())
	encoded := api.NewClassifyFile(base64.StdEncoding.EncodeToString(must(os.ReadFile(os.Args[2]))))
	encoded.SetTopK(1)
	text := got(client.ImagesAPI.ClassifyImageJson(ctx).ClassifyFile(*encoded).Execute())
	several := got(client.ImagesAPI.ClassifyImages(ctx).Images([]*os.File{image(), image()}).Execute())

	größe := 1.5
	row := api.NewRow(33, 1169, "male", "car", true, *api.NewNullableFloat64(&größe))
	row.SetSavingAccountsNil()
	rows := got(client.TabularAPI.PredictTabular(ctx).TabularRequest(*api.NewTabularRequest([]api.Row{*row})).Execute())

	request := api.NewRecommendRequest("alice")
	request.SetN(2)
	request.SetUserFeatures(map[string]any{"age": 25})
	one := got(client.RecommendationsAPI.Recommend(ctx).RecommendRequest(*request).Execute())
	bulk := api.NewBulkRecommendRequest([]string{"alice", "bob"})
	bulk.SetN(2)
	users := []string{}
	for _, each := range got(client.RecommendationsAPI.RecommendBulk(ctx).BulkRecommendRequest(*bulk).Execute()).Results {
		users = append(users, each.UserResult.UserId)
	}

	tensor := api.NewInferInput("user_id", []int32{1}, "BYTES")
	tensor.SetData([]any{"alice"})
	tensors := *api.NewInferRequest([]api.InferInput{*tensor})
	inferred := got(client.InferenceAPI.InferRecommender(ctx).InferRequest(tensors).Execute())

	model := got(client.ModelsAPI.GetModel(ctx, "tabular").Execute())
	param := got(client.ModelsAPI.GetModelParam(ctx, "tabular", "seed").Execute())
	items := got(client.ItemsAPI.ListItems(ctx).PageSize(3).Execute()).Items
	similar := got(client.ItemsAPI.GetSimilarItems(ctx, items[0].ItemId).N(1).Execute())
	event := *api.NewFeedbackEvent("alice", items[0].ItemId, "view")
	events := *api.NewFeedbackRequest([]api.FeedbackEvent{event})
	feedback := got(client.FeedbackAPI.SendFeedback(ctx).FeedbackRequest(events).Execute())
	health := got(client.ServiceAPI.Health(ctx).Execute())

	job := got(client.TabularAPI.SubmitTabularJob(ctx).File(table).Execute())
	for tries := 0; job.Status == "queued" || job.Status == "running"; tries++ {
		if tries == 600 {
			panic("the job does not end")
		}
		time.Sleep(50 * time.Millisecond)
		job = got(client.JobsAPI.GetJob(ctx, job.Id).Execute())
	}
	result := got(client.JobsAPI.GetJobResult(ctx, job.Id).Execute())

	fmt.Println(string(must(json.Marshal(map[string]any{
		"byForm":     form.Predictions[0].Label,
		"byFile":     file.Predictions[0].Label,
		"byJson":     text.Predictions[0].Label,
		"several":    len(several.Results),
		"prediction": rows.Predictions[0].Prediction,
		"user":       one.UserId,
		"score":      one.Items[0].Score,
		"users":      users,
		"infers":     inferred.ModelName,
		"model":      model.Name,
		"seed":       param.Value,
		"items":      len(items),
		"similar":    similar.ItemId,
		"accepted":   feedback.Accepted,
		"health":     health.Status,
		"result":     string(must(io.ReadAll(result))),
	}))))
}
