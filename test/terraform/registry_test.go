package terraform_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"berth/internal/server/servertest"
	"berth/internal/testkit"
)

// ownerTag is the tag with which the native engine marks what it owns: the documented difference between the two.
const ownerTag = "berth:module"

// repository is all that a server tells about a repository, but for the time of its creation.
type repository struct {
	ARN, URI, Registry string
	Mutability         string
	Scan               bool
	Encryption, Key    string
	Tags               map[string]string
	Lifecycle          any // the policy as JSON
	Policy             any
}

// cacheRule is all that a server tells about a cache rule, but for the times.
type cacheRule struct {
	Registry, Upstream, Credential, Role, Prefix string
}

// content is what a registry holds that the module manages.
type content struct {
	Repositories map[string]repository
	Rules        map[string]cacheRule
}

func (c content) empty() bool { return len(c.Repositories) == 0 && len(c.Rules) == 0 }

// owners removes the tag of the native engine from all repositories, and returns its values.
func (c content) owners() map[string]string {
	found := map[string]string{}
	for name, r := range c.Repositories {
		if owner, ok := r.Tags[ownerTag]; ok {
			found[name] = owner
			delete(r.Tags, ownerTag)
		}
	}
	return found
}

// describe lists the repositories.
func describe(t testing.TB, s *servertest.Server) []types.Repository {
	t.Helper()
	out, err := s.ECR().DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{MaxResults: aws.Int32(1000)})
	if err != nil {
		t.Fatal(err)
	}
	return out.Repositories
}

// read asks AWS's own client.
func read(t testing.TB, s *servertest.Server) content {
	t.Helper()
	ctx, client := t.Context(), s.ECR()
	got := content{Repositories: map[string]repository{}, Rules: map[string]cacheRule{}}
	for _, r := range describe(t, s) {
		tags, err := client.ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{ResourceArn: r.RepositoryArn})
		if err != nil {
			t.Fatal(err)
		}
		one := repository{
			ARN: *r.RepositoryArn, URI: *r.RepositoryUri, Registry: *r.RegistryId, Mutability: string(r.ImageTagMutability),
			Scan: r.ImageScanningConfiguration.ScanOnPush, Encryption: string(r.EncryptionConfiguration.EncryptionType),
			Key: managed(aws.ToString(r.EncryptionConfiguration.KmsKey)), Tags: map[string]string{},
		}
		for _, tag := range tags.Tags {
			one.Tags[*tag.Key] = *tag.Value
		}
		lifecycle, err := client.GetLifecyclePolicy(ctx, &ecr.GetLifecyclePolicyInput{RepositoryName: r.RepositoryName})
		if !missing[*types.LifecyclePolicyNotFoundException](t, err) {
			one.Lifecycle = parse(t, *lifecycle.LifecyclePolicyText)
		}
		policy, err := client.GetRepositoryPolicy(ctx, &ecr.GetRepositoryPolicyInput{RepositoryName: r.RepositoryName})
		if !missing[*types.RepositoryPolicyNotFoundException](t, err) {
			one.Policy = parse(t, *policy.PolicyText)
		}
		got.Repositories[*r.RepositoryName] = one
	}
	rules, err := client.DescribePullThroughCacheRules(ctx, &ecr.DescribePullThroughCacheRulesInput{MaxResults: aws.Int32(1000)})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules.PullThroughCacheRules {
		got.Rules[*r.EcrRepositoryPrefix] = cacheRule{
			Registry: *r.RegistryId, Upstream: *r.UpstreamRegistryUrl, Credential: aws.ToString(r.CredentialArn),
			Role: aws.ToString(r.CustomRoleArn), Prefix: aws.ToString(r.UpstreamRepositoryPrefix),
		}
	}
	return got
}

