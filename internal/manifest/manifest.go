package manifest

import (
	// The digest algorithms that blobs and manifests may use.
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// MaxSize is the largest manifest accepted, in bytes (ECR: imageManifest of
// PutImage; OCI distribution-spec, "Pushing Manifests").
const MaxSize = 4 << 20

// maxDescriptors bounds the descriptors of one manifest.
const maxDescriptors = 10_000

// Media types beyond those of OCI.
const (
	MediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeDockerConfig   = "application/vnd.docker.container.image.v1+json"
)

// Kind is the role of a manifest.
type Kind int

const (
	// Image is a manifest with a config and layers; artifacts are images too.
	Image Kind = iota
	// Index lists other manifests.
	Index
)

// kinds maps every media type that can be pushed to its role.
var kinds = map[string]Kind{
	ocispec.MediaTypeImageManifest: Image,
	MediaTypeDockerManifest:        Image,
	ocispec.MediaTypeImageIndex:    Index,
	MediaTypeDockerList:            Index,
}

// A Manifest is the part of a manifest that the registry acts on.
type Manifest struct {
	Kind         Kind
	MediaType    string
	ArtifactType string               // artifactType, else the config's media type
	Config       *ocispec.Descriptor  // of an Image
	Layers       []ocispec.Descriptor // of an Image
	Children     []ocispec.Descriptor // of an Index
	Subject      *ocispec.Descriptor
	Annotations  map[string]string
}

// Errors that Parse wraps. The text after them says what is wrong.
var (
	// ErrSyntax says that the document is not a manifest of its media type.
	ErrSyntax = errors.New("invalid manifest")
	// ErrMediaType says that the media type is missing or not supported.
	ErrMediaType = errors.New("unsupported manifest media type")
)

type document struct {
	SchemaVersion int                   `json:"schemaVersion"`
	MediaType     string                `json:"mediaType"`
	ArtifactType  string                `json:"artifactType"`
	Config        *ocispec.Descriptor   `json:"config"`
	Layers        *[]ocispec.Descriptor `json:"layers"`
	Manifests     *[]ocispec.Descriptor `json:"manifests"`
	FSLayers      json.RawMessage       `json:"fsLayers"`
	Subject       *ocispec.Descriptor   `json:"subject"`
	Annotations   map[string]string     `json:"annotations"`
}

// Parse reads a manifest. mediaType is what the client declared (Content-Type,
// or imageManifestMediaType); when empty, the document's own mediaType counts.
// It fails with [ErrSyntax] or [ErrMediaType].
func Parse(mediaType string, body []byte) (*Manifest, error) {
	if len(body) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, more than the limit of %d", ErrSyntax, len(body), MaxSize)
	}
	var doc document
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	mediaType, err := resolveMediaType(mediaType, doc.MediaType)
	if err != nil {
		return nil, err
	}
	kind, ok := kinds[mediaType]
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrMediaType, mediaType)
	}
	if doc.SchemaVersion != 2 {
		return nil, fmt.Errorf("%w: schemaVersion is %d, not 2", ErrSyntax, doc.SchemaVersion)
	}
	if err := doc.checkShape(kind); err != nil {
		return nil, err
	}
	m := &Manifest{Kind: kind, MediaType: mediaType, ArtifactType: doc.ArtifactType, Subject: doc.Subject, Annotations: doc.Annotations}
	if kind == Image {
		m.Config, m.Layers = doc.Config, *doc.Layers
		if m.ArtifactType == "" {
			m.ArtifactType = m.Config.MediaType
		}
	} else {
		m.Children = *doc.Manifests
	}
	return m, m.checkDescriptors()
}

// resolveMediaType settles on one media type. A declared one may carry
// parameters in HTTP; a document that names another type is refused.
func resolveMediaType(declared, own string) (string, error) {
	if declared == "" {
		if own == "" {
			return "", fmt.Errorf("%w: neither the request nor the document names one", ErrMediaType)
		}
		return own, nil
	}
	base, _, err := mime.ParseMediaType(declared)
	if err != nil {
		return "", fmt.Errorf("%w: %q", ErrMediaType, declared)
	}
	if own != "" && own != base {
		return "", fmt.Errorf("%w: the document's mediaType is %q, the request's %q", ErrSyntax, own, base)
	}
	return base, nil
}

// checkShape refuses documents whose members belong to another kind.
func (d *document) checkShape(kind Kind) error {
	switch {
	case d.FSLayers != nil:
		return fmt.Errorf("%w: fsLayers belongs to schema 1, which is not supported", ErrSyntax)
	case kind == Image && d.Manifests != nil:
		return fmt.Errorf("%w: an image manifest must not have \"manifests\"", ErrSyntax)
	case kind == Image && d.Config == nil:
		return fmt.Errorf("%w: an image manifest needs \"config\"", ErrSyntax)
	case kind == Image && d.Layers == nil:
		return fmt.Errorf("%w: an image manifest needs \"layers\"", ErrSyntax)
	case kind == Index && (d.Config != nil || d.Layers != nil):
		return fmt.Errorf("%w: an index must not have \"config\" or \"layers\"", ErrSyntax)
	case kind == Index && d.Manifests == nil:
		return fmt.Errorf("%w: an index needs \"manifests\"", ErrSyntax)
	}
	return nil
}

func (m *Manifest) checkDescriptors() error {
	if n := len(m.Layers) + len(m.Children); n > maxDescriptors {
		return fmt.Errorf("%w: %d descriptors, more than the limit of %d", ErrSyntax, n, maxDescriptors)
	}
	all := make([]ocispec.Descriptor, 0, len(m.Layers)+len(m.Children)+2)
	all = append(append(all, m.Layers...), m.Children...)
	for _, d := range []*ocispec.Descriptor{m.Config, m.Subject} {
		if d != nil {
			all = append(all, *d)
		}
	}
	for _, d := range all {
		if err := ValidateDigest(d.Digest); err != nil {
			return fmt.Errorf("%w: %w", ErrSyntax, err)
		}
		if d.Size < 0 {
			return fmt.Errorf("%w: descriptor %s has the negative size %d", ErrSyntax, d.Digest, d.Size)
		}
	}
	return nil
}

// ValidateDigest checks that d is well formed and of a supported algorithm,
// sha256 or sha512 (OCI image-spec, descriptor.md, "Digests").
func ValidateDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", d, err)
	}
	if a := d.Algorithm(); a != digest.SHA256 && a != digest.SHA512 {
		return fmt.Errorf("digest %q: algorithm %q is not supported, use sha256 or sha512", d, a)
	}
	return nil
}

// Blobs lists the descriptors whose bytes must be in the repository before the
// manifest: config and layers, each digest once. Layers that are distributed
// elsewhere (foreign, or with URLs) are left out.
func (m *Manifest) Blobs() []ocispec.Descriptor {
	var out []ocispec.Descriptor
	seen := map[digest.Digest]bool{}
	add := func(d ocispec.Descriptor) {
		if !seen[d.Digest] {
			seen[d.Digest] = true
			out = append(out, d)
		}
	}
	if m.Config != nil {
		add(*m.Config)
	}
	for _, l := range m.Layers {
		if !external(l) {
			add(l)
		}
	}
	return out
}

// external reports whether a layer's bytes are not the registry's to hold
// (OCI image-spec, layer.md, "Non-Distributable Layers"; docker foreign layers).
func external(d ocispec.Descriptor) bool {
	return len(d.URLs) > 0 && (strings.Contains(d.MediaType, "nondistributable") || strings.Contains(d.MediaType, "foreign"))
}
