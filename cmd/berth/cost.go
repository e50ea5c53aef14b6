package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/spf13/cobra"

	"berth/internal/cost"
)

// newCostCommand is `berth cost`: what the images of a registry cost to store.
func newCostCommand(env *environment) *cobra.Command {
	var f previewFlags
	var asJSON bool
	prices := cost.DefaultPrices()
	cmd := &cobra.Command{
		Use:   "cost",
		Short: "Show what the images of a registry take and cost to store",
		Long: fmt.Sprintf(`Reads every image of the registry, Berth or Amazon ECR, by the ECR API. The bytes of layers that images share count
for each of them as logical, and once as stored. Prices of %s, from %s.`, prices.AsOf, prices.Source),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			images, err := readRegistry(cmd.Context(), client)
			if err != nil {
				return err
			}
			b := cost.Count(images)
			report := costReport{len(images), b.Logical, b.Standard, b.Archived, prices.Monthly(b.Standard, b.Archived)}
			if asJSON {
				return printJSON(env.stdout, report)
			}
			return printAll(env.stdout, "", []string{fmt.Sprintf("%d images, %d bytes logical, %d stored, %d archived: $%.2f a month",
				report.Images, report.Logical, report.Standard, report.Archived, report.Monthly)})
		},
	}
	flags := cmd.Flags()
	flags.Float64Var(&prices.Standard, "price", prices.Standard, "dollars for a `GB` and month of standard storage")
	flags.Int64Var(&prices.Free, "free", prices.Free, "`BYTES` of standard storage that cost nothing")
	flags.StringVar(&f.endpoint, "endpoint", "", "URL of the registry (default: AWS_ENDPOINT_URL_ECR, AWS_ENDPOINT_URL, else AWS itself)")
	flags.StringVar(&f.region, "region", "", "region of the registry (default: AWS_REGION)")
	flags.StringVar(&f.profile, "profile", "", "profile of the AWS configuration files (default: AWS_PROFILE)")
	flags.BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// A costReport is what cost prints.
type costReport struct {
	Images   int     `json:"images"`
	Logical  int64   `json:"logicalBytes"`
	Standard int64   `json:"standardBytes"`
	Archived int64   `json:"archivedBytes"`
	Monthly  float64 `json:"dollarsPerMonth"`
}

// readRegistry reads the images of all repositories.
func readRegistry(ctx context.Context, client *ecr.Client) (out []cost.Image, err error) {
	pages := ecr.NewDescribeRepositoriesPaginator(client, &ecr.DescribeRepositoriesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the repositories: %w", err)
		}
		for _, r := range page.Repositories {
			images, err := readImages(ctx, client, aws.ToString(r.RepositoryName))
			if err != nil {
				return nil, err
			}
			out = append(out, images...)
		}
	}
	return out, nil
}

// readImages reads the images of one repository with their blobs, a hundred at a time.
func readImages(ctx context.Context, client *ecr.Client, repository string) (out []cost.Image, err error) {
	pages := ecr.NewDescribeImagesPaginator(client, &ecr.DescribeImagesInput{
		RepositoryName: &repository, MaxResults: aws.Int32(100),
		Filter: &types.DescribeImagesFilter{ImageStatus: types.ImageStatusFilterAny},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the images of %s: %w", repository, err)
		}
		if len(page.ImageDetails) == 0 {
			continue
		}
		blobs, err := readBlobs(ctx, client, repository, page.ImageDetails)
		if err != nil {
			return nil, err
		}
		for _, d := range page.ImageDetails {
			digest := aws.ToString(d.ImageDigest)
			own, ok := blobs[digest]
			if !ok { // an archived image cannot be read: it shares nothing that is known
				own = []cost.Blob{{Digest: digest, Size: aws.ToInt64(d.ImageSizeInBytes)}}
			}
			out = append(out, cost.Image{Repository: repository, Digest: digest, Blobs: own, Archived: d.ImageStatus == types.ImageStatusArchived})
		}
	}
	return out, nil
}

// readBlobs reads the blobs that manifests list, by the digests of those that can be read.
func readBlobs(ctx context.Context, client *ecr.Client, repository string, details []types.ImageDetail) (map[string][]cost.Blob, error) {
	in := &ecr.BatchGetImageInput{RepositoryName: &repository}
	for _, d := range details {
		in.ImageIds = append(in.ImageIds, types.ImageIdentifier{ImageDigest: d.ImageDigest})
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	got, err := client.BatchGetImage(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("read the manifests of %s: %w", repository, err)
	}
	out := map[string][]cost.Blob{}
	for _, i := range got.Images {
		digest := aws.ToString(i.ImageId.ImageDigest)
		var m struct {
			Config *cost.Blob  `json:"config"`
			Layers []cost.Blob `json:"layers"`
		}
		if err := json.Unmarshal([]byte(aws.ToString(i.ImageManifest)), &m); err != nil {
			return nil, fmt.Errorf("read the manifest %s of %s: %w", digest, repository, err)
		}
		if m.Config != nil {
			m.Layers = append(m.Layers, *m.Config)
		}
		out[digest] = m.Layers
	}
	return out, nil
}
