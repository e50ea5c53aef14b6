package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A client is what one goroutine of the load client works with.
type client struct {
	s *server
	w *wire
	// buf receives what has to be looked at, reused.
	buf bytes.Buffer
}

func (s *server) client() *client { return &client{s: s, w: newWire(s.addr)} }

// with runs fn with a client outside of what is measured.
func (s *server) with(fn func(c *client) error) error {
	c := s.client()
	return errors.Join(fn(c), c.w.close())
}

// do sends a request with the server's headers and checks the status.
func (c *client) do(ctx context.Context, q request, want int) (response, error) {
	q.headers = c.s.headers
	resp, err := c.w.do(ctx, q)
	if err == nil && resp.status != want {
		err = fmt.Errorf("%s %s on %s answered %d, not %d", q.method, q.target, c.s.name, resp.status, want)
	}
	return resp, err
}

// pushImage pushes as docker does: HEAD, POST, PATCH and PUT for each blob.
func (c *client) pushImage(ctx context.Context, repository, tag string, img image) error {
	for _, b := range img.blobs {
		if _, err := c.do(ctx, request{method: "HEAD", target: blobPath(repository, b)}, http.StatusNotFound); err != nil {
			return err
		}
		if err := c.pushBlob(ctx, repository, b); err != nil {
			return err
		}
	}
	return c.putManifest(ctx, repository, tag, img.manifest)
}

func (c *client) pushBlob(ctx context.Context, repository string, b blob) error {
	resp, err := c.do(ctx, request{method: "POST", target: "/v2/" + repository + "/blobs/uploads/"}, http.StatusAccepted)
	if err != nil {
		return err
	}
	resp, err = c.do(ctx, request{method: "PATCH", target: resp.location, contentType: "application/octet-stream",
		src: c.s.src, body: b}, http.StatusAccepted)
	if err != nil {
		return err
	}
	and := "?"
	if strings.Contains(resp.location, "?") {
		and = "&"
	}
	_, err = c.do(ctx, request{method: "PUT", target: resp.location + and + "digest=" + b.digest.String()}, http.StatusCreated)
	return err
}

func (c *client) putManifest(ctx context.Context, repository, reference string, m blob) error {
	_, err := c.do(ctx, request{method: "PUT", target: manifestPath(repository, reference), contentType: ocispec.MediaTypeImageManifest,
		src: c.s.src, body: m}, http.StatusCreated)
	return err
}

// pullImage gets the manifest by tag and then everything that it names.
func (c *client) pullImage(ctx context.Context, repository, tag string) error {
	c.buf.Reset()
	if _, err := c.do(ctx, request{method: "GET", target: manifestPath(repository, tag), keep: &c.buf}, http.StatusOK); err != nil {
		return err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(c.buf.Bytes(), &m); err != nil {
		return fmt.Errorf("read the manifest of %s:%s: %w", repository, tag, err)
	}
	for _, d := range append(m.Layers, m.Config) {
		if err := c.getBlob(ctx, repository, blob{digest: d.Digest, size: d.Size}); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) getBlob(ctx context.Context, repository string, b blob) error {
	resp, err := c.do(ctx, request{method: "GET", target: blobPath(repository, b)}, http.StatusOK)
	if err == nil && resp.size != b.size {
		err = fmt.Errorf("%s gave %d bytes of %s, which has %d", c.s.name, resp.size, b.digest, b.size)
	}
	return err
}

// touchManifest is a HEAD or GET whose body nobody wants.
func (c *client) touchManifest(ctx context.Context, method, repository, tag string) error {
	_, err := c.do(ctx, request{method: method, target: manifestPath(repository, tag)}, http.StatusOK)
	return err
}

func blobPath(repository string, b blob) string {
	return "/v2/" + repository + "/blobs/" + b.digest.String()
}

func manifestPath(repository, reference string) string {
	return "/v2/" + repository + "/manifests/" + reference
}
