package sdk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/opencontainers/go-digest"

	model "berth/internal/ecr"
	"berth/internal/server/servertest"
	"berth/internal/testkit"
)

// A world is one operation's view of a running server: the SDK's client, what it
// heard last, and names of its own.
type world struct {
	*testing.T
	*servertest.Server
	*ecr.Client
	name string // of the operation, and in small letters of its repository
	repo string
	last exchange
}

// An exchange is the last request that the SDK sent, and its answer.
type exchange struct {
	operation       string
	request, answer []byte
}

func newWorld(t *testing.T, s *servertest.Server, operation string) *world {
	w := &world{T: t, Server: s, name: operation, repo: "sdk/" + strings.ToLower(operation)}
	options := s.ECR().Options()
	options.HTTPClient = w
	w.Client = ecr.New(options)
	return w
}

// Do sends a request for the SDK and keeps the answer.
func (w *world) Do(req *http.Request) (*http.Response, error) {
	sent, err := io.ReadAll(req.Body)
	if err := errors.Join(err, req.Body.Close()); err != nil {
		return nil, err
	}
	req.Body = io.NopCloser(bytes.NewReader(sent))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	_, operation, _ := strings.Cut(req.Header.Get("X-Amz-Target"), ".")
	w.last = exchange{operation, sent, answer}
	resp.Body = io.NopCloser(bytes.NewReader(answer))
	return resp, nil
}

// must ends the test unless a call that prepares something succeeded.
func must[T any](out T, err error) func(*world) T {
	return func(w *world) T {
		w.Helper()
		if err != nil {
			w.Fatal(err)
		}
		return out
	}
}

// need ends the test unless something was prepared.
func (w *world) need(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// create makes the repository of the operation.
func (w *world) create() {
	w.Helper()
	must(w.CreateRepository(w.Context(), &ecr.CreateRepositoryInput{RepositoryName: &w.repo}))(w)
}

// layer pushes a layer over the ECR API, if the repository has not got it.
func (w *world) layer(b testkit.Blob) {
	w.Helper()
	id := w.upload(b)
	_, err := w.CompleteLayerUpload(w.Context(), &ecr.CompleteLayerUploadInput{
		RepositoryName: &w.repo, UploadId: &id, LayerDigests: []string{b.Descriptor.Digest.String()},
	})
	var exists *types.LayerAlreadyExistsException
	if err != nil && !errors.As(err, &exists) {
		w.Fatal(err)
	}
}

// upload begins an upload and sends the whole layer in one part.
func (w *world) upload(b testkit.Blob) (id string) {
	w.Helper()
	u := must(w.InitiateLayerUpload(w.Context(), &ecr.InitiateLayerUploadInput{RepositoryName: &w.repo}))(w)
	must(w.UploadLayerPart(w.Context(), &ecr.UploadLayerPartInput{
		RepositoryName: &w.repo, UploadId: u.UploadId, PartFirstByte: aws.Int64(0),
		PartLastByte: aws.Int64(int64(len(b.Bytes)) - 1), LayerPartBlob: b.Bytes,
	}))(w)
	return *u.UploadId
}

// image pushes an image with a tag over the ECR API.
func (w *world) image(c testkit.Content, tag string) {
	w.Helper()
	for _, b := range c.Blobs {
		w.layer(b)
	}
	var tagged *string
	if tag != "" {
		tagged = &tag
	}
	must(w.PutImage(w.Context(), &ecr.PutImageInput{
		RepositoryName: &w.repo, ImageManifest: aws.String(string(c.Root.Bytes)), ImageTag: tagged,
	}))(w)
}

// newImage makes the repository with one image, tagged v1.
func (w *world) newImage() testkit.Content {
	w.Helper()
	w.create()
	c := testkit.RandomImage(w, 1, 1<<10)
	w.image(c, "v1")
	return c
}

// raw sends a body that an SDK would refuse to send, signed by the SDK.
func (w *world) raw(operation string, body []byte) (status int, answer []byte) {
	w.Helper()
	req, err := http.NewRequest(http.MethodPost, w.Endpoint+"/", bytes.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", model.TargetPrefix+"."+operation)
	root := aws.Credentials{AccessKeyID: w.Root.AccessKeyID, SecretAccessKey: w.Root.SecretAccessKey}
	if err := v4.NewSigner().SignHTTP(context.Background(), root, req, digest.FromBytes(body).Encoded(), "ecr", w.Region, now()); err != nil {
		w.Fatal(err)
	}
	resp, err := w.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	return resp.StatusCode, w.last.answer
}

// annotate gives a manifest an annotation.
func annotate(w *world, manifest []byte) []byte {
	w.Helper()
	var m map[string]any
	if err := json.Unmarshal(manifest, &m); err != nil {
		w.Fatal(err)
	}
	m["annotations"] = map[string]string{"org.opencontainers.image.created": "2026-11-25T00:00:00Z"}
	out, err := json.Marshal(m)
	if err != nil {
		w.Fatal(err)
	}
	return out
}
