package upstreams

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"berth/internal/testkit"
)

const hub = "registry-1.docker.io"

// Docker Hub, as it logs in: tokens of another host, for what is in a secret.
func TestDistributionWithTokens(t *testing.T) {
	t.Parallel()
	image := testkit.RandomIndex(t, 100<<10, "amd64", "arm64")
	dir := t.TempDir()
	fill(t, dir, map[string]testkit.Content{"library/nginx:latest": image})
	auth, tokens := tokenAuth(t, "https://auth.docker.io/token")
	upstream, stop := startDistribution(t, dir, auth)
	b := start(t, hub+"="+upstream.URL, "auth.docker.io="+tokens.URL)
	crane := b.crane()

	b.rule("wrong", hub, b.secret("ecr-pullthroughcache/wrong", user, "wrong"))
	refused := crane("manifest", b.Host+"/wrong/nginx:latest")
	refused.WantExit = 1
	if out := refused.Run(t).Stderr; !strings.Contains(out, "DENIED") || strings.Contains(out, `"wrong"`) {
		t.Errorf("a wrong password: %s", out)
	}
	b.rule("docker-hub", hub, b.secret("ecr-pullthroughcache/hub", user, password))
	out := filepath.Join(t.TempDir(), "out")
	crane("pull", "--format=oci", b.Host+"/docker-hub/nginx:latest", out).Run(t)
	b.holds("docker-hub/library/nginx", "latest", image)
	for blob := range image.All() {
		if n := upstream.asked("GET library/nginx/blobs/" + blob.Descriptor.Digest.String()); n > 1 {
			t.Errorf("%s was fetched %d times", blob.Descriptor.Digest, n)
		}
	}
	if got := crane("digest", b.Host+"/docker-hub/library/nginx:latest").Run(t).Stdout; strings.TrimSpace(got) != image.Digest().String() {
		t.Errorf("the long name is %s", got)
	}
	stop() // without the upstream, all is served that is here
	crane("validate", "--remote", b.Host+"/docker-hub/nginx:latest").Run(t)
	crane("pull", "--format=oci", b.Host+"/docker-hub/nginx@"+image.Children[0].Digest().String(), filepath.Join(t.TempDir(), "child")).Run(t)
	if resp, body := b.Do(http.MethodGet, "/metrics", nil); !strings.Contains(string(body), `berth_cache_blobs_total{account="000000000000",from="upstream",region="us-east-1",rule="docker-hub"} 4`) || strings.Contains(string(body), `berth_cache_bytes_total{account="000000000000",from="cache",region="us-east-1",rule="docker-hub"} 0`) {
		t.Errorf("the metrics of four layers and configurations: %s\n%s", resp.Status, body)
	}
	if got := b.aws("ecr", "describe-repositories", "--query", "repositories[].repositoryName"); got != "docker-hub/library/nginx" {
		t.Errorf("the repositories are %s", got)
	}
}

// Quay and others: a user name and a password at the registry itself. skopeo
// pulls.
func TestDistributionWithBasicLogin(t *testing.T) {
	t.Parallel()
	image := testkit.RandomImage(t, 3, 200<<10)
	dir := t.TempDir()
	fill(t, dir, map[string]testkit.Content{"team/app:v1": image, "team/app:v2": image})
	upstream, stop := startDistribution(t, dir, basicAuth(t))
	b := start(t, "quay.io="+upstream.URL)
	b.rule("quay", "quay.io", b.secret("ecr-pullthroughcache/quay", user, password))
	name, pass := b.Login()
	skopeo := testkit.Tool(t, "skopeo")
	home := t.TempDir()
	copied := "oci:" + filepath.Join(home, "copy") + ":v1"
	testkit.Command{Path: skopeo, Args: []string{"copy", "--src-tls-verify=false", "--src-creds", name + ":" + pass, "docker://" + b.Host + "/quay/team/app:v1", copied},
		Env: []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}}.Run(t)
	b.holds("quay/team/app", "v1", image)
	before := upstream.total()
	testkit.Command{Path: skopeo, Args: []string{"copy", "--src-tls-verify=false", "--src-creds", name + ":" + pass, "docker://" + b.Host + "/quay/team/app:v1", copied},
		Env: []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}}.Run(t)
	if n := upstream.total() - before; n != 0 {
		t.Errorf("the second pull made %d requests", n)
	}
	stop()
	resp, _ := b.Do(http.MethodGet, "/v2/quay/team/app/manifests/v2", nil)
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a tag that is not here, without the upstream: %s", resp.Status)
	}
	resp, _ = b.Do(http.MethodGet, "/v2/quay/team/app/tags/list", nil)
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the tags: %s", resp.Status)
	}
}

