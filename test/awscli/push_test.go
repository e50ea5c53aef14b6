package awscli

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"
)

// A pusher pushes images as docker does, over the Distribution API.
type pusher struct{ endpoint, user, password string }

func (p *pusher) image(ts *testscript.TestScript, neg bool, args []string) {
	affirm(ts, neg, args, 2, 2, "push NAME REPOSITORY[:TAG]")
	repository, tag, _ := strings.Cut(args[1], ":")
	d, err := p.pushImage(repository, tag, runtime.GOARCH)
	ts.Check(err)
	ts.Setenv(args[0], d.Digest.String())
}

func (p *pusher) index(ts *testscript.TestScript, neg bool, args []string) {
	affirm(ts, neg, args, 2, 2, "push-index NAME REPOSITORY[:TAG]")
	repository, tag, _ := strings.Cut(args[1], ":")
	index := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex}
	for i, architecture := range []string{"amd64", "arm64"} {
		child, err := p.pushImage(repository, "", architecture)
		ts.Check(err)
		ts.Setenv(args[0]+"_"+strconv.Itoa(i+1), child.Digest.String())
		child.Platform = &v1.Platform{OS: "linux", Architecture: architecture}
		index.Manifests = append(index.Manifests, child)
	}
	d, err := p.pushManifest(repository, tag, index.MediaType, index)
	ts.Check(err)
	ts.Setenv(args[0], d.Digest.String())
}

// pushImage pushes an image with one layer of random bytes, without a tag if
// that is empty.
func (p *pusher) pushImage(repository, tag, architecture string) (v1.Descriptor, error) {
	config, err := json.Marshal(v1.Image{Platform: v1.Platform{OS: "linux", Architecture: architecture}})
	if err != nil {
		return v1.Descriptor{}, err
	}
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
	if m.Config, err = p.pushBlob(repository, v1.MediaTypeImageConfig, config); err != nil {
		return m.Config, err
	}
	layer, err := p.pushBlob(repository, v1.MediaTypeImageLayer, []byte(rand.Text()))
	if err != nil {
		return layer, err
	}
	m.Layers = []v1.Descriptor{layer}
	return p.pushManifest(repository, tag, m.MediaType, m)
}

func (p *pusher) pushBlob(repository, mediaType string, data []byte) (v1.Descriptor, error) {
	d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	path := "/v2/" + repository + "/blobs/uploads/?" + url.Values{"digest": {d.Digest.String()}}.Encode()
	return d, p.send(http.MethodPost, path, "application/octet-stream", data)
}

func (p *pusher) pushManifest(repository, tag, mediaType string, manifest any) (v1.Descriptor, error) {
	data, err := json.Marshal(manifest)
	if err != nil {
		return v1.Descriptor{}, err
	}
	d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if tag == "" {
		tag = d.Digest.String()
	}
	return d, p.send(http.MethodPut, "/v2/"+repository+"/manifests/"+tag, mediaType, data)
}

// send expects 201 Created.
func (p *pusher) send(method, path, contentType string, body []byte) (err error) {
	req, err := http.NewRequest(method, p.endpoint+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.SetBasicAuth(p.user, p.password)
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusCreated {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	return err
}
