package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
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

// TestEventsSurviveKill: each push that was answered has its event at the sink,
// however often the real program is killed meanwhile, and no event tells of an
// image that is not there.
func TestEventsSurviveKill(t *testing.T) {
	t.Parallel()
	c := newCrasher(t, buildBinary(t))
	file := filepath.Join(t.TempDir(), "events.jsonl")
	c.more = []string{"--event-sink", "file:" + file}
	r := c.start()
	c.createRepository(r)
	acknowledged := map[string]string{} // digests by tag
	for round := range 6 {
		var mu sync.Mutex
		var pushes sync.WaitGroup
		for worker := range 4 {
			pushes.Go(func() {
				for i := 0; ; i++ {
					tag, image := fmt.Sprintf("r%d-%d-%d", round, worker, i), testkit.RandomImage(t, 1, 10)
					if r.push(t.Context(), "app", tag, image) != nil {
						return // the program is gone
					}
					mu.Lock()
					acknowledged[tag] = image.Digest().String()
					mu.Unlock()
				}
			})
		}
		time.Sleep(time.Duration(200+150*round) * time.Millisecond) // the kill falls anywhere, also into a delivery
		c.end(syscall.SIGKILL)
		pushes.Wait()
		r = c.start()
	}
	told := map[string]string{} // digests by tag
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		text, err := os.ReadFile(file)
		c.must(err)
		ids := map[string]string{}
		for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
			var e struct {
				ID     string `json:"id"`
				Detail struct {
					Tag    string `json:"image-tag"`
					Digest string `json:"image-digest"`
				} `json:"detail"`
			}
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				continue // cut off by a kill, and written again
			}
			if other, twice := ids[e.ID]; twice && other != e.Detail.Tag {
				t.Errorf("the id %s is of %s and of %s", e.ID, other, e.Detail.Tag)
			}
			ids[e.ID], told[e.Detail.Tag] = e.Detail.Tag, e.Detail.Digest
		}
		missing := 0
		for tag, digest := range acknowledged {
			if told[tag] != digest {
				missing++
			}
		}
		if missing == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d pushes have no event", missing, len(acknowledged))
		}
	}
	if len(acknowledged) < 10 {
		t.Errorf("only %d images were pushed", len(acknowledged))
	}
	for tag, digest := range told {
		out, err := r.ecr.DescribeImages(t.Context(), &ecr.DescribeImagesInput{RepositoryName: aws.String("app"), ImageIds: []types.ImageIdentifier{{ImageTag: &tag}}})
		if err != nil || len(out.ImageDetails) != 1 || *out.ImageDetails[0].ImageDigest != digest {
			t.Errorf("an event tells of %s as %s: %v", tag, digest, err)
		}
	}
}
