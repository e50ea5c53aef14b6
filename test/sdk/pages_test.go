package sdk_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	model "berth/internal/ecr"
	"berth/internal/server/servertest"
	"berth/internal/testkit"
)

// A listing is an operation that answers in pages, and what it lists.
type listing struct {
	prepare func(w *world)
	// add makes an item and gives the name that pages have for it.
	add    func(w *world, i int) string
	remove func(w *world, item string)
	page   func(w *world, token *string, size *int32) (items []string, next *string, err error)
}

// request is a page of the listing as a request body, for what an SDK would not
// ask.
func (l listing) request(w *world, token string, changes map[string]any) []byte {
	w.Helper()
	_, _, err := l.page(w, &token, aws.Int32(2))
	w.need(err)
	var body map[string]any
	w.need(json.Unmarshal(w.last.request, &body))
	for name, value := range changes {
		body[name] = value
	}
	out, err := json.Marshal(body)
	w.need(err)
	return out
}

func listings() map[string]listing {
	images := imageListing()
	ids := images
	ids.page = func(w *world, token *string, size *int32) (items []string, next *string, err error) {
		out, err := w.ListImages(w.Context(), &ecr.ListImagesInput{RepositoryName: &w.repo, NextToken: token, MaxResults: size})
		if err != nil {
			return nil, nil, err
		}
		for _, id := range out.ImageIds {
			items = append(items, *id.ImageDigest)
		}
		return items, out.NextToken, nil
	}
	return map[string]listing{
		"DescribeRepositories":          repositoryListing(),
		"DescribePullThroughCacheRules": cacheListing(),
		"ListPullTimeUpdateExclusions":  exclusionListing(),
		"DescribeImages":                images,
		"ListImages":                    ids,
		"ListImageReferrers":            referrerListing(),

		"DescribeRepositoryCreationTemplates": templateListing(),
		"ListReplicationBackfills":            backfillListing(),
	}
}

// onePage names the operations that could answer in pages and never have a
// second one yet, because nothing is scanned or replicated.
func onePage() []string {
	return []string{"DescribeImageScanFindings", "DescribeReplicationBackfillResults"}
}

func repositoryListing() listing {
	return listing{
		prepare: func(*world) {},
		add: func(w *world, i int) string {
			name := fmt.Sprintf("pages/%02d", (i*7)%100) // not in the order of names
			must(w.CreateRepository(w.Context(), &ecr.CreateRepositoryInput{RepositoryName: &name}))(w)
			return name
		},
		remove: func(w *world, item string) {
			must(w.DeleteRepository(w.Context(), &ecr.DeleteRepositoryInput{RepositoryName: &item}))(w)
		},
		page: func(w *world, token *string, size *int32) (items []string, next *string, err error) {
			out, err := w.DescribeRepositories(w.Context(), &ecr.DescribeRepositoriesInput{NextToken: token, MaxResults: size, RegistryId: &w.Account})
			if err != nil {
				return nil, nil, err
			}
			for _, r := range out.Repositories {
				items = append(items, *r.RepositoryName)
			}
			return items, out.NextToken, nil
		},
	}
}

func cacheListing() listing {
	return listing{
		prepare: func(*world) {},
		add: func(w *world, i int) string {
			prefix := fmt.Sprintf("pages-%02d", (i*7)%100)
			w.need(w.cache(prefix))
			return prefix
		},
		remove: func(w *world, item string) {
			must(w.DeletePullThroughCacheRule(w.Context(), &ecr.DeletePullThroughCacheRuleInput{EcrRepositoryPrefix: &item}))(w)
		},
		page: func(w *world, token *string, size *int32) (items []string, next *string, err error) {
			out, err := w.DescribePullThroughCacheRules(w.Context(), &ecr.DescribePullThroughCacheRulesInput{
				NextToken: token, MaxResults: size, RegistryId: &w.Account,
			})
			if err != nil {
				return nil, nil, err
			}
			for _, r := range out.PullThroughCacheRules {
				items = append(items, *r.EcrRepositoryPrefix)
			}
			return items, out.NextToken, nil
		},
	}
}

func templateListing() listing {
	return listing{
		prepare: func(*world) {},
		add: func(w *world, i int) string {
			prefix := fmt.Sprintf("pages-%02d", (i*7)%100)
			w.need(w.template(prefix))
			return prefix
		},
		remove: func(w *world, item string) {
			must(w.DeleteRepositoryCreationTemplate(w.Context(), &ecr.DeleteRepositoryCreationTemplateInput{Prefix: &item}))(w)
		},
		page: func(w *world, token *string, size *int32) (items []string, next *string, err error) {
			out, err := w.DescribeRepositoryCreationTemplates(w.Context(), &ecr.DescribeRepositoryCreationTemplatesInput{NextToken: token, MaxResults: size})
			if err != nil {
				return nil, nil, err
			}
			for _, t := range out.RepositoryCreationTemplates {
				items = append(items, *t.Prefix)
			}
			return items, out.NextToken, nil
		},
	}
}

