package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"berth/internal/iam"
	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/server"
	"berth/internal/server/servertest"
	"berth/internal/testkit"
)

// A puller asks at both doors for an image, and gets it or is told why not.
type puller struct{ *servertest.Server }

// user makes one with a policy, and is it.
func user(t *testing.T, s *servertest.Server, name, actions string) puller {
	t.Helper()
	s.IAM("CreateUser", "UserName", name)
	key := s.IAM("CreateAccessKey", "UserName", name)
	s.IAM("PutUserPolicy", "UserName", name, "PolicyName", "p", "PolicyDocument", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":[`+actions+`],"Resource":"*"}]}`)
	out := *s
	out.Root = iam.Credentials{AccessKeyID: between(t, key, "<AccessKeyId>", "</AccessKeyId>"), SecretAccessKey: between(t, key, "<SecretAccessKey>", "</SecretAccessKey>")}
	return puller{&out}
}

const pullActions = `"ecr:GetAuthorizationToken","ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"`

// pull tries all ways to get a manifest; why is empty when all give it.
func (p puller) pull(t *testing.T, tag, digest string) (why string) {
	t.Helper()
	var said []string
	for _, ref := range []string{tag, digest} {
		if head, _ := p.Do("HEAD", "/v2/app/manifests/"+ref, nil); head.StatusCode != 200 && head.StatusCode != 403 {
			t.Errorf("HEAD %s: %s", ref, head.Status)
		} else if head.StatusCode == 403 {
			said = append(said, "HEAD")
		}
		resp, body := p.Do("GET", "/v2/app/manifests/"+ref, nil)
		var wire struct {
			Errors []struct{ Code, Message string }
		}
		switch {
		case resp.StatusCode == 200:
		case resp.StatusCode == 403 && json.Unmarshal(body, &wire) == nil && len(wire.Errors) == 1 && wire.Errors[0].Code == "DENIED":
			said = append(said, wire.Errors[0].Message)
		default:
			t.Errorf("GET %s: %s %s", ref, resp.Status, body)
		}
	}
	out, err := p.ECR().BatchGetImage(t.Context(), &ecr.BatchGetImageInput{RepositoryName: aws.String("app"), ImageIds: []types.ImageIdentifier{{ImageTag: &tag}, {ImageDigest: &digest}}})
	if err != nil || len(out.Images)+len(out.Failures) != 2 {
		t.Fatalf("%+v, %v", out, err)
	}
	for _, f := range out.Failures {
		if f.FailureCode != types.ImageFailureCodeImageInaccessible {
			t.Errorf("failure %s: %s", f.FailureCode, *f.FailureReason)
		}
		said = append(said, *f.FailureReason)
	}
	switch len(said) {
	case 0:
		return ""
	case 6:
		for _, s := range said {
			if s != "HEAD" && !strings.Contains(s, digest) {
				t.Errorf("the image is not named: %s", s)
			}
		}
		return said[1]
	}
	t.Errorf("not denied everywhere: %q", said)
	return ""
}

// scanned writes what a scan found, in place of a scanner.
func scanned(t *testing.T, cfg server.Config, name, digest string, scan meta.Scan) {
	t.Helper()
	st, err := server.OpenStorage(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	err = st.DB.Update(context.Background(), func(tx *meta.Tx) error {
		repo, err := tx.Repository(meta.Scope{Account: "000000000000", Region: servertest.Region}, name)
		if err != nil {
			return err
		}
		img, err := tx.ImageByDigest(repo.ID, digest)
		if err != nil {
			return err
		}
		scan.ImageID, scan.RequestedAt = img.ID, time.Now()
		return tx.PutScan(scan)
	})
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestVulnerableImagesAreNotPulled denies pulls by findings, at both doors and by
// every name of the image, but to those who are exempt.
func TestVulnerableImagesAreNotPulled(t *testing.T) {
	t.Parallel()
	cfg := stores(t.TempDir())
	cfg.Admission = registry.Admission{DenyAt: "HIGH"}
	s := servertest.StartWith(t, cfg)
	s.CreateRepositories("app")
	index := testkit.RandomIndex(t, 64, "amd64")
	if err := pushTo(s, "app", "multi", index, expected{}); err != nil {
		t.Fatal(err)
	}
	child := index.Children[0].Digest().String()
	img := testkit.RandomImage(t, 1, 64)
	if err := pushTo(s, "app", "v1", img, expected{}); err != nil {
		t.Fatal(err)
	}
	ann, exempt := user(t, s, "ann", pullActions), user(t, s, "exempt", pullActions+`,"ecr:BerthPullVulnerableImage"`)
	digest := img.Digest().String()
	for i, c := range []struct {
		scan meta.Scan
		why  string
	}{
		{meta.Scan{}, ""},
		{meta.Scan{Type: "BASIC", Status: "COMPLETE", Counts: map[string]int32{"MEDIUM": 9, "UNDEFINED": 1}}, ""},
		{meta.Scan{Type: "BASIC", Status: "COMPLETE", Counts: map[string]int32{"LOW": 9, "HIGH": 1}}, "findings of severity HIGH, and this registry denies pulls at HIGH or worse"},
		{meta.Scan{Type: "BASIC", Status: "COMPLETE", Counts: map[string]int32{"CRITICAL": 1, "HIGH": 1}}, "findings of severity CRITICAL"},
		{meta.Scan{Type: "BASIC", Status: "PENDING", Counts: map[string]int32{"CRITICAL": 1}}, "findings of severity CRITICAL"}, // of the scan before
		{meta.Scan{Type: "BASIC", Status: "FAILED"}, ""},
		{meta.Scan{Type: "ENHANCED", Status: "ACTIVE", Counts: map[string]int32{"CRITICAL": 1}}, ""}, // hidden by the type of scanning
	} {
		if c.scan.Type != "" {
			scanned(t, cfg, "app", digest, c.scan)
		}
		why := ann.pull(t, "v1", digest)
		if (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%d: denied with %q, want %q", i, why, c.why)
		}
		for _, p := range []puller{exempt, {s}} { // the root user may do everything
			if why := p.pull(t, "v1", digest); why != "" {
				t.Errorf("%d: exempt, and denied with %q", i, why)
			}
		}
	}

	// Of an index, the image that is pulled through it is judged.
	scanned(t, cfg, "app", child, meta.Scan{Type: "BASIC", Status: "COMPLETE", Counts: map[string]int32{"CRITICAL": 1}})
	if why := ann.pull(t, "multi", index.Digest().String()); why != "" {
		t.Errorf("the index is denied with %q", why)
	}
	if resp, _ := ann.Do("GET", "/v2/app/manifests/"+child, nil); resp.StatusCode != 403 {
		t.Errorf("the image of the index: %s", resp.Status)
	}
	// A layer is one of many images, and is not judged.
	if resp, _ := ann.Do("GET", fmt.Sprintf("/v2/app/blobs/%s", index.Children[0].Blobs[0].Descriptor.Digest), nil); resp.StatusCode != 200 {
		t.Errorf("a layer: %s", resp.Status)
	}
}

// TestUnscannedImagesAreNotPulled denies what nobody looked into, where that is
// asked for.
func TestUnscannedImagesAreNotPulled(t *testing.T) {
	t.Parallel()
	cfg := stores(t.TempDir())
	cfg.Admission = registry.Admission{DenyUnscanned: true}
	s := servertest.StartWith(t, cfg)
	s.CreateRepositories("app")
	img := testkit.RandomImage(t, 1, 64)
	if err := pushTo(s, "app", "v1", img, expected{}); err != nil {
		t.Fatal(err)
	}
	sbom := testkit.Artifact(t, "application/vnd.test.sbom", []byte("sbom"), &img)
	if err := pushTo(s, "app", "sbom", sbom, expected{}); err != nil {
		t.Fatal(err)
	}
	ann := user(t, s, "ann", pullActions)
	if why := ann.pull(t, "sbom", sbom.Digest().String()); why != "" {
		t.Errorf("an artifact is denied with %q", why)
	}
	for _, status := range []string{"", "PENDING", "FAILED", "COMPLETE"} { // a scan that was is not unscanned again
		want := status == "COMPLETE"
		if status != "" {
			scanned(t, cfg, "app", img.Digest().String(), meta.Scan{Type: "BASIC", Status: status})
		}
		if why := ann.pull(t, "v1", img.Digest().String()); (why == "") != want || !want && !strings.Contains(why, "no scan has found out what is in it") {
			t.Errorf("scan %q: denied with %q", status, why)
		}
	}
}

func TestAdmissionIsChecked(t *testing.T) {
	t.Parallel()
	cfg := stores(t.TempDir())
	cfg.Listen, cfg.Admission.DenyAt = "127.0.0.1:0", "WORSE"
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "--deny-pulls-at") {
		t.Errorf("accepted: %v", err)
	}
}