// managedKey is the form of the ids that keys get which nobody chose.
var managedKey = regexp.MustCompile(`^arn:aws:kms:` + region + `:` + account + `:key/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// managed gives the key aws/ecr a name that is the same in each registry. The
// tests name no other key of the home registry.
func managed(arn string) string {
	if managedKey.MatchString(arn) {
		return awsManagedKey
	}
	return arn
}

// missing tells the one error that is an answer from all others, which end the test.
func missing[E error](t testing.TB, err error) bool {
	t.Helper()
	var expected E
	if err != nil && !errors.As(err, &expected) {
		t.Fatal(err)
	}
	return err != nil
}

func parse(t testing.TB, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// same compares what was wanted with what is, and names each place where they differ.
func same(t testing.TB, what string, got, want any) {
	t.Helper()
	if reflect.DeepEqual(got, want) {
		return
	}
	lines := differences("", parse(t, indented(t, got)), parse(t, indented(t, want)))
	if len(lines) == 0 {
		lines = []string{"only in what JSON does not show"}
	}
	t.Errorf("%s: differs\n%s", what, strings.Join(lines, "\n"))
}

// differences walks through two JSON values side by side.
func differences(path string, got, want any) []string {
	if reflect.DeepEqual(got, want) {
		return nil
	}
	var lines []string
	gotObject, gotIs := got.(map[string]any)
	wantObject, wantIs := want.(map[string]any)
	if gotIs && wantIs {
		names := maps.Clone(gotObject)
		maps.Copy(names, wantObject)
		for _, name := range slices.Sorted(maps.Keys(names)) {
			lines = append(lines, differences(path+"/"+name, gotObject[name], wantObject[name])...)
		}
		return lines
	}
	gotList, gotIs := got.([]any)
	wantList, wantIs := want.([]any)
	if gotIs && wantIs && len(gotList) == len(wantList) {
		for i := range gotList {
			lines = append(lines, differences(path+"/"+strconv.Itoa(i), gotList[i], wantList[i])...)
		}
		return lines
	}
	return []string{fmt.Sprintf("  %s: got %#v, want %#v", path, got, want)}
}

func indented(t testing.TB, v any) string {
	t.Helper()
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// repo is a repository with the module's defaults; the functions below change one thing each.
func repo(name string, changes ...func(*repository)) repository {
	r := repository{
		ARN: "arn:aws:ecr:" + region + ":" + account + ":repository/" + name, URI: registry + "/" + name, Registry: account,
		Mutability: "MUTABLE", Scan: true, Encryption: "AES256", Tags: map[string]string{}, Lifecycle: lifecycle(30, 7),
	}
	for _, change := range changes {
		change(&r)
	}
	return r
}

func immutable(r *repository) { r.Mutability = "IMMUTABLE" }
func unscanned(r *repository) { r.Scan = false }

func keeps(images, days float64) func(*repository) {
	return func(r *repository) { r.Lifecycle = lifecycle(images, days) }
}

func encrypted(key string) func(*repository) {
	return func(r *repository) { r.Encryption, r.Key = "KMS", key }
}

func tagged(pairs ...string) func(*repository) {
	return func(r *repository) {
		for i := 0; i+1 < len(pairs); i += 2 {
			r.Tags[pairs[i]] = pairs[i+1]
		}
	}
}

func policy(t testing.TB, text string) func(*repository) {
	return func(r *repository) { r.Policy = parse(t, text) }
}

// lifecycle is the policy that the seed promises, written here anew.
func lifecycle(images, days float64) any {
	rule := func(priority float64, description string, selection map[string]any) any {
		return map[string]any{
			"rulePriority": priority, "description": description, "selection": selection, "action": map[string]any{"type": "expire"},
		}
	}
	return map[string]any{"rules": []any{
		rule(1, "Expire untagged images after "+number(days)+" days", map[string]any{
			"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": days}),
		rule(2, "Keep last "+number(images)+" images", map[string]any{
			"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": images}),
	}}
}

func number(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

// upstream is a cache rule.
func upstream(host string) cacheRule { return cacheRule{Registry: account, Upstream: host} }

// push stores an image under a tag, through the registry's own door, and returns its digest.
func push(t testing.TB, s *servertest.Server, name, tag string) string {
	t.Helper()
	image := testkit.RandomImage(t, 1, 100)
	for blob, isManifest := range image.All() {
		d := blob.Descriptor
		path, method := "/v2/"+name+"/blobs/uploads/?digest="+d.Digest.String(), http.MethodPost
		if isManifest {
			path, method = "/v2/"+name+"/manifests/"+tag, http.MethodPut
		}
		resp, body := s.Do(method, path, bytes.NewReader(blob.Bytes), "Content-Type", d.MediaType)
		if resp.StatusCode != http.StatusCreated {
			t.Fatalf("%s %s: %s: %s", method, path, resp.Status, body)
		}
	}
	return image.Digest().String()
}

// images lists the tags of a repository.
func images(t testing.TB, s *servertest.Server, name string) []string {
	t.Helper()
	out, err := s.ECR().ListImages(t.Context(), &ecr.ListImagesInput{RepositoryName: aws.String(name)})
	if err != nil {
		t.Fatal(err)
	}
	tags := []string{}
	for _, id := range out.ImageIds {
		tags = append(tags, aws.ToString(id.ImageTag))
	}
	return tags
}