func backfillListing() listing {
	return listing{
		prepare: func(*world) {},
		add: func(w *world, _ int) string {
			id := w.backfill()
			must(w.StopReplicationBackfill(w.Context(), &ecr.StopReplicationBackfillInput{ReplicationBackfillId: id}))(w)
			return *id
		},
		remove: func(*world, string) {}, // a backfill goes with time only
		page: func(w *world, token *string, size *int32) (items []string, next *string, err error) {
			out, err := w.ListReplicationBackfills(w.Context(), &ecr.ListReplicationBackfillsInput{NextToken: token, MaxResults: size})
			if err != nil {
				return nil, nil, err
			}
			for _, b := range out.Backfills {
				items = append(items, *b.ReplicationBackfillId)
			}
			return items, out.NextToken, nil
		},
	}
}

func exclusionListing() listing {
	return listing{
		prepare: func(*world) {},
		add: func(w *world, i int) string {
			name := fmt.Sprintf("pages-%02d", (i*7)%100)
			w.need(w.exclude(name))
			return *w.role(name)
		},
		remove: func(w *world, item string) {
			must(w.DeregisterPullTimeUpdateExclusion(w.Context(), &ecr.DeregisterPullTimeUpdateExclusionInput{PrincipalArn: &item}))(w)
		},
		page: func(w *world, token *string, size *int32) (items []string, next *string, err error) {
			out, err := w.ListPullTimeUpdateExclusions(w.Context(), &ecr.ListPullTimeUpdateExclusionsInput{NextToken: token, MaxResults: size})
			if err != nil {
				return nil, nil, err
			}
			return out.PullTimeUpdateExclusions, out.NextToken, nil
		},
	}
}

func removeImage(w *world, item string) {
	must(w.BatchDeleteImage(w.Context(), &ecr.BatchDeleteImageInput{RepositoryName: &w.repo, ImageIds: []types.ImageIdentifier{{ImageDigest: &item}}}))(w)
}

func imageListing() listing {
	return listing{
		prepare: (*world).create,
		add: func(w *world, i int) string {
			c := testkit.RandomImage(w, 1, 100)
			w.image(c, fmt.Sprintf("v%02d", i))
			return c.Digest().String()
		},
		remove: removeImage,
		page: func(w *world, token *string, size *int32) (items []string, next *string, err error) {
			out, err := w.DescribeImages(w.Context(), &ecr.DescribeImagesInput{RepositoryName: &w.repo, NextToken: token, MaxResults: size})
			if err != nil {
				return nil, nil, err
			}
			for _, d := range out.ImageDetails {
				items = append(items, *d.ImageDigest)
			}
			return items, out.NextToken, nil
		},
	}
}

func referrerListing() listing {
	subject := testkit.Content{Root: testkit.NewBlob(v1.MediaTypeImageManifest, []byte("{}"))} // a referrer may come first
	return listing{
		prepare: (*world).create,
		add: func(w *world, i int) string {
			c := testkit.Artifact(w, "application/vnd.example.signature", fmt.Append(nil, "signature ", i), &subject)
			w.image(c, "")
			return c.Digest().String()
		},
		remove: removeImage,
		page: func(w *world, token *string, size *int32) (items []string, next *string, err error) {
			out, err := w.ListImageReferrers(w.Context(), &ecr.ListImageReferrersInput{
				RepositoryName: &w.repo, NextToken: token, MaxResults: size,
				SubjectId: &types.SubjectIdentifier{ImageDigest: aws.String(subject.Digest().String())},
			})
			if err != nil {
				return nil, nil, err
			}
			for _, r := range out.Referrers {
				items = append(items, *r.Digest)
			}
			return items, out.NextToken, nil
		},
	}
}

const invalidToken = "Invalid parameter at 'NextToken' failed to satisfy constraint: 'Invalid next token provided'"

// TestEveryListing walks through every operation that answers in pages, while
// items come and go, and tries tokens that were not given for that page.
func TestEveryListing(t *testing.T) {
	server := servertest.Start(t)
	server.Secret("ecr-pullthroughcache/hub", "nothing")
	all := listings()
	other := foreignToken(t, server)
	for _, op := range model.Operations() {
		paged := slices.ContainsFunc(op.Output.Members, func(m model.Member) bool { return m.Name == "nextToken" })
		if !paged || slices.Contains(unrouted(), op.Name) || slices.Contains(onePage(), op.Name) || op.Name == "GetLifecyclePolicyPreview" {
			continue // a preview does not change: TestPreviewPages
		}
		t.Run(op.Name, func(t *testing.T) {
			l, ok := all[op.Name]
			if !ok {
				t.Fatal("answers in pages and is not in listings")
			}
			w := newWorld(t, server, "Pages"+op.Name)
			l.prepare(w)
			token := walk(w, l)
			tamper(w, l, token)
			if op.Name != "ListPullTimeUpdateExclusions" {
				refuseToken(w, op.Name, l.request(w, token, map[string]any{"nextToken": other}), "of another listing")
			}
			if slices.ContainsFunc(op.Input.Members, func(m model.Member) bool { return m.Name == "registryId" }) {
				_, answer := w.raw(op.Name, l.request(w, token, map[string]any{"registryId": "999999999999"}))
				if e := exceptionOf(t, answer); e != model.CodeInvalidParameter && e != model.CodeRepositoryNotFound && e != model.CodeAccessDenied {
					t.Errorf("a token for another registry: %s", answer)
				}
			}
		})
	}
}

