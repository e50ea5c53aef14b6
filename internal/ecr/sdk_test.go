package ecr_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"

	. "berth/internal/ecr"
	"berth/internal/ecr/ecrtest"
)

// sdkClient is the AWS SDK's client of a server that decodes each request and answers what respond returns: an output
// to encode, or an *Exception.
func sdkClient(t *testing.T, respond func(op *Operation, input any) any) *sdk.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, body, err := serve(r, respond)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(status)
		if _, err := w.Write(body); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return sdk.New(sdk.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(server.URL),
		Retryer:      aws.NopRetryer{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret"}, nil
		}),
	})
}

func serve(r *http.Request, respond func(op *Operation, input any) any) (status int, body []byte, err error) {
	op, ok := LookupTarget(r.Header.Get("X-Amz-Target"))
	if !ok {
		return 404, nil, fmt.Errorf("no operation for target %q", r.Header.Get("X-Amz-Target"))
	}
	sent, err := io.ReadAll(r.Body)
	if err != nil {
		return 500, nil, err
	}
	input, err := op.Decode(sent)
	if err != nil {
		return 500, nil, fmt.Errorf("%s refuses what the SDK sends, %s: %w", op.Name, sent, err)
	}
	answer := respond(op, input)
	if e, ok := answer.(*Exception); ok {
		body, err = e.Body()
		return e.Status, body, err
	}
	body, err = Encode(answer)
	return 200, body, err
}

// TestSDKReadsEveryOperation calls every operation with the AWS SDK. The input we decode must be what the SDK was given,
// and the output the SDK reads must be what we encoded, member by member.
func TestSDKReadsEveryOperation(t *testing.T) {
	for _, op := range Operations() {
		t.Run(op.Name, func(t *testing.T) {
			want, err := op.Decode(ecrtest.JSON(t, op.Input, true))
			if err != nil {
				t.Fatal(err)
			}
			output := op.NewOutput()
			if err := DecodeShape(op.Output, ecrtest.JSON(t, op.Output, true), output); err != nil {
				t.Fatal(err)
			}
			client := sdkClient(t, func(_ *Operation, got any) any {
				if !reflect.DeepEqual(got, want) {
					t.Errorf("decoded %+v, want %+v", got, want)
				}
				return output
			})
			method := reflect.ValueOf(client).MethodByName(op.Name)
			if !method.IsValid() {
				t.Fatal("the SDK has no such operation")
			}
			input := reflect.New(method.Type().In(1).Elem())
			// The SDK's field names differ from the wire's in case only, which encoding/json overlooks.
			if err := json.Unmarshal(ecrtest.JSON(t, op.Input, true), input.Interface()); err != nil {
				t.Fatal(err)
			}
			results := method.Call([]reflect.Value{reflect.ValueOf(t.Context()), input})
			if err, ok := results[1].Interface().(error); ok && err != nil {
				t.Fatal(err)
			}
			compareSDK(t, op.Name, op.Output, ecrtest.Sample(t, op.Output, true), results[0])
		})
	}
}

// compareSDK compares a sample value with what the SDK made of it.
func compareSDK(t *testing.T, path string, s *Shape, want any, got reflect.Value) {
	t.Helper()
	if got.Kind() == reflect.Pointer {
		if got.IsNil() {
			t.Errorf("%s was lost", path)
			return
		}
		got = got.Elem()
	}
	switch s.Kind {
	case KindStructure:
		for _, m := range s.Members {
			field := got.FieldByNameFunc(func(name string) bool { return strings.EqualFold(name, m.Name) })
			if !field.IsValid() {
				t.Errorf("%s: the SDK has no member %s", path, m.Name)
				continue
			}
			compareSDK(t, path+"."+m.Name, m.Shape, want.(map[string]any)[m.Name], field)
		}
	case KindList:
		if got.Len() != 1 {
			t.Errorf("%s has %d elements, want 1", path, got.Len())
			return
		}
		compareSDK(t, path+"[]", s.Elem, want.([]any)[0], got.Index(0))
	case KindMap:
		for key, value := range want.(map[string]any) {
			entry := got.MapIndex(reflect.ValueOf(key).Convert(got.Type().Key()))
			if !entry.IsValid() {
				t.Errorf("%s has no key %s", path, key)
				continue
			}
			compareSDK(t, path+"."+key, s.Elem, value, entry)
		}
	case KindTimestamp:
		if when := got.Interface().(time.Time); when.UnixMilli() != 1563223656125 {
			t.Errorf("%s is %v", path, when)
		}
	case KindBlob:
		if text := base64.StdEncoding.EncodeToString(got.Bytes()); text != want {
			t.Errorf("%s is %s, want %s", path, text, want)
		}
	default:
		if text := fmt.Sprint(got.Interface()); text != fmt.Sprint(want) {
			t.Errorf("%s is %s, want %s", path, text, want)
		}
	}
}

