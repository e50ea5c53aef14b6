package sigv4

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// emptyPayload is the SHA-256 of no bytes, in hex.
const emptyPayload = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

const upperHex = "0123456789ABCDEF"

// canonicalHead is the canonical request without its last line, the payload
// hash. It is built once even when two payload hashes are possible.
//
//	<method>\n <path>\n <query>\n <header lines>\n <signed headers>\n
func canonicalHead(dst []byte, r *http.Request, params []param, signed []string, service string) ([]byte, *Error) {
	dst = append(dst, r.Method...)
	dst = append(dst, '\n')
	dst = appendPath(dst, r, service)
	dst = append(dst, '\n')
	dst = appendQuery(dst, params)
	dst = append(dst, '\n')
	dst, aerr := appendHeaders(dst, r, signed)
	if aerr != nil {
		return nil, aerr
	}
	dst = append(dst, '\n')
	for i, name := range signed {
		if i > 0 {
			dst = append(dst, ';')
		}
		dst = append(dst, name...)
	}
	return append(dst, '\n'), nil
}

// appendPath writes the canonical URI. Everywhere except S3 the path is taken
// as it came over the wire, normalised (RFC 3986 section 6.2.2.3, and empty
// segments dropped) and encoded once more; S3 keys are opaque, so there the
// decoded path is encoded once and nothing is normalised.
func appendPath(dst []byte, r *http.Request, service string) []byte {
	if service == serviceS3 {
		if r.URL.Path == "" {
			return append(dst, '/')
		}
		return appendEncoded(dst, r.URL.Path, true)
	}
	return appendEncoded(dst, normalizePath(r.URL.EscapedPath()), true)
}

// normalizePath drops empty and dot segments. The result starts with a slash
// and ends with one if the input did.
func normalizePath(p string) string {
	if !strings.Contains(p, "//") && !strings.Contains(p, "/.") && strings.HasPrefix(p, "/") {
		return p
	}
	kept := make([]string, 0, 16)
	for segment := range strings.SplitSeq(p, "/") {
		switch segment {
		case "", ".":
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		default:
			kept = append(kept, segment)
		}
	}
	out := "/" + strings.Join(kept, "/")
	if len(kept) > 0 && strings.HasSuffix(p, "/") {
		out += "/"
	}
	return out
}

// appendQuery writes the parameters encoded and then sorted by name and value,
// without the signature itself. The order is that of the encoded form, as the
// S3 API Reference asks.
func appendQuery(dst []byte, params []param) []byte {
	if len(params) == 0 {
		return dst
	}
	encoded := make([]param, 0, len(params))
	for _, p := range params {
		if p.name == qSignature {
			continue
		}
		encoded = append(encoded, param{encode(p.name), encode(p.value)})
	}
	slices.SortFunc(encoded, func(a, b param) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.value, b.value))
	})
	for i, p := range encoded {
		if i > 0 {
			dst = append(dst, '&')
		}
		dst = append(dst, p.name...)
		dst = append(dst, '=')
		dst = append(dst, p.value...)
	}
	return dst
}

// appendHeaders writes one line per signed header: name, colon, values trimmed,
// inner runs of blanks folded, several values joined by commas.
func appendHeaders(dst []byte, r *http.Request, signed []string) ([]byte, *Error) {
	start := len(dst)
	for _, name := range signed {
		dst = append(dst, name...)
		dst = append(dst, ':')
		switch values := r.Header.Values(name); {
		case name == "host":
			dst = appendFolded(dst, requestHost(r))
		case len(values) > 0:
			for i, v := range values {
				if i > 0 {
					dst = append(dst, ',')
				}
				dst = appendFolded(dst, v)
			}
		case name == "content-length" && r.ContentLength >= 0:
			dst = strconv.AppendInt(dst, r.ContentLength, 10)
		default:
			// An absent header would canonicalise like an empty one, so that
			// removing an empty signed header would go unnoticed.
			return nil, mismatch()
		}
		dst = append(dst, '\n')
		if len(dst)-start > maxHeaderBytes {
			return nil, incomplete("Signed headers are longer than %d bytes", maxHeaderBytes)
		}
	}
	return dst, nil
}

func requestHost(r *http.Request) string {
	if r.Host != "" {
		return r.Host
	}
	return r.URL.Host
}

// appendFolded trims a header value and folds runs of blanks into one.
func appendFolded(dst []byte, v string) []byte {
	v = strings.Trim(v, " \t")
	for i := 0; i < len(v); i++ {
		if v[i] == ' ' && i > 0 && v[i-1] == ' ' {
			continue
		}
		dst = append(dst, v[i])
	}
	return dst
}

func encode(s string) string {
	for i := range len(s) {
		if !unreserved(s[i]) {
			return string(appendEncoded(make([]byte, 0, len(s)+16), s, false))
		}
	}
	return s
}

// appendEncoded percent-encodes every byte but the unreserved ones of RFC 3986,
// with upper-case hex digits, keeping slashes on request.
func appendEncoded(dst []byte, s string, keepSlash bool) []byte {
	for i := range len(s) {
		c := s[i]
		if unreserved(c) || (keepSlash && c == '/') {
			dst = append(dst, c)
			continue
		}
		dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
	}
	return dst
}

func unreserved(c byte) bool {
	return ('a' <= c && c <= 'z') || ('A' <= c && c <= 'Z') || ('0' <= c && c <= '9') ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

// signature computes the hex signature of a canonical request under a derived
// signing key.
func signature(key [sha256.Size]byte, head []byte, payload, amzDate string, c credential) string {
	h := sha256.New()
	h.Write(head)
	h.Write([]byte(payload))
	var sum [sha256.Size]byte
	h.Sum(sum[:0])

	text := make([]byte, 0, 256)
	text = append(text, algorithm+"\n"...)
	text = append(text, amzDate...)
	text = append(text, '\n')
	text = append(text, c.date+"/"+c.region+"/"+c.service+"/"+terminator+"\n"...)
	text = hex.AppendEncode(text, sum[:])
	mac := sign(key[:], text)
	return hex.EncodeToString(mac[:])
}

// deriveKey runs the chain of HMACs that turns a secret access key into a key
// good for one day, region and service.
func deriveKey(secret string, c credential) [sha256.Size]byte {
	k := sign([]byte("AWS4"+secret), []byte(c.date))
	k = sign(k[:], []byte(c.region))
	k = sign(k[:], []byte(c.service))
	return sign(k[:], []byte(terminator))
}

func sign(key, data []byte) (out [sha256.Size]byte) {
	m := hmac.New(sha256.New, key)
	m.Write(data)
	m.Sum(out[:0])
	return out
}
