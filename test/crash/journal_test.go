package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"

	"berth/internal/testkit"
	"berth/test/wire"
)

// A state is what one repository holds.
type state struct {
	exists bool
	images map[string]testkit.Content // by digest
	tags   map[string]string          // digest by tag
}

func (s state) clone() state {
	return state{s.exists, maps.Clone(s.images), maps.Clone(s.tags)}
}

func created() state {
	return state{exists: true, images: map[string]testkit.Content{}, tags: map[string]string{}}
}

// String gives the images with their tags, to compare and to read.
func (s state) String() string {
	if !s.exists {
		return "no repository"
	}
	lines := []string{"repository"}
	for _, d := range slices.Sorted(maps.Keys(s.images)) {
		var tags []string
		for _, t := range slices.Sorted(maps.Keys(s.tags)) {
			if s.tags[t] == d {
				tags = append(tags, t)
			}
		}
		lines = append(lines, d+" "+strings.Join(tags, ","))
	}
	return strings.Join(lines, "\n")
}

// A client works on a repository of its own and keeps the journal of it: what
// it must be, and what it may be instead when a request got no answer.
type client struct {
	*wire.Client
	repository string
	now        state
	doubt      *state
	upload     *upload // not yet known to be a blob
	serial     int
}

// An upload is a session on its way.
type upload struct {
	path         string // of the session, from its Location
	data         []byte
	acknowledged int
	sent         int  // bytes sent, whether acknowledged or not
	ending       bool // its end was asked for
}

// try sends a request that changes the repository, unless it gets no answer
// into what change makes of it.
func (c *client) try(send func() error, change func(*state)) error {
	next := c.now.clone()
	change(&next)
	c.doubt = &next
	err := send()
	if silent(err) {
		return wire.ErrNoAnswer
	}
	c.doubt = nil
	if err == nil {
		c.now = next
	}
	return err
}

// silent reports whether err means that the server gave no answer.
func silent(err error) bool {
	if err == nil {
		return false
	}
	var status *wire.StatusError
	var api smithy.APIError
	return !errors.As(err, &status) && !errors.As(err, &api)
}

func (c *client) create(ctx context.Context) error {
	return c.try(func() error {
		_, err := c.ECR.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: &c.repository})
		return err
	}, func(s *state) { *s = created() })
}

func (c *client) deleteRepository(ctx context.Context) error {
	c.upload = nil
	return c.try(func() error {
		_, err := c.ECR.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: &c.repository, Force: true})
		return err
	}, func(s *state) { *s = state{} })
}

// put pushes a manifest under a tag, or by its digest alone.
func (c *client) put(ctx context.Context, tag string, content testkit.Content) error {
	d := content.Digest().String()
	ref := tag
	if ref == "" {
		ref = d
	}
	return c.try(func() error { return c.PutManifest(ctx, c.repository, ref, content.Root) }, func(s *state) {
		s.images[d] = content
		if tag != "" {
			s.tags[tag] = d
		}
	})
}

// putECR is put through the ECR API.
func (c *client) putECR(ctx context.Context, tag string, content testkit.Content) error {
	d := content.Digest().String()
	return c.try(func() error {
		_, err := c.ECR.PutImage(ctx, &ecr.PutImageInput{
			RepositoryName: &c.repository, ImageManifest: aws.String(string(content.Root.Bytes)), ImageTag: &tag,
		})
		return err
	}, func(s *state) { s.images[d], s.tags[tag] = content, d })
}

// untag removes a tag through the Distribution API; the image stays.
func (c *client) untag(ctx context.Context, tag string) error {
	return c.try(func() error {
		_, err := c.Want(ctx, http.StatusAccepted, http.MethodDelete, "/v2/"+c.repository+"/manifests/"+tag, nil)
		return err
	}, func(s *state) { delete(s.tags, tag) })
}

// deleteImages removes images with all their tags in one call.
func (c *client) deleteImages(ctx context.Context, digests ...string) error {
	var ids []types.ImageIdentifier
	for _, d := range digests {
		ids = append(ids, types.ImageIdentifier{ImageDigest: aws.String(d)})
	}
	return c.try(func() error {
		out, err := c.ECR.BatchDeleteImage(ctx, &ecr.BatchDeleteImageInput{RepositoryName: &c.repository, ImageIds: ids})
		if err == nil && len(out.Failures) > 0 {
			err = &wire.StatusError{Request: fmt.Sprintf("BatchDeleteImage: %s", *out.Failures[0].FailureReason)}
		}
		return err
	}, func(s *state) {
		for _, d := range digests {
			delete(s.images, d)
			maps.DeleteFunc(s.tags, func(_, to string) bool { return to == d })
		}
	})
}

// putChunks uploads a blob in two chunks, the second with or without the end.
func (c *client) putChunks(ctx context.Context, b testkit.Blob) error {
	a, err := c.Want(ctx, http.StatusAccepted, http.MethodPost, "/v2/"+c.repository+"/blobs/uploads/", nil)
	if err != nil {
		return err
	}
	c.upload = &upload{path: a.Header.Get("Location"), data: b.Bytes}
	for _, end := range []int{len(b.Bytes) * 2 / 3, len(b.Bytes)} {
		if err := c.patch(ctx, end); err != nil {
			return err
		}
	}
	return c.finish(ctx)
}

// patch sends the bytes of the upload up to an offset.
func (c *client) patch(ctx context.Context, end int) error {
	u := c.upload
	from := u.acknowledged
	u.sent = max(u.sent, end)
	_, err := c.Want(ctx, http.StatusAccepted, http.MethodPatch, u.path, u.data[from:end],
		"Content-Type", "application/octet-stream", "Content-Range", fmt.Sprintf("%d-%d", from, end-1))
	if err == nil {
		u.acknowledged = end
	}
	return err
}

