package findings

import (
	"net/url"
	"strings"
)

// A purl is what counts of a package URL
// (https://github.com/package-url/purl-spec): no qualifiers, no subpath.
type purl struct{ kind, namespace, name, version string }

func parsePURL(text string) (p purl) {
	text = strings.TrimPrefix(text, "pkg:")
	text, _, _ = strings.Cut(text, "#")
	text, _, _ = strings.Cut(text, "?")
	text = strings.TrimLeft(text, "/")
	// A scope as in @babel/core is escaped; some write it plainly.
	if i := strings.LastIndexByte(text, '@'); i > 0 && !strings.Contains(text[i:], "/") {
		text, p.version = text[:i], unescape(text[i+1:])
	}
	p.kind, text, _ = strings.Cut(text, "/")
	p.kind = strings.ToLower(p.kind)
	if i := strings.LastIndexByte(text, '/'); i >= 0 {
		p.namespace, text = unescape(text[:i]), text[i+1:]
	}
	p.name = unescape(text)
	return p
}

func unescape(text string) string {
	if plain, err := url.PathUnescape(text); err == nil {
		return plain
	}
	return text
}

// escapePath is a path of an image as a relative URI reference (RFC 3986).
func escapePath(path string) string {
	return (&url.URL{Path: "./" + strings.TrimLeft(path, "/")}).EscapedPath()[2:]
}

// imagePURL names an image as the purl type "oci" does.
func (r *Report) imagePURL() string {
	base := r.Repository[strings.LastIndexByte(r.Repository, '/')+1:]
	q := url.Values{}
	if r.Registry != "" {
		q.Set("repository_url", r.Registry+"/"+r.Repository)
	}
	if r.Tag != "" {
		q.Set("tag", r.Tag)
	}
	out := "pkg:oci/" + url.PathEscape(strings.ToLower(base)) + "@" + strings.ReplaceAll(r.Digest, ":", "%3A")
	if len(q) > 0 {
		out += "?" + q.Encode()
	}
	return out
}
