package vulndb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// DefaultURL is the public bucket of OSV (https://google.github.io/osv.dev/data/).
const DefaultURL = "https://osv-vulnerabilities.storage.googleapis.com"

// DefaultEcosystems are those whose packages are found in images.
func DefaultEcosystems() []string {
	return []string{
		"Debian", "Ubuntu", "Alpine", "Wolfi", "Chainguard", "Red Hat", "Rocky Linux", "AlmaLinux", "openSUSE", "SUSE",
		"Go", "Maven", "npm", "PyPI", "RubyGems", "crates.io", "NuGet", "Packagist",
	}
}

// Limits of one archive.
const (
	maxArchive   = 2 << 30
	fetchTimeout = 30 * time.Minute
)

// errUnchanged says that an archive is that of the set which is known.
var errUnchanged = errors.New("the archive did not change")

// Update fetches the archives of ecosystems and imports them, one by one, so
// that each that succeeds counts. The report is of all together.
func Update(ctx context.Context, to Keeper, base string, ecosystems []string, progress func(int)) (Report, error) {
	out := Report{Sets: []Set{}}
	known, err := to.Status(ctx)
	if err != nil {
		return out, err
	}
	var errs []error
	for _, ecosystem := range ecosystems {
		r, err := updateOne(ctx, to, base, ecosystem, known, progress)
		if errors.Is(err, errUnchanged) {
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("update the advisories of %s: %w", ecosystem, err))
			continue
		}
		out.add(r)
	}
	return out, errors.Join(errs...)
}

func updateOne(ctx context.Context, to Keeper, base, ecosystem string, known []Set, progress func(int)) (Report, error) {
	from, err := url.JoinPath(base, url.PathEscape(ecosystem), "all.zip")
	if err != nil {
		return Report{}, fmt.Errorf("the address of the archives, %q, is no URL: %w", base, err)
	}
	// The validator of the archive that is known stands in its source.
	etag := ""
	for _, s := range known {
		if address, tag, ok := strings.Cut(s.Source, " "); ok && s.Ecosystem == ecosystem && address == from {
			etag = tag
		}
	}
	dir, err := os.MkdirTemp("", "vulndb-")
	if err != nil {
		return Report{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary file
	name := filepath.Join(dir, "all.zip")
	tag, err := fetch(ctx, from, etag, name)
	if err != nil {
		return Report{}, err
	}
	source := from
	if tag != "" {
		source += " " + tag
	}
	// An archive may tell of other ecosystems in passing: those are not whole.
	return read(ctx, to, name, State{Source: source, Only: ecosystem}, progress)
}

// fetch writes what is at an address to a file and gives its entity tag.
func fetch(ctx context.Context, from, etag, name string) (tag string, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return "", err
	}
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotModified:
		return "", errUnchanged
	default:
		return "", fmt.Errorf("GET %s: %s", from, resp.Status)
	}
	f, err := os.Create(name)
	if err != nil {
		return "", err
	}
	n, err := io.Copy(f, io.LimitReader(resp.Body, maxArchive+1))
	if err = errors.Join(err, f.Close()); err == nil && n > maxArchive {
		err = fmt.Errorf("%s is larger than %d bytes", from, int64(maxArchive))
	}
	return resp.Header.Get("ETag"), err
}