// TestSDKTellsEmptyFromAbsent: lists and strings whose absence means something arrive as they were sent.
func TestSDKTellsEmptyFromAbsent(t *testing.T) {
	client := sdkClient(t, func(op *Operation, _ any) any {
		switch op.Name {
		case "DescribeRepositories":
			return &DescribeRepositoriesOutput{Repositories: []Repository{}}
		case "ListTagsForResource":
			return &ListTagsForResourceOutput{Tags: []Tag{{Key: "empty"}}}
		}
		return op.NewOutput()
	})
	repositories, err := client.DescribeRepositories(t.Context(), &sdk.DescribeRepositoriesInput{})
	if err != nil || repositories.Repositories == nil || repositories.NextToken != nil {
		t.Errorf("an empty list of repositories is %+v, %v", repositories, err)
	}
	tags, err := client.ListTagsForResource(t.Context(), &sdk.ListTagsForResourceInput{ResourceArn: aws.String("arn")})
	if err != nil || len(tags.Tags) != 1 || aws.ToString(tags.Tags[0].Key) != "empty" || tags.Tags[0].Value == nil {
		t.Errorf("a tag with an empty value is %+v, %v", tags, err)
	}
	images, err := client.ListImages(t.Context(), &sdk.ListImagesInput{RepositoryName: aws.String("app")})
	if err != nil || images.ImageIds != nil {
		t.Errorf("an absent list of images is %+v, %v", images, err)
	}
	policy, err := client.GetLifecyclePolicy(t.Context(), &sdk.GetLifecyclePolicyInput{RepositoryName: aws.String("app")})
	if err != nil || policy.LastEvaluatedAt != nil {
		t.Errorf("a time that never was is %+v, %v", policy, err)
	}
}

// TestSDKReadsExceptions: the SDK recognises each modelled exception by its code, with message, fault and extra members.
func TestSDKReadsExceptions(t *testing.T) {
	codes := map[string]bool{}
	for _, op := range Operations() {
		for _, code := range op.Errors {
			codes[code] = true
		}
	}
	if len(codes) < 40 {
		t.Fatalf("only %d exceptions in the table of operations", len(codes))
	}
	var answer *Exception
	client := sdkClient(t, func(*Operation, any) any { return answer })
	upload := func() error {
		_, err := client.UploadLayerPart(t.Context(), &sdk.UploadLayerPartInput{
			RepositoryName: aws.String("app"), UploadId: aws.String("0a1b2c3d-0000-4000-8000-0123456789ab"),
			PartFirstByte: aws.Int64(0), PartLastByte: aws.Int64(0), LayerPartBlob: []byte("x")})
		return err
	}
	for code := range codes {
		answer = NewException(code, "what & why")
		var api smithy.APIError
		if err := upload(); !errors.As(err, &api) || api.ErrorCode() != code || api.ErrorMessage() != "what & why" {
			t.Errorf("%s arrives as %v", code, err)
		}
		if server := answer.Status >= 500; server != (api.ErrorFault() == smithy.FaultServer) {
			t.Errorf("%s has status %d and fault %s", code, answer.Status, api.ErrorFault())
		}
	}
	answer = NewException(CodeInvalidLayerPart, "not consecutive")
	answer.Extra = map[string]any{"uploadId": "u", "lastValidByteReceived": 41}
	var part *types.InvalidLayerPartException
	if err := upload(); !errors.As(err, &part) || aws.ToInt64(part.LastValidByteReceived) != 41 || aws.ToString(part.UploadId) != "u" {
		t.Errorf("InvalidLayerPartException arrives as %v", err)
	}
}
