package registry

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"berth/internal/meta"
)

// A Finding is a vulnerability of a package in an image.
type Finding struct {
	Name        string    `json:"name"`     // that of the CVE, or of the advisory when it has none
	Advisory    string    `json:"advisory"` // the record that says so
	Severity    string    `json:"severity"` // FindingSeverity of the ECR API
	Title       string    `json:"title,omitempty"`
	Description string    `json:"description,omitempty"`
	URL         string    `json:"url"`
	Vector      string    `json:"vector,omitempty"` // of CVSS
	CVSSVersion string    `json:"cvss_version,omitempty"`
	Score       float64   `json:"score,omitempty"`
	VendorWord  string    `json:"vendor_severity,omitempty"` // what the distribution says
	References  []string  `json:"references,omitempty"`
	Related     []string  `json:"related,omitempty"`
	Published   time.Time `json:"published,omitzero"`
	Modified    time.Time `json:"modified,omitzero"`

	Ecosystem string `json:"ecosystem"`
	Package   string `json:"package"` // as it is installed
	Version   string `json:"version"`
	Fixed     string `json:"fixed,omitempty"` // first version without it; empty when there is none
	Arch      string `json:"arch,omitempty"`
	Manager   string `json:"manager"`
	Path      string `json:"path"`
	Layer     string `json:"layer"`
	Platform  string `json:"platform,omitempty"` // of the image: "DEBIAN_12"

	FirstSeen time.Time `json:"first_seen"` // by this type of scanning, in this image

	// Exploit is what is known now of its exploitation, and not kept with the finding.
	Exploit meta.Exploit `json:"-"`
}

func unpackFindings(b []byte) ([]Finding, error) {
	var list []Finding
	err := unpack(b, &list)
	return list, err
}

// pack is compressed JSON.
func pack(v any) ([]byte, error) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if err := errors.Join(json.NewEncoder(z).Encode(v), z.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// unpack reads what pack made.
func unpack(b []byte, v any) error {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return err
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

// A ScanView is the last scan of an image, and a page of what it found.
type ScanView struct {
	meta.Scan
	Image    ImageDetail
	ARN      string // of the repository
	Findings []Finding
	// ExploitsListed says that the list of vulnerabilities which are exploited is known.
	ExploitsListed bool
	Next           string // token of the next page; empty on the last
}

// A findingCursor is a place in the findings of an image.
type findingCursor struct {
	Image int64
	Type  string
	After int
}

// Scan finds the last scan of an image by the type of scanning that the registry
// has now (changing the type hides the scans of the other one), and up to limit
// of its findings after the cursor, the worst first. ScanNotFound: there was
// none. A scan that has not ended has no findings.
//
// Source: API_DescribeImageScanFindings.
func (r *Registry) Scan(ctx context.Context, s meta.Scope, name string, ref ImageRef, cursor string, limit int) (out ScanView, err error) {
	var packed []byte
	err = r.view(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		out, packed = ScanView{ARN: r.describe(repo).ARN}, nil
		img, err := namedImage(tx, repo, ref)
		if err != nil {
			return err
		}
		detail, err := r.describer(tx, s)
		if err == nil {
			out.Image, err = detail(img)
		}
		if err != nil {
			return err
		}
		if out.Image.Scan == nil {
			return refuse(ScanNotFound, "Image scan does not exist for the image with '%s' in the repository with name '%s' in the registry with id '%s'", ref, name, s.Account)
		}
		out.Scan = *out.Image.Scan
		packed, err = tx.Findings(img.ID, out.Scan.Type)
		if errors.Is(err, meta.ErrNotFound) {
			err = nil
		}
		return err
	})
	if err != nil {
		return out, err
	}
	c := findingCursor{Image: out.Image.ID, Type: out.Scan.Type}
	if cursor != "" {
		want := c
		if err := r.openCursor("findings", cursor, &c); err != nil {
			return out, err
		}
		if c.Image != want.Image || c.Type != want.Type {
			return out, invalid("NextToken", "Invalid next token provided")
		}
	}
	if packed == nil || out.CompletedAt.IsZero() {
		return out, nil
	}
	all, err := unpackFindings(packed)
	if err != nil {
		return out, err
	}
	all = all[min(c.After, len(all)):]
	if len(all) > limit {
		all = all[:limit]
		c.After += limit
		if out.Next, err = r.sealCursor("findings", c); err != nil {
			return out, err
		}
	}
	out.Findings = all
	var names []string
	for _, f := range all {
		names = append(names, f.Name)
	}
	exploits, listed, err := r.Exploits(ctx, names)
	for i, f := range all {
		all[i].Exploit = exploits[f.Name]
	}
	out.ExploitsListed = listed
	return out, err
}

// Exploits tells what is known of the exploitation of CVEs, at most 1000 of them,
// and whether the list of those that are exploited is known at all.
func (r *Registry) Exploits(ctx context.Context, names []string) (out map[string]meta.Exploit, listed bool, err error) {
	err = r.db.Read(ctx, func(tx *meta.Tx) error {
		out, listed, err = tx.Exploits(names)
		return err
	})
	return out, listed, err
}

// FindingARN names a finding, in every scan of the image alike.
func FindingARN(s meta.Scope, repository, digest string, f Finding) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{ARN(s, repository), digest, f.Name, f.Package, f.Version, f.Path}, "\x00")))
	return fmt.Sprintf("arn:aws:inspector2:%s:%s:finding/%s", s.Region, s.Account, hex.EncodeToString(sum[:16]))
}

// SplitVersion splits the version of a package of a distribution into what RPM
// and Debian call epoch, version and release, as Inspector does; that of any
// other package is a version alone. An epoch is a number.
func (f Finding) SplitVersion() (epoch, version, release string) {
	version = f.Version
	if f.Manager != "OS" {
		return "", version, ""
	}
	if e, rest, ok := strings.Cut(version, ":"); ok {
		if _, err := strconv.ParseInt(e, 10, 32); err == nil {
			epoch, version = e, rest
		}
	}
	if i := strings.LastIndexByte(version, '-'); i > 0 {
		version, release = version[:i], version[i+1:]
	}
	return epoch, version, release
}
