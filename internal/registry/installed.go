package registry

import (
	"context"
	"errors"

	"berth/internal/meta"
)

// An InstalledPackage is one that a scan found in an image. It has the form in
// which package scan/inventory gives it to [Registry.FinishScan].
type InstalledPackage struct {
	Ecosystem string `json:"ecosystem"` // of OSV, with the release: "Debian:12", "npm"
	Name      string `json:"name"`      // by which advisories know it
	Version   string `json:"version"`
	Installed string `json:"installed,omitempty"` // its name in the image, where it is another
	Arch      string `json:"arch,omitempty"`
	Manager   string `json:"manager"`
	Path      string `json:"path"`
	Layer     string `json:"layer"`
	PURL      string `json:"purl,omitempty"`
}

// A PackageView is a page of what is installed in an image.
type PackageView struct {
	Image    meta.Image
	Platform string // "DEBIAN_12"; empty when no distribution is known
	Packages []InstalledPackage
	Warnings []string // what could not be read
	Next     string   // token of the next page; empty on the last
}

// A packageCursor is a place in the packages of an image.
type packageCursor struct {
	Image int64
	After int
}

// Packages lists what the scans of an image found to be installed, up to limit
// after the cursor. ScanNotFound: no scan has looked into the image yet.
func (r *Registry) Packages(ctx context.Context, s meta.Scope, name string, ref ImageRef, cursor string, limit int) (out PackageView, err error) {
	var packed []byte
	err = r.view(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		out, packed = PackageView{}, nil
		if out.Image, err = namedImage(tx, repo, ref); err != nil {
			return err
		}
		packed, err = tx.Inventory(out.Image.ID)
		if errors.Is(err, meta.ErrNotFound) {
			return refuse(ScanNotFound, "Image scan does not exist for the image with '%s' in the repository with name '%s' in the registry with id '%s'", ref, name, s.Account)
		}
		return err
	})
	if err != nil {
		return out, err
	}
	c := packageCursor{Image: out.Image.ID}
	if cursor != "" {
		if err := r.openCursor("packages", cursor, &c); err != nil {
			return out, err
		}
		if c.Image != out.Image.ID {
			return out, invalid("NextToken", "Invalid next token provided")
		}
	}
	var inventory struct {
		Platform string             `json:"platform"`
		Packages []InstalledPackage `json:"packages"`
		Warnings []string           `json:"warnings"`
	}
	if err := unpack(packed, &inventory); err != nil {
		return out, err
	}
	out.Platform, out.Warnings = inventory.Platform, inventory.Warnings
	out.Packages = inventory.Packages[min(c.After, len(inventory.Packages)):]
	if len(out.Packages) > limit {
		out.Packages = out.Packages[:limit]
		c.After += limit
		out.Next, err = r.sealCursor("packages", c)
	}
	return out, err
}
