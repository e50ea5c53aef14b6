package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// A workload is one thing that clients do a lot.
type workload struct {
	name, unit string
	measure    func(ctx context.Context, s *subject, repository string) (rate float64, err error)
}

const mib = 1 << 20

func workloads(scale int) []workload {
	return []workload{
		{"push-4MiB-layers", "MB/s", push(8*scale, 4, 4*mib, 4, true)},
		{"push-64MiB-layers", "MB/s", push(2*scale, 2, 64*mib, 2, true)},
		{"push-40x4KiB-layers", "images/s", push(12*scale, 40, 4<<10, 4, false)},
		{"pull-4MiB-layers", "MB/s", pull(8*scale, 4, 4*mib, 4, true)},
		{"pull-40x4KiB-layers", "images/s", pull(40*scale, 40, 4<<10, 4, false)},
		{"manifest-get-by-tag", "requests/s", manifests(http.MethodGet, 4000*scale, 8)},
		{"manifest-head-by-tag", "requests/s", manifests(http.MethodHead, 4000*scale, 8)},
	}
}

// timed runs n jobs on some clients and gives the rate of the amount done.
func timed(ctx context.Context, n, clients int, amount float64, job func(ctx context.Context, i int) error) (float64, error) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(clients)
	start := time.Now()
	for i := range n {
		g.Go(func() error { return job(ctx, i) })
	}
	err := g.Wait()
	return amount / time.Since(start).Seconds(), err
}

func push(images, layers, size, clients int, bytesPerSecond bool) func(context.Context, *subject, string) (float64, error) {
	return func(ctx context.Context, s *subject, repository string) (float64, error) {
		if err := s.prepare(ctx, repository); err != nil {
			return 0, err
		}
		all := make([]image, images)
		for i := range all {
			all[i] = newImage(layers, size)
		}
		amount := float64(images)
		if bytesPerSecond {
			amount = float64(images) * float64(layers) * float64(size) / 1e6
		}
		return timed(ctx, images, clients, amount, func(ctx context.Context, i int) error {
			return s.pushImage(ctx, repository, fmt.Sprintf("v%d", i), all[i])
		})
	}
}

func pull(images, layers, size, clients int, bytesPerSecond bool) func(context.Context, *subject, string) (float64, error) {
	return func(ctx context.Context, s *subject, repository string) (float64, error) {
		if err := s.prepare(ctx, repository); err != nil {
			return 0, err
		}
		if err := s.pushImage(ctx, repository, "v0", newImage(layers, size)); err != nil {
			return 0, err
		}
		amount := float64(images)
		if bytesPerSecond {
			amount = float64(images) * float64(layers) * float64(size) / 1e6
		}
		return timed(ctx, images, clients, amount, func(ctx context.Context, _ int) error {
			return s.pullImage(ctx, repository, "v0")
		})
	}
}

func manifests(method string, n, clients int) func(context.Context, *subject, string) (float64, error) {
	return func(ctx context.Context, s *subject, repository string) (float64, error) {
		if err := s.prepare(ctx, repository); err != nil {
			return 0, err
		}
		if err := s.pushImage(ctx, repository, "v0", newImage(4, 1<<10)); err != nil {
			return 0, err
		}
		return timed(ctx, n, clients, float64(n), func(ctx context.Context, _ int) error {
			_, err := s.do(ctx, method, "/v2/"+repository+"/manifests/v0", nil, "", http.StatusOK)
			return err
		})
	}
}

// An image is random, so that nothing of it is there already.
type image struct {
	blobs    [][]byte // config first
	manifest []byte
}

func newImage(layers, size int) image {
	m := ocispec.Manifest{Versioned: ocispecs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	var out image
	add := func(mediaType string, b []byte) ocispec.Descriptor {
		out.blobs = append(out.blobs, b)
		return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	}
	m.Config = add(ocispec.MediaTypeImageConfig, randomBytes(256))
	for range layers {
		m.Layers = append(m.Layers, add(ocispec.MediaTypeImageLayerGzip, randomBytes(size)))
	}
	out.manifest, _ = json.Marshal(m) // plain structures always encode
	return out
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
}

// pushImage pushes as docker does: HEAD, POST, PATCH and PUT for each blob.
func (s *subject) pushImage(ctx context.Context, repository, tag string, img image) error {
	for _, b := range img.blobs {
		d := digest.FromBytes(b).String()
		if _, err := s.do(ctx, http.MethodHead, "/v2/"+repository+"/blobs/"+d, nil, "", http.StatusNotFound); err != nil {
			return err
		}
		h, err := s.do(ctx, http.MethodPost, "/v2/"+repository+"/blobs/uploads/", nil, "", http.StatusAccepted)
		if err != nil {
			return err
		}
		h, err = s.do(ctx, http.MethodPatch, h.Get("Location"), b, "application/octet-stream", http.StatusAccepted)
		if err != nil {
			return err
		}
		u, err := url.Parse(h.Get("Location"))
		if err != nil {
			return err
		}
		q := u.Query()
		q.Set("digest", d)
		u.RawQuery = q.Encode()
		if _, err := s.do(ctx, http.MethodPut, u.String(), nil, "", http.StatusCreated); err != nil {
			return err
		}
	}
	_, err := s.do(ctx, http.MethodPut, "/v2/"+repository+"/manifests/"+tag, img.manifest, ocispec.MediaTypeImageManifest, http.StatusCreated)
	return err
}

func (s *subject) pullImage(ctx context.Context, repository, tag string) error {
	var m ocispec.Manifest
	resp, err := s.send(ctx, http.MethodGet, "/v2/"+repository+"/manifests/"+tag, nil, "")
	if err != nil {
		return err
	}
	err = json.NewDecoder(resp.Body).Decode(&m)
	if cerr := resp.Body.Close(); err != nil || cerr != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("read a manifest: %s %v %v", resp.Status, err, cerr)
	}
	for _, d := range append(m.Layers, m.Config) {
		if _, err := s.do(ctx, http.MethodGet, "/v2/"+repository+"/blobs/"+d.Digest.String(), nil, "", http.StatusOK); err != nil {
			return err
		}
	}
	return nil
}

// do sends a request, reads the whole answer and checks its status.
func (s *subject) do(ctx context.Context, method, location string, body []byte, contentType string, want int) (http.Header, error) {
	resp, err := s.send(ctx, method, location, body, contentType)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if cerr := resp.Body.Close(); err == nil {
		err = cerr
	}
	if err == nil && resp.StatusCode != want {
		err = fmt.Errorf("%s %s answered %s, not %d", method, location, resp.Status, want)
	}
	return resp.Header, err
}

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, WriteBufferSize: 256 << 10, ReadBufferSize: 256 << 10}}

func (s *subject) send(ctx context.Context, method, location string, body []byte, contentType string) (*http.Response, error) {
	u, err := url.Parse(s.endpoint)
	if err != nil {
		return nil, err
	}
	if u, err = u.Parse(location); err != nil {
		return nil, err
	}
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), r)
	if err != nil {
		return nil, err
	}
	if s.user != "" {
		req.SetBasicAuth(s.user, s.password)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("Accept", ocispec.MediaTypeImageManifest)
	return client.Do(req)
}