// A preview is a listing to which nothing comes and from which nothing goes.
func TestPreviewPages(t *testing.T) {
	w := newWorld(t, servertest.Start(t), "PreviewPages")
	w.need(previewCall(w))
	l := listing{page: func(w *world, token *string, size *int32) (items []string, next *string, err error) {
		out, err := w.GetLifecyclePolicyPreview(w.Context(), &ecr.GetLifecyclePolicyPreviewInput{
			RepositoryName: &w.repo, NextToken: token, MaxResults: size,
		})
		if err != nil {
			return nil, nil, err
		}
		for _, r := range out.PreviewResults {
			items = append(items, *r.ImageDigest)
		}
		return items, out.NextToken, nil
	}}
	first, token, err := l.page(w, nil, aws.Int32(1))
	if err != nil || len(first) != 1 || token == nil {
		t.Fatal(first, token, err)
	}
	second, last, err := l.page(w, token, aws.Int32(1))
	if err != nil || len(second) != 1 || last != nil || second[0] == first[0] {
		t.Fatal(first, second, last, err)
	}
	tamper(w, l, *token)
}

// foreignToken is a good token of a listing of the registry as a whole.
func foreignToken(t *testing.T, s *servertest.Server) string {
	t.Helper()
	w, l := newWorld(t, s, "Foreign"), exclusionListing()
	first, second := l.add(w, 90), l.add(w, 91)
	_, next, err := l.page(w, nil, aws.Int32(1))
	if err != nil || next == nil {
		t.Fatal(next, err)
	}
	l.remove(w, first)
	l.remove(w, second)
	return *next
}

// walk reads all pages while items come and go between them. What is there all
// the time is listed once, nothing is listed twice. It returns a token that is
// good at the end.
func walk(w *world, l listing) (token string) {
	w.Helper()
	want, doomed := map[string]bool{}, []string{}
	for i := range 12 {
		item := l.add(w, i)
		if i%4 == 3 {
			doomed = append(doomed, item)
		} else {
			want[item] = true
		}
	}
	seen := map[string]bool{}
	var next *string
	for page := 0; ; page++ {
		if page > 20 {
			w.Fatal("the pages do not end")
		}
		items, after, err := l.page(w, next, aws.Int32(2))
		if err != nil {
			w.Fatal(err)
		}
		if len(items) > 2 {
			w.Errorf("a page of two has %d items", len(items))
		}
		for _, item := range items {
			if seen[item] {
				w.Errorf("%s was listed twice", item)
			}
			seen[item] = true
			if after != nil && strings.Contains(*after, item) {
				w.Errorf("the token %s shows where it leads", *after)
			}
		}
		if after == nil {
			break
		}
		next, token = after, *after
		if len(doomed) > 0 {
			l.remove(w, doomed[0])
			doomed = doomed[1:]
		}
		if page < 2 {
			l.add(w, 12+page)
		}
	}
	for item := range want {
		if !seen[item] {
			w.Errorf("%s was there all the time and was not listed", item)
		}
	}
	return token
}

// tamper changes every character of a token, one at a time.
func tamper(w *world, l listing, token string) {
	w.Helper()
	body := string(l.request(w, token, map[string]any{"nextToken": "TOKEN"}))
	operation := w.last.operation
	spoilt := []string{"made-up", token[1:], token[:len(token)-1], token + "A", strings.Repeat("A", 1<<15)}
	for i := range token {
		other := byte('A')
		if token[i] == other {
			other = 'B'
		}
		spoilt = append(spoilt, token[:i]+string(other)+token[i+1:])
	}
	for _, s := range spoilt {
		refuseToken(w, operation, []byte(strings.Replace(body, "TOKEN", s, 1)), "that was changed")
	}
	var refused *types.InvalidParameterException
	if _, _, err := l.page(w, aws.String("made-up"), nil); !errors.As(err, &refused) || refused.ErrorMessage() != invalidToken {
		w.Errorf("a token that was made up: %v", err)
	}
}

func refuseToken(w *world, operation string, body []byte, which string) {
	w.Helper()
	status, answer := w.raw(operation, body)
	if status != 400 || exceptionOf(w.T, answer) != model.CodeInvalidParameter || !strings.Contains(string(answer), invalidToken) {
		w.Errorf("a token %s: %d %s", which, status, answer)
	}
}