func (c *client) finish(ctx context.Context) error {
	u := c.upload
	u.ending = true
	_, err := c.Want(ctx, http.StatusCreated, http.MethodPut, u.path+"?digest="+digestOf(u.data), nil)
	if err == nil {
		c.upload = nil
	}
	return err
}

// putParts uploads a blob through the ECR API.
func (c *client) putParts(ctx context.Context, b testkit.Blob) error {
	started, err := c.ECR.InitiateLayerUpload(ctx, &ecr.InitiateLayerUploadInput{RepositoryName: &c.repository})
	if err != nil {
		return err
	}
	n := len(b.Bytes)
	c.upload = &upload{path: "/v2/" + c.repository + "/blobs/uploads/" + *started.UploadId, data: b.Bytes, sent: n}
	_, err = c.ECR.UploadLayerPart(ctx, &ecr.UploadLayerPartInput{
		RepositoryName: &c.repository, UploadId: started.UploadId, LayerPartBlob: b.Bytes,
		PartFirstByte: aws.Int64(0), PartLastByte: aws.Int64(int64(n - 1)),
	})
	if err != nil {
		return err
	}
	c.upload.acknowledged, c.upload.ending = n, true
	_, err = c.ECR.CompleteLayerUpload(ctx, &ecr.CompleteLayerUploadInput{
		RepositoryName: &c.repository, UploadId: started.UploadId, LayerDigests: []string{digestOf(b.Bytes)},
	})
	if err == nil {
		c.upload = nil
	}
	return err
}

// resume continues the upload that was under way, if there was one: at the
// offset acknowledged, or at that of the chunk without an answer. One whose
// end had no answer may have become a blob instead.
func (c *client) resume(ctx context.Context) error {
	u := c.upload
	if u == nil {
		return nil
	}
	c.upload = nil
	blob := "/v2/" + c.repository + "/blobs/" + digestOf(u.data)
	a, err := c.Do(ctx, http.MethodGet, u.path, nil)
	if err != nil {
		return err
	}
	switch {
	case a.Status == http.StatusNotFound && u.ending:
	case a.Status != http.StatusNoContent:
		return fmt.Errorf("the upload %s, acknowledged up to byte %d, is answered with %d", u.path, u.acknowledged, a.Status)
	default:
		var last int
		if _, err := fmt.Sscanf(a.Header.Get("Range"), "0-%d", &last); err != nil {
			return err
		}
		have := last + 1
		if last == 0 && u.acknowledged == 0 {
			have = 0 // "0-0" is what an empty upload says too; none here stops after one byte
		}
		if have != u.acknowledged && have != u.sent {
			return fmt.Errorf("the upload has %d bytes, acknowledged were %d of %d sent", have, u.acknowledged, u.sent)
		}
		u.acknowledged = have
		c.upload = u
		if have < len(u.data) {
			if err := c.patch(ctx, len(u.data)); err != nil {
				return err
			}
		}
		if err := c.finish(ctx); err != nil {
			return err
		}
	}
	got, err := c.Want(ctx, http.StatusOK, http.MethodGet, blob, nil)
	if err == nil && !bytes.Equal(got.Body, u.data) {
		err = fmt.Errorf("%s differs from what was uploaded", blob)
	}
	return err
}

// check compares the repository with the journal, settles what was in doubt,
// and pulls everything. Then it continues the upload.
func (c *client) check(ctx context.Context) error {
	seen, err := c.observe(ctx)
	if err != nil {
		return err
	}
	switch {
	case c.doubt != nil && seen == c.doubt.String():
		c.now = *c.doubt
	case seen != c.now.String():
		text := fmt.Sprintf("repository %s is\n%s\nwhere this was acknowledged\n%s", c.repository, seen, c.now)
		if c.doubt != nil {
			text += fmt.Sprintf("\nand this got no answer\n%s", c.doubt)
		}
		return errors.New(text)
	}
	c.doubt = nil
	for d, content := range c.now.images {
		if err := c.Pull(ctx, c.repository, d, content); err != nil {
			return err
		}
	}
	for tag, d := range c.now.tags {
		// The manifest alone: what it lists was pulled by its digest.
		if err := c.Pull(ctx, c.repository, tag, testkit.Content{Root: c.now.images[d].Root}); err != nil {
			return err
		}
	}
	if !c.now.exists {
		c.upload = nil
	}
	return c.resume(ctx)
}

// observe gives what the server says the repository is, as [state.String] does.
func (c *client) observe(ctx context.Context) (string, error) {
	seen := created()
	var missing *types.RepositoryNotFoundException
	for p := ecr.NewDescribeImagesPaginator(c.ECR, &ecr.DescribeImagesInput{RepositoryName: &c.repository}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if errors.As(err, &missing) {
			return state{}.String(), nil
		}
		if err != nil {
			return "", err
		}
		for _, img := range page.ImageDetails {
			if _, twice := seen.images[*img.ImageDigest]; twice {
				return "", fmt.Errorf("image %s is listed twice", *img.ImageDigest)
			}
			seen.images[*img.ImageDigest] = testkit.Content{}
			for _, tag := range img.ImageTags {
				if at, twice := seen.tags[tag]; twice {
					return "", fmt.Errorf("tag %s names both %s and %s", tag, at, *img.ImageDigest)
				}
				seen.tags[tag] = *img.ImageDigest
			}
		}
	}
	return seen.String(), nil
}
