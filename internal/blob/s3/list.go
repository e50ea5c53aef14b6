package s3

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"berth/internal/blob"
)

// List implements [blob.Lister]. It gives copies, among them small stages that are not committed (see the package's
// documentation), tails of stages, and multipart uploads, whose size is not known and whose time is that of their
// beginning. An ID can come several times. Keys that are not of the store's making are passed over.
func (s *Store) List(ctx context.Context, fn func(blob.Object) error) error {
	if err := s.listObjects(ctx, s.key("blobs")+"/", false, fn); err != nil {
		return err
	}
	if err := s.listObjects(ctx, s.key("uploads")+"/", true, fn); err != nil {
		return err
	}
	return s.listUploads(ctx, s.key("blobs")+"/", func(domain, id string, u types.MultipartUpload) error {
		return fn(blob.Object{Domain: domain, ID: id, Staged: true, Modified: aws.ToTime(u.Initiated)})
	})
}

// names reads domain and ID from the end of a key; the keys of tails have one element more.
func names(rest string, isStaged bool) (domain, id string, ok bool) {
	elements := strings.Split(rest, "/")
	if len(elements) != 2 && !(isStaged && len(elements) == 3) {
		return "", "", false
	}
	return elements[0], elements[1], checkNames(elements[0], elements[1]) == nil && (len(elements) == 3) == isStaged
}

func (s *Store) listObjects(ctx context.Context, prefix string, isStaged bool, fn func(blob.Object) error) error {
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.options.Bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		limited, cancel := within(ctx, shortTime)
		page, err := pages.NextPage(limited)
		cancel()
		if err != nil {
			return fail(ctx, err, "list the objects below %s", prefix)
		}
		for _, o := range page.Contents {
			domain, id, ok := names(strings.TrimPrefix(aws.ToString(o.Key), prefix), isStaged)
			if !ok {
				continue
			}
			err := fn(blob.Object{
				Domain: domain, ID: id, Staged: isStaged, Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified),
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// listUploads calls fn for each multipart upload whose key has the prefix.
func (s *Store) listUploads(ctx context.Context, prefix string, fn func(domain, id string, u types.MultipartUpload) error) error {
	in := &s3.ListMultipartUploadsInput{Bucket: &s.options.Bucket, Prefix: &prefix}
	base := s.key("blobs") + "/"
	for {
		limited, cancel := within(ctx, shortTime)
		page, err := s.client.ListMultipartUploads(limited, in)
		cancel()
		if err != nil {
			return fail(ctx, err, "list the multipart uploads below %s", prefix)
		}
		for _, u := range page.Uploads {
			domain, id, ok := names(strings.TrimPrefix(aws.ToString(u.Key), base), false)
			if !ok {
				continue
			}
			if err := fn(domain, id, u); err != nil {
				return err
			}
		}
		if !aws.ToBool(page.IsTruncated) {
			return nil
		}
		if aws.ToString(page.NextKeyMarker) == aws.ToString(in.KeyMarker) &&
			aws.ToString(page.NextUploadIdMarker) == aws.ToString(in.UploadIdMarker) {
			return fmt.Errorf("list the multipart uploads below %s: S3 gives the same page again", prefix)
		}
		in.KeyMarker, in.UploadIdMarker = page.NextKeyMarker, page.NextUploadIdMarker
	}
}

// Remove implements [blob.Lister]. Of a staged object it removes all tails and multipart uploads of its ID, and never
// the copy.
func (s *Store) Remove(ctx context.Context, o blob.Object) error {
	if err := checkNames(o.Domain, o.ID); err != nil {
		return err
	}
	key := s.copyKey(o.Domain, o.ID)
	if !o.Staged {
		return s.Delete(ctx, blob.Copy{Domain: o.Domain, ID: o.ID})
	}
	var errs []error
	prefix := s.roundKey(o.Domain, o.ID, "")
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.options.Bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		limited, cancel := within(ctx, shortTime)
		page, err := pages.NextPage(limited)
		cancel()
		if err != nil {
			return fail(ctx, err, "list what is staged of blob %s", o.ID)
		}
		for _, found := range page.Contents {
			errs = append(errs, s.remove(ctx, aws.ToString(found.Key)))
		}
	}
	err := s.listUploads(ctx, key, func(_, _ string, u types.MultipartUpload) error {
		if aws.ToString(u.Key) == key { // an ID can be the beginning of another
			errs = append(errs, s.abort(ctx, key, aws.ToString(u.UploadId)))
		}
		return nil
	})
	if err := errors.Join(append(errs, err)...); err != nil {
		return fail(ctx, err, "remove what is staged of blob %s", o.ID)
	}
	return nil
}
