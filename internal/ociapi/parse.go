package ociapi

import (
	"strings"

	"github.com/opencontainers/go-digest"

	"berth/internal/manifest"
	"berth/internal/registry"
)

// An endpoint is a kind of path of the Distribution API.
type endpoint int

const (
	base endpoint = iota + 1
	catalog
	tagList
	manifests
	blobs
	uploads    // where sessions start
	uploadItem // one session
	referrers
)

// A target is what a path names.
type target struct {
	endpoint endpoint
	name     string // repository
	ref      string // tag or digest, or the id of an upload
}

// parsePath splits the path below /v2/. Repository names have any number of
// slashes, so a path is read from its end; the name is the longest possible,
// as in the specification's reference (a repository may be called "tags").
func parsePath(path string) (target, bool) {
	rest, ok := strings.CutPrefix(path, "/v2/")
	switch {
	case path == "/v2" || rest == "" && ok:
		return target{endpoint: base}, true
	case !ok:
		return target{}, false
	case rest == "_catalog":
		return target{endpoint: catalog}, true
	}
	if name, ok := strings.CutSuffix(rest, "/tags/list"); ok {
		return target{endpoint: tagList, name: name}, true
	}
	for _, s := range []struct {
		suffix   string
		endpoint endpoint
	}{{"/blobs/uploads/", uploads}, {"/blobs/uploads", uploads}} {
		if name, ok := strings.CutSuffix(rest, s.suffix); ok {
			return target{endpoint: s.endpoint, name: name}, true
		}
	}
	dir, ref, ok := cutLast(rest)
	if !ok || ref == "" {
		return target{}, false
	}
	for _, s := range []struct {
		suffix   string
		endpoint endpoint
	}{{"/blobs/uploads", uploadItem}, {"/manifests", manifests}, {"/blobs", blobs}, {"/referrers", referrers}} {
		if name, ok := strings.CutSuffix(dir, s.suffix); ok {
			return target{endpoint: s.endpoint, name: name, ref: ref}, true
		}
	}
	return target{}, false
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// parseDigest reads a digest of a path or query.
func parseDigest(s string) (digest.Digest, error) {
	d := digest.Digest(s)
	if err := manifest.ValidateDigest(d); err != nil {
		return "", &wireError{status: 400, code: "DIGEST_INVALID", message: err.Error()}
	}
	return d, nil
}

// parseReference reads a tag or a digest; only digests have a colon.
func parseReference(s string) (registry.ImageRef, error) {
	if strings.Contains(s, ":") {
		d, err := parseDigest(s)
		return registry.ImageRef{Digest: d.String()}, err
	}
	if !registry.ValidTag(s) {
		return registry.ImageRef{}, invalidTag()
	}
	return registry.ImageRef{Tag: s}, nil
}

func invalidTag() error {
	return &wireError{status: 400, code: "TAG_INVALID",
		message: "Invalid parameter at 'imageTag' failed to satisfy constraint: 'must satisfy regular expression '[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}''"}
}
