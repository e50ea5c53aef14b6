package main

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"berth/internal/cost"
	"berth/internal/lifecycle"
)

// readRegistry counts the images of all repositories, one repository after the other, with the fates that policies
// have for them at that moment.
func readRegistry(ctx context.Context, client *ecr.Client, policies map[string]*lifecycle.Policy, now time.Time) (*cost.Registry, error) {
	out := &cost.Registry{}
	seen := map[string]bool{}
	for name, err := range repositoryNames(ctx, client) {
		if err != nil {
			return nil, err
		}
		seen[name] = true
		policy := policies[name]
		if policy == nil {
			policy = policies[""]
		}
		images, manifests, err := readImages(ctx, client, name)
		if err != nil {
			return nil, err
		}
		out.Add(name, costImages(images, manifests), fates(policy, images, now))
	}
	for name := range policies {
		if name != "" && !seen[name] {
			return nil, fmt.Errorf("--what-if names the repository %s, which the registry does not have", name)
		}
	}
	return out, nil
}

// fates says what a policy does to images.
func fates(policy *lifecycle.Policy, images []lifecycle.Image, now time.Time) func(int) cost.Fate {
	if policy == nil {
		return nil
	}
	out := make([]cost.Fate, len(images))
	e := lifecycle.Evaluate(*policy, images, now)
	for _, a := range e.Acts {
		out[a.Image] = cost.Goes
		if policy.Rules[a.Rule].Action.Type == lifecycle.Transition {
			out[a.Image] = cost.Moves
		}
	}
	for _, f := range e.Followings { // each after its subject
		out[f.Image] = out[f.Subject]
	}
	return func(i int) cost.Fate { return out[i] }
}

// A manifestBlobs is what a manifest lists.
type manifestBlobs struct {
	blobs    []cost.Blob
	children []string
}

func costImages(images []lifecycle.Image, manifests map[string]manifestBlobs) []cost.Image {
	out := make([]cost.Image, len(images))
	for n, i := range images {
		m := manifests[i.Digest]
		out[n] = cost.Image{
			Digest: i.Digest, Blobs: m.blobs, Children: m.children, Subject: i.Subject,
			Tagged: len(i.Tags) > 0, Pulled: !i.PulledAt.IsZero(), Archived: i.State == lifecycle.Archived,
		}
	}
	return out
}

// readImages reads the images of one repository, and what their manifests list by their digest, a hundred at a time.
func readImages(ctx context.Context, client *ecr.Client, repository string) ([]lifecycle.Image, map[string]manifestBlobs, error) {
	var images []lifecycle.Image
	manifests := map[string]manifestBlobs{}
	pages := ecr.NewDescribeImagesPaginator(client, &ecr.DescribeImagesInput{
		RepositoryName: &repository, MaxResults: aws.Int32(100),
		Filter: &types.DescribeImagesFilter{ImageStatus: types.ImageStatusFilterAny},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("list the images of %s: %w", repository, err)
		}
		question := make([]types.ImageIdentifier, 0, len(page.ImageDetails))
		for _, d := range page.ImageDetails {
			images = append(images, lifecycleImage(d))
			if d.ImageStatus == types.ImageStatusActive || d.ImageStatus == "" {
				question = append(question, types.ImageIdentifier{ImageDigest: d.ImageDigest})
				continue
			}
			// The manifest of an image in the archive cannot be read, so that what it shares is not known.
			digest := aws.ToString(d.ImageDigest)
			manifests[digest] = manifestBlobs{blobs: []cost.Blob{{Digest: digest, Size: aws.ToInt64(d.ImageSizeInBytes)}}}
		}
		if err := readManifests(ctx, client, repository, question, manifests); err != nil {
			return nil, nil, err
		}
	}
	for n := range images {
		images[n].Children = manifests[images[n].Digest].children
	}
	return images, manifests, nil
}

// readManifests reads what manifests list. One that goes meanwhile lists nothing; AWS may leave out some of a large
// answer, for which it is asked again.
func readManifests(ctx context.Context, client *ecr.Client, repository string, ids []types.ImageIdentifier, out map[string]manifestBlobs) error {
	for len(ids) > 0 {
		got, err := client.BatchGetImage(ctx, &ecr.BatchGetImageInput{RepositoryName: &repository, ImageIds: ids})
		if err != nil {
			return fmt.Errorf("read the manifests of %s: %w", repository, err)
		}
		answered := map[string]bool{}
		for _, f := range got.Failures {
			if f.FailureCode != types.ImageFailureCodeImageNotFound {
				return fmt.Errorf("read the manifest %s of %s: %s", aws.ToString(f.ImageId.ImageDigest), repository, aws.ToString(f.FailureReason))
			}
			answered[aws.ToString(f.ImageId.ImageDigest)] = true
		}
		for _, i := range got.Images {
			digest := aws.ToString(i.ImageId.ImageDigest)
			m, err := parseManifest(aws.ToString(i.ImageManifest))
			if err != nil {
				return fmt.Errorf("read the manifest %s of %s: %w", digest, repository, err)
			}
			out[digest], answered[digest] = m, true
		}
		if len(answered) == 0 {
			return fmt.Errorf("read the manifests of %s: the registry answers with none of %d", repository, len(ids))
		}
		var rest []types.ImageIdentifier
		for _, id := range ids {
			if !answered[aws.ToString(id.ImageDigest)] {
				rest = append(rest, id)
			}
		}
		ids = rest
	}
	return nil
}

func parseManifest(text string) (out manifestBlobs, err error) {
	var m struct {
		Config    *cost.Blob                `json:"config"`
		Layers    []cost.Blob               `json:"layers"`
		Blobs     []cost.Blob               `json:"blobs"` // of an artifact manifest
		Manifests []struct{ Digest string } `json:"manifests"`
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return out, err
	}
	out.blobs = append(m.Layers, m.Blobs...)
	if m.Config != nil {
		out.blobs = append(out.blobs, *m.Config)
	}
	for _, c := range m.Manifests {
		out.children = append(out.children, c.Digest)
	}
	return out, nil
}

// repositoryNames lists the repositories of a registry.
func repositoryNames(ctx context.Context, client *ecr.Client) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		pages := ecr.NewDescribeRepositoriesPaginator(client, &ecr.DescribeRepositoriesInput{MaxResults: aws.Int32(1000)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield("", fmt.Errorf("list the repositories: %w", err))
				return
			}
			for _, r := range page.Repositories {
				if !yield(aws.ToString(r.RepositoryName), nil) {
					return
				}
			}
		}
	}
}
