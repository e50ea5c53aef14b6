package access

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A Call is what is known of how a request came.
type Call struct {
	SourceIP  string
	Secure    bool // over TLS
	UserAgent string
	Region    string // that the request is for
}

// CallOf reads a request's connection and headers. The address is that of the
// connection: what a header says about it, anybody can say.
func CallOf(r *http.Request, region string) Call {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = "" // no address: a condition on it does not hold
	}
	return Call{SourceIP: host, Secure: r.TLS != nil, UserAgent: r.UserAgent(), Region: region}
}

// A Tag is a key and value of a resource.
type Tag struct{ Key, Value string }

// Keys gives the values of the condition keys of a request.
type Keys interface {
	// Lookup returns the values of a key, whose name is given in lower case, or
	// nothing when the request does not have it.
	Lookup(name string) []string
}

// keys are the global condition keys and those of ECR that requests to a
// registry have (IAM User Guide, "AWS global condition context keys"; Service
// Authorization Reference, "Condition keys for Amazon ECR").
type keys struct {
	req *Request
	now time.Time
	// organization is that of all accounts, or empty.
	organization string
	tags         func() ([]Tag, error) // of the resource
	// principalTags are those of the caller.
	principalTags func() ([]Tag, error)
	err           error // of reading what a key needed: no decision stands on it
}

// KeysOf gives the condition keys of a request at a time; tags reads those of its
// resource, and nil says that it has none. Where they cannot be read, the
// request seems to have none: [Rules] sees to that.
func KeysOf(req *Request, now time.Time, tags func() ([]Tag, error)) Keys {
	return &keys{req: req, now: now, tags: tags}
}

// Lookup implements [Keys].
func (k *keys) Lookup(name string) []string {
	if tag, ok := cutAny(name, "aws:resourcetag/", "ecr:resourcetag/", "iam:resourcetag/"); ok {
		return k.tag(k.tags, tag)
	}
	if tag, ok := strings.CutPrefix(name, "aws:principaltag/"); ok {
		return k.tag(k.principalTags, tag)
	}
	if tag, ok := strings.CutPrefix(name, "aws:requesttag/"); ok {
		return tagValue(k.req.Tags, tag)
	}
	if v := k.single(name); v != "" {
		return []string{v}
	}
	if name == "aws:tagkeys" {
		return k.req.tagKeys()
	}
	return k.req.ServiceKeys[name]
}

// single gives keys that have one value; an empty one is none.
func (k *keys) single(name string) string {
	p, c := k.req.Principal, k.req.Call
	if p.Provider != "" { // an account's principal only after this request
		p = Principal{}
	}
	switch name {
	case "aws:currenttime":
		return k.now.UTC().Format(time.RFC3339)
	case "aws:epochtime":
		return strconv.FormatInt(k.now.Unix(), 10)
	case "aws:sourceip":
		return c.SourceIP
	case "aws:securetransport":
		return strconv.FormatBool(c.Secure)
	case "aws:useragent":
		return c.UserAgent
	case "aws:requestedregion":
		return c.Region
	case "aws:principalarn":
		return p.identityARN()
	case "aws:principalaccount", "kms:calleraccount":
		return p.Account
	case "aws:principaltype":
		if p.ARN == "" {
			return ""
		}
		return p.kind()
	case "aws:federatedprovider":
		return k.req.Principal.Provider
	case "aws:userid":
		return p.UserID
	case "aws:username":
		return p.userName()
	case "aws:principalorgid":
		if p.Account == "" {
			return ""
		}
		return k.organization
	case "aws:resourceorgid":
		return k.organization
	case "aws:resourceaccount":
		return k.req.ResourceAccount
	}
	return ""
}

func (k *keys) tag(read func() ([]Tag, error), key string) []string {
	if read == nil {
		return nil
	}
	tags, err := read()
	if err != nil {
		k.err = err
		return nil
	}
	return tagValue(tags, key)
}

// tagValue finds a tag by its key in any case, as condition keys are written.
func tagValue(tags []Tag, key string) []string {
	for _, t := range tags {
		if strings.EqualFold(t.Key, key) {
			return []string{t.Value}
		}
	}
	return nil
}

func cutAny(s string, prefixes ...string) (string, bool) {
	for _, p := range prefixes {
		if rest, ok := strings.CutPrefix(s, p); ok {
			return rest, true
		}
	}
	return "", false
}

// A TagReader reads the tags of a resource; one without tags, or that does not
// exist, has none.
type TagReader func(ctx context.Context, arn string) ([]Tag, error)
