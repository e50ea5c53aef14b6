package ociapi

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/access"
	"berth/internal/registry"
)

// getBlob streams a blob, or says where it is. Ranges, conditions and HEAD are
// net/http's work (RFC 9110, "Range Requests").
func getBlob(d *Door, w http.ResponseWriter, r *request) error {
	dg, err := parseDigest(r.ref)
	if err != nil {
		return err
	}
	b, err := d.openBlob(r, dg)
	if err != nil {
		return err
	}
	if b.URL != "" {
		w.Header().Set("Location", b.URL)
		w.Header().Set("Docker-Content-Digest", dg.String())
		w.WriteHeader(http.StatusTemporaryRedirect)
		return nil
	}
	setBlobHeaders(w, b.BlobInfo)
	out := &streamWriter{ResponseWriter: w, buffers: d.buffers}
	http.ServeContent(out, r.Request, "", time.Time{}, b.Reader)
	if err := b.Reader.Close(); err != nil {
		d.Log.Error("close a blob", "digest", dg, "err", err)
	}
	return out.finish()
}

func setBlobHeaders(w http.ResponseWriter, info registry.BlobInfo) {
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Docker-Content-Digest", info.Digest.String())
	h.Set("ETag", `"`+info.Digest.String()+`"`)
}

// headBlob answers the probe that precedes a push: a blob reported as there
// stays there long enough for a manifest to name it.
func headBlob(d *Door, w http.ResponseWriter, r *request) error {
	dg, err := parseDigest(r.ref)
	if err != nil {
		return err
	}
	info, err := d.Registry.ProbeBlob(r.Context(), r.scope, r.name, dg)
	if err != nil {
		return err
	}
	setBlobHeaders(w, info)
	w.Header().Set("Accept-Ranges", "bytes")
	w.Header().Set("Content-Length", strconv.FormatInt(info.Size, 10))
	w.WriteHeader(http.StatusOK)
	return nil
}

