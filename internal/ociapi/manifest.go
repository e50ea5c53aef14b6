package ociapi

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/manifest"
	"berth/internal/registry"
)

func getBase(d *Door, w http.ResponseWriter, r *request) error {
	d.send(w, r.Request, http.StatusOK, "application/json", []byte("{}"))
	return nil
}

// headManifest answers from the row alone.
func headManifest(d *Door, w http.ResponseWriter, r *request) error {
	ref, err := parseReference(r.ref)
	if err != nil {
		return err
	}
	img, err := d.image(r, ref)
	if err != nil {
		return err
	}
	setManifestHeaders(w, img.Digest)
	w.Header().Set("Content-Type", img.MediaType)
	w.Header().Set("Content-Length", strconv.FormatInt(img.ManifestSize, 10))
	w.WriteHeader(http.StatusOK)
	return nil
}

func setManifestHeaders(w http.ResponseWriter, digest string) {
	w.Header().Set("Docker-Content-Digest", digest)
	w.Header().Set("ETag", `"`+digest+`"`)
}

// getManifest sends the stored bytes as they are, whatever Accept says: a
// registry that converts breaks the digest.
func getManifest(d *Door, w http.ResponseWriter, r *request) error {
	ref, err := parseReference(r.ref)
	if err != nil {
		return err
	}
	m, err := d.manifest(r, ref)
	if err != nil {
		return err
	}
	setManifestHeaders(w, m.Digest)
	if m.ID != 0 { // else it is still on its way from an upstream
		d.Registry.RecordPull(r.scope, r.principal, m.ID)
	}
	d.send(w, r.Request, http.StatusOK, m.MediaType, m.Bytes)
	return nil
}

func putManifest(d *Door, w http.ResponseWriter, r *request) error {
	ref, err := parseReference(r.ref)
	if err != nil {
		return err
	}
	body, err := readManifest(w, r)
	if err != nil {
		return err
	}
	push := registry.Push{MediaType: r.Header.Get("Content-Type"), Body: body, Digest: digest.Digest(ref.Digest)}
	if ref.Tag != "" {
		push.Tags = []string{ref.Tag}
	} else if push.Tags, err = tagParameters(r); err != nil {
		return err
	}
	p, err := d.Registry.PutImage(r.Context(), r.scope, r.name, push)
	if err != nil && !registry.Is(err, registry.ImageAlreadyExists) { // pushing again changes nothing and is fine
		return err
	}
	if p.Subject != "" {
		w.Header().Set("OCI-Subject", p.Subject)
	}
	if ref.Tag == "" {
		for _, tag := range push.Tags {
			w.Header().Add("OCI-Tag", tag)
		}
	}
	created(w, "/v2/"+r.name+"/manifests/"+p.Digest.String(), p.Digest)
	return nil
}

// maxTagParameters bounds how many tags one push by digest may set.
const maxTagParameters = 100

// tagParameters are the tags that a push by digest sets at once
// (distribution-spec, "Pushing Manifests", tag parameters).
func tagParameters(r *request) ([]string, error) {
	tags := r.URL.Query()["tag"]
	if len(tags) > maxTagParameters {
		return nil, &wireError{http.StatusRequestURITooLong, "TAG_INVALID", "The request sets more than the limit of 100 tags"}
	}
	for _, tag := range tags {
		if !registry.ValidTag(tag) {
			return nil, invalidTag()
		}
	}
	return tags, nil
}

func readManifest(w http.ResponseWriter, r *request) ([]byte, error) {
	limited := http.MaxBytesReader(w, r.Body, manifest.MaxSize)
	body, err := io.ReadAll(limited)
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, &wireError{http.StatusRequestEntityTooLarge, "MANIFEST_INVALID",
			"Invalid parameter at 'imageManifest' failed to satisfy constraint: 'Member must have length less than or equal to 4194304'"}
	}
	if err != nil {
		return nil, &wireError{http.StatusRequestTimeout, "MANIFEST_INVALID", "The manifest did not arrive whole"}
	}
	return body, nil
}

// created answers 201 for something that now exists under its digest.
func created(w http.ResponseWriter, location string, d digest.Digest) {
	w.Header().Set("Location", location)
	w.Header().Set("Docker-Content-Digest", d.String())
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
}

func deleteManifest(d *Door, w http.ResponseWriter, r *request) error {
	ref, err := parseReference(r.ref)
	if err != nil {
		return err
	}
	if err := d.Registry.DeleteManifest(r.Context(), r.scope, r.name, ref); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// referrersPage bounds one page of referrers.
const referrersPage = 500

// getReferrers answers with an index of the manifests that refer to a digest
// (distribution-spec, "Listing Referrers").
func getReferrers(d *Door, w http.ResponseWriter, r *request) error {
	subject, err := parseDigest(r.ref)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	artifactType := q.Get("artifactType")
	after, err := optionalInt(q.Get("last"))
	if err != nil {
		return err
	}
	if d.Cache != nil && after == 0 {
		if err := d.Cache.Referrers(r.Context(), d.pull(r), subject); err != nil {
			return err
		}
	}
	list, more, err := d.Registry.Referrers(r.Context(), r.scope, r.name, subject.String(), artifactType, after, referrersPage)
	if err != nil {
		return err
	}
	index := ocispec.Index{Versioned: ocispecs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}
	for _, m := range list {
		parsed, err := manifest.Parse(m.MediaType, m.Bytes)
		if err != nil {
			return err
		}
		index.Manifests = append(index.Manifests, ocispec.Descriptor{
			MediaType: m.MediaType, Digest: digest.Digest(m.Digest), Size: m.ManifestSize,
			ArtifactType: m.ArtifactType, Annotations: parsed.Annotations,
		})
	}
	if artifactType != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	if more {
		q.Set("last", strconv.FormatInt(list[len(list)-1].ID, 10))
		setNext(w, r.URL.Path, q)
	}
	body, err := json.Marshal(index)
	if err != nil {
		return err
	}
	d.send(w, r.Request, http.StatusOK, ocispec.MediaTypeImageIndex, body)
	return nil
}

func optionalInt(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, badCursor()
	}
	return n, nil
}

func badCursor() error {
	return &wireError{http.StatusMethodNotAllowed, "UNSUPPORTED", "Invalid parameter at 'NextToken' failed to satisfy constraint: 'Invalid next token provided'"}
}

// setNext points to the next page (RFC 8288; distribution-spec, "Listing Tags").
func setNext(w http.ResponseWriter, path string, q url.Values) {
	w.Header().Set("Link", "<"+path+"?"+q.Encode()+`>; rel="next"`)
}
