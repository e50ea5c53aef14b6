package upstream

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Referrers lists the manifests that refer to one: its signatures, attestations
// and the like, one page at most. A registry without that endpoint is asked for
// the tag in its place (distribution-spec, "Referrers Tag Schema").
func (c *Client) Referrers(ctx context.Context, s Source, subject digest.Digest) ([]ocispec.Descriptor, error) {
	body, err := c.referrers(ctx, s, subject)
	if Is(err, NotFound) || Is(err, Malformed) {
		var m Manifest
		m, err = c.Manifest(ctx, s, strings.ReplaceAll(subject.String(), ":", "-"))
		if Is(err, NotFound) {
			return nil, nil
		}
		body = m.Body
	}
	if err != nil {
		return nil, err
	}
	var index ocispec.Index
	if json.Unmarshal(body, &index) != nil {
		return nil, fail(Malformed, s.Host, nil, "lists the referrers of %s in a form that is none", subject)
	}
	return index.Manifests, nil
}

func (c *Client) referrers(ctx context.Context, s Source, subject digest.Digest) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	resp, err := c.get(ctx, s, http.MethodGet, "/referrers/"+subject.String(), http.Header{"Accept": {ocispec.MediaTypeImageIndex}})
	if err != nil {
		return nil, err
	}
	body, err := readAll(resp.Body, MaxManifest)
	if err != nil {
		return nil, fail(Unavailable, s.Host, err, "broke off the referrers of %s", subject)
	}
	return body, nil
}