func deleteBlob(d *Door, w http.ResponseWriter, r *request) error {
	dg, err := parseDigest(r.ref)
	if err != nil {
		return err
	}
	if err := d.Registry.DeleteBlob(r.Context(), r.scope, r.name, dg); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// startUpload answers POST, with which a push begins. A repository that does not
// exist is created when there is a template for it.
func startUpload(d *Door, w http.ResponseWriter, r *request) error {
	err := d.beginUpload(w, r)
	if !registry.Is(err, registry.RepositoryNotFound) {
		return err
	}
	created, failed := d.Registry.CreateOnPush(r.Context(), r.scope, r.name, func(tags []access.Tag) error {
		q := d.question(r, "CreateRepository", r.name)
		q.Tags = tags
		return d.Authorize.Authorize(r.Context(), q)
	})
	switch {
	case failed != nil:
		return failed
	case !created:
		return err
	}
	return d.beginUpload(w, r)
}

// beginUpload makes a mount, stores a blob that comes whole, or opens a session.
func (d *Door) beginUpload(w http.ResponseWriter, r *request) error {
	q := r.URL.Query()
	if mount := q.Get("mount"); mount != "" {
		done, err := d.mount(w, r, mount, q.Get("from"))
		if err != nil || done {
			return err
		}
	} else if whole := q.Get("digest"); whole != "" {
		return d.putWhole(w, r, whole)
	}
	u, err := d.Registry.StartUpload(r.Context(), r.scope, r.name, digest.Algorithm(q.Get("digest-algorithm")))
	if err != nil {
		return err
	}
	d.progress(w, r, u.ID, 0, http.StatusAccepted)
	return nil
}

// mount tries to make a blob of another repository part of this one. Whatever
// stands in the way, the client may upload instead, so that is no error.
func (d *Door) mount(w http.ResponseWriter, r *request, mount, from string) (done bool, err error) {
	dg, err := parseDigest(mount)
	if err != nil {
		return false, err
	}
	sources := []string{from}
	if from == "" { // the client does not know where the blob is (distribution-spec, "Mounting a blob": automatic discovery)
		if sources, err = d.Registry.MountSources(r.Context(), r.scope, dg, maxMountSources); err != nil {
			return false, err
		}
	}
	for _, source := range sources {
		if !registry.ValidName(source) || d.authorize(r, "GetDownloadUrlForLayer", source) != nil {
			continue
		}
		info, mounted, err := d.Registry.MountBlob(r.Context(), r.scope, r.name, source, dg)
		if err != nil {
			return false, err
		}
		if mounted {
			created(w, blobPath(r.name, info.Digest), info.Digest)
			return true, nil
		}
	}
	return false, nil
}

// maxMountSources bounds how many repositories are tried for a mount without a source.
const maxMountSources = 10

func (d *Door) putWhole(w http.ResponseWriter, r *request, whole string) error {
	dg, err := parseDigest(whole)
	if err != nil {
		return err
	}
	// One request does the work of three operations and needs the right to each.
	for _, op := range []string{"UploadLayerPart", "CompleteLayerUpload"} {
		if err := d.authorize(r, op, r.name); err != nil {
			return err
		}
	}
	info, err := d.Registry.PutBlob(r.Context(), r.scope, r.name, dg, r.Body)
	if err != nil {
		return err
	}
	created(w, blobPath(r.name, info.Digest), info.Digest)
	return nil
}

func blobPath(name string, d digest.Digest) string { return "/v2/" + name + "/blobs/" + d.String() }

// progress answers with where the session stands. The location holds the id in
// its path and nothing else; all state is in the database.
func (d *Door) progress(w http.ResponseWriter, r *request, id string, size int64, status int) {
	h := w.Header()
	h.Set("Location", "/v2/"+r.name+"/blobs/uploads/"+id)
	h.Set("Docker-Upload-UUID", id)
	h.Set("Range", "0-"+strconv.FormatInt(max(size-1, 0), 10))
	h.Set("Content-Length", "0")
	w.WriteHeader(status)
}

func getUpload(d *Door, w http.ResponseWriter, r *request) error {
	u, err := d.Registry.UploadStatus(r.Context(), r.scope, r.name, r.ref)
	if err != nil {
		return err
	}
	d.progress(w, r, u.ID, u.Size, http.StatusNoContent)
	return nil
}

func patchUpload(d *Door, w http.ResponseWriter, r *request) error {
	size, err := d.receive(w, r)
	if err != nil {
		return err
	}
	d.progress(w, r, r.ref, size, http.StatusAccepted)
	return nil
}

// receive adds the request's body to the session and returns its new size.
func (d *Door) receive(w http.ResponseWriter, r *request) (int64, error) {
	at, err := parseContentRange(r.Header.Get("Content-Range"), r.ContentLength)
	if err != nil {
		return 0, err
	}
	u, err := d.Registry.AppendUpload(r.Context(), r.scope, r.name, r.ref, at, r.Body)
	if registry.Is(err, registry.InvalidLayerPart) {
		// Say where the session stands, so that the client can continue there.
		if now, serr := d.Registry.UploadStatus(r.Context(), r.scope, r.name, r.ref); serr == nil {
			w.Header().Set("Location", r.URL.Path)
			w.Header().Set("Range", "0-"+strconv.FormatInt(max(now.Size-1, 0), 10))
		} else {
			err = errors.Join(err, serr)
		}
	}
	return u.Size, err
}

func putUpload(d *Door, w http.ResponseWriter, r *request) error {
	dg, err := parseDigest(r.URL.Query().Get("digest"))
	if err != nil {
		return err
	}
	if r.ContentLength != 0 {
		if err := d.authorize(r, "UploadLayerPart", r.name); err != nil {
			return err
		}
		if _, err := d.receive(w, r); err != nil {
			return err
		}
	}
	info, err := d.Registry.CompleteUpload(r.Context(), r.scope, r.name, r.ref, dg)
	if err != nil {
		return err
	}
	created(w, blobPath(r.name, info.Digest), info.Digest)
	return nil
}

func deleteUpload(d *Door, w http.ResponseWriter, r *request) error {
	if err := d.Registry.CancelUpload(r.Context(), r.scope, r.name, r.ref); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
