package ociapi

import (
	"net/http"

	"github.com/opencontainers/go-digest"

	"berth/internal/access"
	"berth/internal/meta"
	"berth/internal/pullthrough"
	"berth/internal/registry"
)

// isPull reports whether a request reads something that an upstream may have.
func isPull(e endpoint, method string) bool {
	return (method == http.MethodGet || method == http.MethodHead) && (e == manifests || e == blobs || e == tagList || e == referrers)
}

// pull is what the cache is asked for, with what the caller may.
func (d *Door) pull(r *request) pullthrough.Pull {
	return pullthrough.Pull{Scope: r.scope, Name: r.name, May: func(action string, tags []access.Tag) error {
		return d.Authorize.Authorize(r.Context(), access.Request{
			Principal: r.principal, Action: "ecr:" + action, Resource: registry.ARN(r.scope, r.name), ResourceAccount: r.scope.Account,
			Call: access.CallOf(r.Request, r.scope.Region), Tags: tags,
		})
	}}
}

// manifest finds a manifest that the caller may pull, here or at the upstream of
// the repository.
func (d *Door) manifest(r *request, ref registry.ImageRef) (registry.Manifest, error) {
	m, err := d.findManifest(r, ref)
	if err == nil {
		err = d.admit(r, ref, m.Image)
	}
	return m, err
}

// admit asks whether what was found may be pulled.
func (d *Door) admit(r *request, ref registry.ImageRef, img meta.Image) error {
	return d.Registry.Admit(r.Context(), r.scope, r.name, ref, img, func() (bool, error) {
		err := d.authorize(r, registry.PullVulnerable, r.name)
		if access.IsDenied(err) {
			return false, nil
		}
		return err == nil, err
	})
}

func (d *Door) findManifest(r *request, ref registry.ImageRef) (registry.Manifest, error) {
	if d.Cache == nil {
		return d.Registry.Manifest(r.Context(), r.scope, r.name, ref)
	}
	return d.Cache.Manifest(r.Context(), d.pull(r), ref)
}

// image is manifest for those who need no bytes.
func (d *Door) image(r *request, ref registry.ImageRef) (meta.Image, error) {
	img, err := d.findImage(r, ref)
	if err == nil {
		err = d.admit(r, ref, img)
	}
	return img, err
}

func (d *Door) findImage(r *request, ref registry.ImageRef) (meta.Image, error) {
	if d.Cache != nil {
		if up, err := d.Registry.Upstream(r.Context(), r.scope, r.name); err != nil || up != nil {
			if err != nil {
				return meta.Image{}, err
			}
			m, err := d.Cache.Manifest(r.Context(), d.pull(r), ref)
			return m.Image, err
		}
	}
	return d.Registry.Image(r.Context(), r.scope, r.name, ref)
}

// openBlob opens a blob, here or on its way from the upstream of the repository.
func (d *Door) openBlob(r *request, dg digest.Digest) (registry.StoredBlob, error) {
	if d.Cache == nil {
		return d.Registry.OpenBlob(r.Context(), r.scope, r.name, dg)
	}
	return d.Cache.Blob(r.Context(), d.pull(r), dg)
}
