package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"berth/internal/server"
	"berth/internal/testkit"
)

// serveImage is an upstream with one image in one repository, and Docker Hub's words about limits.
func serveImage(t *testing.T, repository, tag string, c testkit.Content) string {
	t.Helper()
	files := map[string]testkit.Blob{"/v2/" + repository + "/manifests/" + tag: c.Root}
	for b, isManifest := range c.All() {
		kind := "/blobs/"
		if isManifest {
			kind = "/manifests/"
		}
		files["/v2/"+repository+kind+b.Descriptor.Digest.String()] = b
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, ok := files[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("RateLimit-Limit", "200;w=21600")
		w.Header().Set("RateLimit-Remaining", "187;w=21600")
		w.Header().Set("Content-Type", b.Descriptor.MediaType)
		w.Header().Set("Docker-Content-Digest", b.Descriptor.Digest.String())
		if r.Method == http.MethodGet {
			_, _ = w.Write(b.Bytes)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestCacheCommands warms a cache from a list, and shows what it then saves.
func TestCacheCommands(t *testing.T) {
	image := testkit.RandomIndex(t, 10_000, "amd64", "arm64")
	url := serveImage(t, "library/nginx", "latest", image)
	c, s := newConsoleOn(t, server.Config{Upstreams: []string{"registry-1.docker.io=" + url, "quay.io=" + url}})
	c.ok(0, "cache", "status")
	c.says("there are no pull-through cache rules")
	for prefix, host := range map[string]string{"docker-hub": "registry-1.docker.io", "quay": "quay.io"} {
		if _, err := s.ECR().CreatePullThroughCacheRule(t.Context(), &ecr.CreatePullThroughCacheRuleInput{EcrRepositoryPrefix: aws.String(prefix), UpstreamRegistryUrl: aws.String(host)}); err != nil {
			t.Fatal(err)
		}
	}

	c.write("images.txt", "# what the cluster runs\n"+s.Host+"/docker-hub/nginx  # the short name\n\ndocker-hub/library/nginx:latest\ndocker-hub/nginx:none\nnowhere:v1\n")
	c.ok(1, "cache", "warm", "images.txt", "--parallel", "1")
	c.says("2 of 4 images are cached", "docker-hub/nginx:latest is "+image.Digest().String(), "failed: docker-hub/nginx:none: Requested image not found (ImageNotFound)", "failed: nowhere:v1: ",
		"RepositoryNotFoundException", "4/4 ")
	if strings.Contains(c.stderr, "Error:") || strings.Count(c.stdout, "\n") != 3 {
		t.Errorf("%s\n%s", c.stdout, c.stderr)
	}
	// Both names are one image, which is here whole, with all platforms.
	list, err := s.ECR().DescribeImages(t.Context(), &ecr.DescribeImagesInput{RepositoryName: aws.String("docker-hub/library/nginx")})
	if err != nil || len(list.ImageDetails) != 3 {
		t.Errorf("%d images, %v", len(list.ImageDetails), err)
	}
	if repos, err := s.ECR().DescribeRepositories(t.Context(), nil); err != nil || len(repos.Repositories) != 1 {
		t.Errorf("%d repositories, %v", len(repos.Repositories), err)
	}

	c.ok(0, "cache", "status", "--json")
	var rules []cacheStatus
	if err := json.Unmarshal([]byte(c.stdout), &[]struct{ RateLimit struct{ ReadAt time.Time } }{}); err != nil {
		t.Errorf("times are not text: %v in %s", err, c.stdout)
	}
	rules, err = readCacheStatus(t.Context(), s.ECR(), []string{"docker-hub"})
	if err != nil || len(rules) != 1 {
		t.Fatalf("%+v, %v", rules, err)
	}
	if r := rules[0]; r.Prefix != "docker-hub" || r.Upstream != "registry-1.docker.io" || r.Misses < 2 || r.FetchedLayers != 4 || r.FailedLayers != 0 || r.UpstreamRequests < 8 ||
		r.RateLimit == nil || r.RateLimit.Limit != 200 || r.RateLimit.Remaining != 187 || r.RateLimit.WindowSeconds != 21600 || time.Since(r.RateLimit.ReadAt.Time) > time.Minute {
		t.Errorf("%+v", r)
	}
	user, password := s.Login()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Endpoint+"/v2/docker-hub/nginx/blobs/"+image.Children[0].Blobs[1].Descriptor.Digest.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(user, password)
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", resp, err)
	}
	_ = resp.Body.Close()
	c.ok(0, "cache", "status")
	c.says("187 of 200 in 6h, ", "docker-hub from registry-1.docker.io", "quay from quay.io", size(image.Children[0].Blobs[1].Descriptor.Size))
	c.ok(1, "cache", "status", "none")
	c.says("PullThroughCacheRuleNotFoundException")
}

// TestCacheWarmNames refuses what names no image of the registry, all at once and before anything is fetched.
func TestCacheWarmNames(t *testing.T) {
	c, s := newConsole(t)
	c.stdin = strings.NewReader("quay.io/prometheus/node-exporter:v1\nx@md5:1\n")
	c.ok(1, "cache", "warm", "-")
	c.says("-:1: quay.io/prometheus/node-exporter:v1 is not of the registry "+s.Host, `-:2: "x@md5:1" is no image`)
	c.ok(1, "cache", "warm", "missing.txt")
	c.says("read the names of images: ")
	c.ok(2, "cache", "warm")
	c.ok(1, "cache", "warm", "-", "--parallel", "0")
	c.stdin = strings.NewReader("# nothing\n")
	c.ok(0, "cache", "warm", "-", "--json")
	if strings.TrimSpace(c.stdout) != "[]" {
		t.Errorf("got %s", c.stdout)
	}
}