// Another Berth, as AWS's own registries are reached, and by the ECR API.
func TestBerthBehindBerth(t *testing.T) {
	t.Parallel()
	image := testkit.RandomImage(t, 2, 50<<10)
	far := start(t)
	far.CreateRepositories("team/app")
	layout := filepath.Join(t.TempDir(), "layout")
	testkit.WriteLayout(t, layout, "v1", image)
	far.crane()("push", layout, far.Host+"/team/app:v1").Run(t)
	const host = "000000000000.dkr.ecr.us-east-1.example.com"
	b := start(t, host+"="+far.Endpoint)
	name, pass := far.Login()
	b.rule("far", host, b.secret("ecr-pullthroughcache/far", name, pass))

	out, err := b.ECR().BatchGetImage(t.Context(), &ecr.BatchGetImageInput{
		RepositoryName: aws.String("far/team/app"), ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("v1")}, {ImageTag: aws.String("v2")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Images) != 1 || aws.ToString(out.Images[0].ImageId.ImageDigest) != image.Digest().String() ||
		len(out.Failures) != 1 || out.Failures[0].FailureCode != types.ImageFailureCodeImageNotFound {
		t.Errorf("%+v", out)
	}
	// What the answer names can be described and downloaded at once.
	layer := image.Blobs[1].Descriptor.Digest.String()
	if _, err := b.ECR().GetDownloadUrlForLayer(t.Context(), &ecr.GetDownloadUrlForLayerInput{RepositoryName: aws.String("far/team/app"), LayerDigest: aws.String(layer)}); err != nil {
		t.Error(err)
	}
	b.holds("far/team/app", "v1", image)
	subject := &types.SubjectIdentifier{ImageDigest: aws.String(image.Digest().String())}
	if refs, err := b.ECR().ListImageReferrers(t.Context(), &ecr.ListImageReferrersInput{RepositoryName: aws.String("far/team/app"), SubjectId: subject}); err != nil || len(refs.Referrers) != 0 {
		t.Errorf("referrers: %+v, %v", refs, err)
	}
	far.Stop()
	if _, err := b.ECR().ListImageReferrers(t.Context(), &ecr.ListImageReferrersInput{RepositoryName: aws.String("far/team/app"), SubjectId: subject}); err != nil {
		t.Errorf("referrers that were asked for within a day: %v", err)
	}
	out, err = b.ECR().BatchGetImage(t.Context(), &ecr.BatchGetImageInput{
		RepositoryName: aws.String("far/team/app"), ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("v1")}, {ImageTag: aws.String("v3")}},
	})
	if err != nil || len(out.Images) != 1 || len(out.Failures) != 1 || out.Failures[0].FailureCode != types.ImageFailureCodeUpstreamUnavailable {
		t.Errorf("without the upstream: %+v, %v", out, err)
	}
}

// An address of the private network is nobody's upstream, unless it is mapped.
func TestPrivateUpstreamIsRefused(t *testing.T) {
	t.Parallel()
	far, b := start(t), start(t)
	far.CreateRepositories("team/app")
	b.rule("far", far.Host, "")
	resp, body := b.Do(http.MethodGet, "/v2/far/team/app/manifests/v1", nil)
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "--upstream") {
		t.Errorf("%s: %s", resp.Status, body)
	}
}
