package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"berth/internal/server/servertest"
	"berth/internal/testkit"
)

// events tail goes on until it is interrupted, and sees every event once.
func TestEventsTailFollows(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t)
	s.CreateRepositories("app")
	client := s.ECR()
	img := testkit.RandomImage(t, 1, 10)
	for _, b := range img.Blobs {
		resp, body := s.Do("POST", "/v2/app/blobs/uploads/?digest="+b.Descriptor.Digest.String(), bytes.NewReader(b.Bytes))
		if resp.StatusCode != 201 {
			t.Fatal(resp.Status, string(body))
		}
	}
	tag := func(tag string) {
		t.Helper()
		_, err := client.PutImage(t.Context(), &ecr.PutImageInput{
			RepositoryName: aws.String("app"), ImageTag: &tag, ImageManifest: aws.String(string(img.Root.Bytes)), ImageManifestMediaType: &img.Root.Descriptor.MediaType,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	tag("v1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out output
	done := make(chan error, 1)
	go func() { done <- tailEvents(ctx, &environment{stdout: &out}, client, 10, false, false) }()
	wait := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(patience); !strings.Contains(out.String(), want); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("no %q in\n%s", want, out.String())
			}
		}
	}
	wait("PUSH app:v1@" + img.Digest().String())
	tag("v2")
	wait("PUSH app:v2@")
	_, err := client.BatchDeleteImage(t.Context(), &ecr.BatchDeleteImageInput{RepositoryName: aws.String("app"), ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("v1")}}})
	if err != nil {
		t.Fatal(err)
	}
	wait("DELETE app:v1@")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := strings.Count(out.String(), "\n"); n != 3 {
		t.Errorf("%d lines:\n%s", n, out.String())
	}
}
